//! REST as a connection calls it: inference goes straight to its handler, everything else through
//! the router.
//!
//! The fast path opens nothing: both ways end in the request pipeline, which authorizes by itself.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use http::{Method, Request};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use tidegate_serving::Target;

use super::infer;
use crate::component::Component;
use crate::front_end::FrontEnd;

/// Answers the requests of connections.
#[derive(Clone)]
pub(crate) struct RestService {
    front_end: Arc<FrontEnd>,
    router: TowerToHyperService<Router>,
}

impl RestService {
    pub(crate) fn new(front_end: Arc<FrontEnd>, components: &[Arc<dyn Component>]) -> Self {
        Self {
            router: TowerToHyperService::new(super::router(front_end.clone(), components)),
            front_end,
        }
    }
}

impl Service<Request<Incoming>> for RestService {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let target = (request.method() == Method::POST)
            .then(|| target(request.uri().path()))
            .flatten();
        match target {
            Some(target) => {
                let front_end = self.front_end.clone();
                Box::pin(async move {
                    let (head, body) = request.into_parts();
                    Ok(infer::handle(&front_end, target, &head.headers, body).await)
                })
            }
            None => Box::pin(self.router.call(request)),
        }
    }
}

/// The target that an inference path names; `None` for other paths, and for names that the router
/// must unescape first.
fn target(path: &str) -> Option<Target> {
    let named = path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?;
    let (model, version) = match named.split_once('/') {
        None => (named, None),
        Some((model, rest)) => (model, Some(rest.strip_prefix("versions/")?)),
    };
    if !is_plain(model) || !version.is_none_or(is_plain) {
        return None;
    }
    Some(Target {
        endpoint: model.to_owned(),
        version: version.map(str::to_owned),
    })
}

/// Whether a part of a path is a name as it stands.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '%'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_inference_have_a_target() {
        let digits = |version: Option<&str>| Target {
            endpoint: "digits".to_owned(),
            version: version.map(str::to_owned),
        };
        assert_eq!(target("/v2/models/digits/infer"), Some(digits(None)));
        assert_eq!(
            target("/v2/models/digits/versions/3/infer"),
            Some(digits(Some("3")))
        );
        for other in [
            "/v2/models/digits",
            "/v2/models//infer",
            "/v2/models/infer",
            "/v2/models/a%20b/infer",
            "/v2/models/a/b/infer",
            "/v2/models/a/versions/infer",
            "/v2/models/a/versions//infer",
            "/v2/models/a/versions/1/2/infer",
            "/v2/models/a/infer/",
        ] {
            assert_eq!(target(other), None, "{other}");
        }
    }
}
