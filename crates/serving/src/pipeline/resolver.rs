//! From an endpoint to the version that answers.
//!
//! All rules are here: an endpoint has the name of a model; a version is named by number or alias;
//! without one, the endpoint's [traffic policy](crate::TrafficTable) chooses, and if it has none, the
//! model's default version answers. Models come from folders ([`Models`](crate::Models)) and from the
//! registry ([`Fleet`]), and the first have precedence.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use tidegate_gateway::Authorized;

use super::attempt::not_usable;
use crate::traffic::Chosen;
use crate::{ErrorCode, Fleet, InferError, Model, Serving, Target, Version};

/// The version that answers a request.
pub(super) struct Routed {
    pub(super) version: Arc<Version>,
    /// Whether it had to be loaded for this request.
    pub(super) cold_start: bool,
    /// What the endpoint's policy has chosen, if it has one.
    pub(super) chosen: Option<Box<Chosen>>,
}

impl Serving {
    /// Picks the version for a request whose caller may ask for it; that of a fallback of its endpoint,
    /// if one is given. Whoever may call an endpoint is served by its fallbacks. `headers` are what traffic
    /// policies may look at; `None` if there are no policies. `first` is the first
    /// version of the endpoint's cascade, if that is asked.
    pub(super) async fn route(
        &self,
        authorized: &Authorized<Target>,
        fallback: Option<&Target>,
        (headers, first): (Option<&HeaderMap>, Option<Box<Chosen>>),
        deadline: Option<Instant>,
        received: Instant,
    ) -> Result<Routed, InferError> {
        let target = fallback.unwrap_or(authorized.resource());
        let chosen = match headers {
            None => None,
            Some(_) if first.is_some() => first,
            Some(headers) => self.traffic().choose(target, authorized.caller(), headers),
        };
        let version = match &chosen {
            Some(chosen) => Some(chosen.version()),
            None => target.version.as_deref(),
        };
        let found = self.finder().demand(&target.endpoint, version, deadline);
        let (version, cold_start) = match found.await {
            // The client named neither the policy's version nor that of a fallback.
            Err(error) if chosen.is_some() || fallback.is_some() => {
                return Err(not_the_clients_fault(error));
            }
            found => found?,
        };
        if !cold_start {
            // A load sets it too, later than this request was received.
            version.last_used().set(received);
        }
        Ok(Routed {
            version,
            cold_start,
            chosen,
        })
    }

    /// The fleet, if the model is one of the registry's.
    fn fleet_of(&self, model: &str) -> Option<&Arc<Fleet>> {
        self.finder().fleet_of(model)
    }

    /// Whether there is such an endpoint.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`] if not, [`ErrorCode::NotReady`] if that is not known yet.
    pub(crate) fn check_endpoint(&self, name: &str) -> Result<(), InferError> {
        match self.models().model(name) {
            // A model that was found in a folder and is not ready is one; while the server starts, a name
            // that was not found is not known to be one.
            Err(error)
                if (error.code == ErrorCode::UnknownModel || !self.models().is_found(name))
                    && self.fleet_of(name).is_none() =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// A loaded model.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`], or [`ErrorCode::NotReady`] with the reason.
    pub fn model(&self, name: &str) -> Result<Arc<Model>, InferError> {
        self.models().model(name).map_err(|error| {
            self.fleet_of(name)
                .map_or(error, |fleet| fleet.explain(name, None))
        })
    }

    /// A loaded version of a model.
    ///
    /// # Errors
    /// As [`Serving::model`], and [`ErrorCode::UnknownVersion`].
    pub fn version(&self, name: &str, version: Option<&str>) -> Result<Arc<Version>, InferError> {
        let explain = |error| {
            self.fleet_of(name)
                .map_or(error, |fleet| fleet.explain(name, version))
        };
        self.models().version(name, version).map_err(explain)
    }

    /// A version of a model, loaded if it is not, and whether this had to wait for it.
    ///
    /// # Errors
    /// As [`Serving::version`], [`ErrorCode::QueueFull`] if too many wait,
    /// [`ErrorCode::DeadlineExceeded`].
    pub async fn demand(
        &self,
        name: &str,
        version: Option<&str>,
        deadline: Option<Instant>,
    ) -> Result<(Arc<Version>, bool), InferError> {
        self.finder().demand(name, version, deadline).await
    }

    /// Whether there is a version of a model, by number or alias: loaded, or one that the registry has.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`], [`ErrorCode::UnknownVersion`], or [`ErrorCode::NotReady`] for a
    /// model of a folder that is not loaded.
    pub fn check_version(&self, name: &str, version: &str) -> Result<(), InferError> {
        match self.models().version(name, Some(version)) {
            Ok(_) => Ok(()),
            Err(error) => {
                let fleet = self.fleet_of(name);
                match fleet.and_then(|fleet| fleet.has_version(name, version)) {
                    Some(true) => Ok(()),
                    Some(false) => Err(unknown_to_registry(name, version)),
                    None => Err(error),
                }
            }
        }
    }

    /// Whether a request would be answered, if necessary after its version is loaded.
    ///
    /// # Errors
    /// Why it would not.
    pub fn would_answer(&self, name: &str, version: Option<&str>) -> Result<(), InferError> {
        self.finder().would_answer(name, version)
    }
}

/// A version that is not there is no mistake of a client who did not name it.
fn not_the_clients_fault(error: InferError) -> InferError {
    match error.code {
        ErrorCode::UnknownModel | ErrorCode::UnknownVersion => not_usable(error.message.into()),
        _ => error,
    }
}

fn unknown_to_registry(name: &str, version: &str) -> InferError {
    let message = format!("the registry has no version \"{version}\" of \"{name}\"");
    InferError::new(ErrorCode::UnknownVersion, message)
}
