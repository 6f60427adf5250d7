//! The list of routes: method, path, handler, and the permission that a caller needs.
//!
//! A [`Router`] is only ever made from a [`Routes`], and an entry of it cannot be made without a
//! permission, so a route that everybody may use says so ([`Permission::Public`]).

use std::sync::Arc;

use axum::RequestExt;
use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use tidegate_gateway::{Caller, Credentials, Gateway, Permission};
use tidegate_serving::{ErrorCode, InferError};

use crate::audit::{AuditLog, AuditStates, DeniedAction, OwnedAction, Peer};
use crate::console::denied_page;
use crate::origin;
use crate::rest::ApiError;

/// The beginning of the paths of the console.
const CONSOLE: &str = "/console";

/// Routes that share a state `S`, with their part of the OpenAPI description.
pub(crate) struct Routes<S> {
    entries: Vec<Entry<S>>,
    openapi: utoipa::openapi::OpenApi,
}

struct Entry<S> {
    method: MethodFilter,
    path: &'static str,
    permission: Permission,
    check: Check,
    action: Option<AuditedAction>,
    handler: MethodRouter<S>,
}

/// How a route is recorded in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AuditedAction {
    name: &'static str,
    resource_kind: &'static str,
}

/// Where the permission of a route is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Before the handler runs.
    Route,
    /// By the request pipeline, which every handler of inference calls.
    Pipeline,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// No routes yet, and the description of those that will be added.
    pub(crate) fn described_by(openapi: utoipa::openapi::OpenApi) -> Self {
        Self {
            entries: Vec::new(),
            openapi,
        }
    }

    /// Adds a `GET`.
    pub(crate) fn get<T: 'static>(
        self,
        path: &'static str,
        permission: Permission,
        handler: impl Handler<T, S>,
    ) -> Self {
        self.add(MethodFilter::GET, path, permission, Check::Route, handler)
    }

    /// Adds a `POST`.
    pub(crate) fn post<T: 'static>(
        self,
        path: &'static str,
        permission: Permission,
        handler: impl Handler<T, S>,
    ) -> Self {
        self.add(MethodFilter::POST, path, permission, Check::Route, handler)
    }

    /// Adds a `PUT`.
    pub(crate) fn put<T: 'static>(
        self,
        path: &'static str,
        permission: Permission,
        handler: impl Handler<T, S>,
    ) -> Self {
        self.add(MethodFilter::PUT, path, permission, Check::Route, handler)
    }

    /// Adds a `DELETE`.
    pub(crate) fn delete<T: 'static>(
        self,
        path: &'static str,
        permission: Permission,
        handler: impl Handler<T, S>,
    ) -> Self {
        self.add(
            MethodFilter::DELETE,
            path,
            permission,
            Check::Route,
            handler,
        )
    }

    /// Adds a `POST` that hands its request to the request pipeline, which checks
    /// [`Permission::Call`] itself: the fast path to it goes past the router.
    pub(crate) fn post_inference<T: 'static>(
        self,
        path: &'static str,
        handler: impl Handler<T, S>,
    ) -> Self {
        self.add(
            MethodFilter::POST,
            path,
            Permission::Call,
            Check::Pipeline,
            handler,
        )
    }

    /// Names the action of the route that was added last, and the kind of its resource, in the audit
    /// log. Every route that may change something has one.
    pub(crate) fn audited(mut self, name: &'static str, resource_kind: &'static str) -> Self {
        if let Some(entry) = self.entries.last_mut() {
            entry.action = Some(AuditedAction {
                name,
                resource_kind,
            });
        }
        self
    }

    /// Changes every handler, as a layer does.
    pub(crate) fn map_handlers(
        mut self,
        change: impl Fn(MethodRouter<S>) -> MethodRouter<S>,
    ) -> Self {
        for entry in &mut self.entries {
            entry.handler = change(std::mem::take(&mut entry.handler));
        }
        self
    }

    /// Gives the handlers their state.
    pub(crate) fn with_state(self, state: S) -> Routes<()> {
        let entries = self.entries.into_iter().map(|entry| Entry {
            method: entry.method,
            path: entry.path,
            permission: entry.permission,
            check: entry.check,
            action: entry.action,
            handler: entry.handler.with_state(state.clone()),
        });
        Routes {
            entries: entries.collect(),
            openapi: self.openapi,
        }
    }

    fn add<T: 'static>(
        mut self,
        method: MethodFilter,
        path: &'static str,
        permission: Permission,
        check: Check,
        handler: impl Handler<T, S>,
    ) -> Self {
        self.entries.push(Entry {
            method,
            path,
            permission,
            check,
            action: None,
            handler: on(method, handler),
        });
        self
    }
}

