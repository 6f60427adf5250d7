//! Who looks at a page.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use tidegate_console::User;
use tidegate_gateway::{Caller, ClientCertificate, Credentials, Gateway, Principal};

/// Whoever asks for a page, and what they asked with. Pages take it as an argument.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) headers: HeaderMap,
    certificate: Option<ClientCertificate>,
    /// As found when the page was asked for.
    principal: Option<Principal>,
}

impl Visitor {
    /// Whether they may still see the page, if it stays open: their session may have ended, or their
    /// key been revoked.
    pub(super) fn is_still_known(&self, gateway: &Gateway) -> bool {
        let credentials = Credentials::of(&self.headers)
            .or_session()
            .with_certificate(self.certificate.as_ref());
        let caller = gateway.known_caller(credentials);
        caller.as_ref().map(Caller::principal) == self.principal.as_ref()
    }

    /// Who they are, for the bar at the top; `None` for anybody.
    pub(super) fn user(&self, gateway: &Gateway) -> Option<User> {
        let principal = self.principal.as_ref()?;
        if *principal == Principal::Anonymous {
            return None;
        }
        let is_session = !Credentials::of(&self.headers).are_sent();
        Some(User {
            name: principal.to_string(),
            may_sign_out: is_session && gateway.session(&self.headers).is_some(),
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let caller = parts.extensions.get::<Caller>();
        Ok(Self {
            headers: parts.headers.clone(),
            certificate: parts.extensions.get().cloned(),
            principal: caller.map(|caller| caller.principal().clone()),
        })
    }
}
