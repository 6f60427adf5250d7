//! REST as a connection calls it: inference goes straight to its handler, everything else through
//! the router.
//!
//! The fast path opens nothing: both ways end in the request pipeline, which authorizes by itself.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use futures_util::TryFutureExt;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use memchr::memchr2;
use tidegate_gateway::Credentials;
use tidegate_serving::{InferError, Target};

use super::{ApiError, infer};
use crate::audit::Peer;
use crate::component::Component;
use crate::front_end::FrontEnd;
use crate::hosts::AllowedHosts;
use crate::listen::ClientBody;
use crate::request_memory::for_client;

/// Browsers must not guess that an answer is a page or a script.
const NO_SNIFF: (HeaderName, HeaderValue) = (
    header::X_CONTENT_TYPE_OPTIONS,
    HeaderValue::from_static("nosniff"),
);

/// Answers the requests of connections.
#[derive(Clone)]
pub(crate) struct RestService {
    front_end: Arc<FrontEnd>,
    hosts: Arc<AllowedHosts>,
    router: TowerToHyperService<Router>,
}

impl RestService {
    pub(crate) fn new(front_end: Arc<FrontEnd>, components: &[Arc<dyn Component>]) -> Self {
        Self {
            router: TowerToHyperService::new(super::router(front_end.clone(), components)),
            hosts: Arc::new(AllowedHosts::new(
                &front_end.config.allowed_hosts,
                front_end.config.http.ip(),
            )),
            front_end,
        }
    }
}

impl Service<Request<ClientBody>> for RestService {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<ClientBody>) -> Self::Future {
        if let Err(error) = self.hosts.check(&request) {
            return Box::pin(ready(Ok(refusal(error))));
        }
        if let Some(platform) = &self.front_end.platform {
            platform.replace(&mut request);
        }
        if request.uri().path().ends_with('/') {
            trim_slashes(&mut request);
        }
        let client = request.body().client();
        let target = (request.method() == Method::POST)
            .then(|| target(request.uri().path()))
            .flatten();
        match target {
            Some(target) => {
                let front_end = self.front_end.clone();
                Box::pin(async move {
                    let (head, body) = request.into_parts();
                    let memory = body.client_memory().begin();
                    let credentials =
                        Credentials::of(&head.headers).with_extensions(&head.extensions);
                    let answer = infer::handle(&front_end, target, credentials, body, memory).await;
                    front_end.audit.note_answer(client, &answer);
                    Ok(without_sniffing(answer))
                })
            }
            None => {
                request.extensions_mut().insert(Peer(client));
                let audit = self.front_end.audit.clone();
                let share = request.body().client_memory().clone();
                let answer = for_client(share, self.router.call(request));
                Box::pin(answer.map_ok(move |answer| {
                    audit.note_answer(client, &answer);
                    without_sniffing(answer)
                }))
            }
        }
    }
}

fn without_sniffing(mut answer: Response) -> Response {
    let (name, value) = NO_SNIFF;
    answer.headers_mut().insert(name, value);
    answer
}

/// The answer to a request that should never have come here. What else is on its connection may be
/// no better.
fn refusal(error: InferError) -> Response {
    let mut answer = without_sniffing(ApiError::from(error).into_response());
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(header::CONNECTION, close);
    answer
}

/// Takes slashes off the end of a path of the API, where they mean nothing.
fn trim_slashes<B>(request: &mut Request<B>) {
    const TRIMMED: [&str; 4] = ["/v1/", "/v2/", "/api/", "/metrics/"];
    let path = request.uri().path();
    if !TRIMMED.iter().any(|prefix| path.starts_with(prefix)) {
        return;
    }
    let mut trimmed = path.trim_end_matches('/').to_owned();
    if let Some(query) = request.uri().query() {
        trimmed.push('?');
        trimmed.push_str(query);
    }
    let mut parts = request.uri().clone().into_parts();
    if let Ok(path) = trimmed.parse() {
        parts.path_and_query = Some(path);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
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
    !name.is_empty() && memchr2(b'/', b'%', name.as_bytes()).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_at_the_end_of_a_path_of_the_api_mean_nothing() {
        let trimmed = |uri: &str| {
            let mut request = Request::builder().uri(uri).body(()).unwrap();
            trim_slashes(&mut request);
            request.uri().to_string()
        };
        assert_eq!(trimmed("/v2/models/a/infer/"), "/v2/models/a/infer");
        assert_eq!(trimmed("/v2//"), "/v2");
        assert_eq!(trimmed("/api/events/?limit=1"), "/api/events?limit=1");
        assert_eq!(trimmed("/docs/"), "/docs/");
        assert_eq!(trimmed("/"), "/");
    }

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