impl Routes<()> {
    /// These routes and others.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.entries.extend(other.entries);
        self.openapi.merge(other.openapi);
        self
    }

    /// The description of all of them.
    pub(crate) fn openapi(&self) -> &utoipa::openapi::OpenApi {
        &self.openapi
    }

    /// The path of each route.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.entries.iter().map(|entry| entry.path)
    }

    /// Each route's method, path and permission.
    #[cfg(test)]
    pub(crate) fn declared(
        &self,
    ) -> impl Iterator<Item = (MethodFilter, &'static str, Permission)> + '_ {
        self.entries
            .iter()
            .map(|entry| (entry.method, entry.path, entry.permission))
    }

    /// The routes that may change something and have no name in the audit log.
    #[cfg(test)]
    pub(crate) fn not_audited(&self) -> Vec<&'static str> {
        let entries = self.entries.iter();
        entries
            .filter(|entry| entry.permission.is_change() != entry.action.is_some())
            .map(|entry| entry.path)
            .collect()
    }

    /// The router that answers them, each behind its permission.
    pub(crate) fn into_router(self, gateway: &Arc<Gateway>, audit: &AuditLog) -> Router {
        let mut router = Router::new();
        for entry in self.entries {
            let handler = match entry.check {
                // Not twice: the pipeline admits it, with the endpoint that the request names.
                Check::Pipeline => entry.handler,
                Check::Route => {
                    let guard = RouteGuard {
                        gateway: gateway.clone(),
                        audit: audit.clone(),
                        permission: entry.permission,
                        action: entry.action,
                        is_console: entry.path.starts_with(CONSOLE),
                        is_read: entry.method == MethodFilter::GET,
                    };
                    entry.handler.layer(from_fn_with_state(guard, admit))
                }
            };
            router = router.route(entry.path, handler);
        }
        router
    }
}

/// What the check before a handler needs.
#[derive(Clone)]
struct RouteGuard {
    gateway: Arc<Gateway>,
    audit: AuditLog,
    permission: Permission,
    action: Option<AuditedAction>,
    /// Whether it is of the console, which sessions are for.
    is_console: bool,
    /// Whether the method changes nothing.
    is_read: bool,
}

/// Lets a request through to its handler if its caller may. The handler finds the [`Caller`] among
/// the extensions of the request.
async fn admit(State(guard): State<RouteGuard>, mut request: Request, next: Next) -> Response {
    let name = resource_name(&mut request).await;
    let caller = match guard.check(guard.credentials(&request), name).await {
        Ok(caller) => caller,
        Err(error) => return guard.denied(&request, error),
    };
    request.extensions_mut().insert(caller.clone());
    match guard.action {
        None => next.run(request).await,
        Some(action) => {
            let response = run_audited(guard.audit, action, caller, request, next).await;
            response.unwrap_or_else(|error| ApiError::from(error).into_response())
        }
    }
}

impl RouteGuard {
    fn credentials<'a>(&self, request: &'a Request) -> Credentials<'a> {
        let own = Credentials::of(request.headers()).with_extensions(request.extensions());
        match self.is_console {
            true => own.or_session(),
            false => own,
        }
    }

    /// Whether no page of another site may send it. A browser sends what such a page tells it to, with
    /// the credentials of its user.
    fn must_be_own(&self) -> bool {
        self.permission.is_change() || (self.is_console && !self.is_read)
    }

    async fn check(
        &self,
        credentials: Credentials<'_>,
        name: String,
    ) -> Result<Caller, InferError> {
        if self.must_be_own() && !origin::is_own(credentials.headers()) {
            let message = "a page of another site sent this request; nothing was done";
            return Err(InferError::new(ErrorCode::ForeignOrigin, message));
        }
        let admitting = self.gateway.admit(credentials, self.permission, name);
        let authorized = admitting.await?;
        Ok(authorized.caller().clone())
    }

    fn denied(&self, request: &Request, error: InferError) -> Response {
        let page = match self.is_console && self.is_read {
            true => denied_page(&self.gateway, request, &error),
            false => None,
        };
        let action = self
            .action
            .map_or(self.permission.name(), |action| action.name);
        let denied = DeniedAction::new(action, &self.gateway, self.credentials(request));
        let mut response = page.unwrap_or_else(|| ApiError::from(error).into_response());
        response.extensions_mut().insert(denied);
        response
    }
}

/// Runs the handler of an administrative action, with a row of the audit log before and after it.
async fn run_audited(
    audit: AuditLog,
    action: AuditedAction,
    caller: Caller,
    mut request: Request,
    next: Next,
) -> Result<Response, InferError> {
    let source = request.extensions().get().map(|Peer(source)| *source);
    let path = request.extract_parts::<RawPathParams>().await;
    let named = path.iter().flat_map(|path| path.iter()).next();
    let resource = named.map_or_else(String::new, |(_, value)| value.to_owned());
    let states = AuditStates::default();
    request.extensions_mut().insert(states.clone());
    let action = OwnedAction {
        caller: Some(caller),
        source,
        name: action.name,
        kind: action.resource_kind,
        resource,
    };
    audit.run(action, states, next.run(request), failure).await
}

/// The code of the error that a response has.
fn failure(response: &Response) -> Option<&'static str> {
    if response.status().as_u16() < 400 {
        return None;
    }
    let code = response.extensions().get::<ErrorCode>();
    Some(code.map_or("refused", |code| code.name()))
}

/// The name of the resource in the path; empty if the route is about all of a kind.
async fn resource_name(request: &mut Request) -> String {
    let Ok(params) = request.extract_parts::<RawPathParams>().await else {
        return String::new();
    };
    let mut named = params
        .iter()
        .filter(|(key, _)| matches!(*key, "model" | "name"));
    named
        .next()
        .map_or_else(String::new, |(_, name)| name.to_owned())
}
