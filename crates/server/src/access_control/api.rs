//! `/api/keys` and `/api/whoami`.

mod bodies;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::{Extension, Json};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tidegate_gateway::{
    ApiKeyError, ApiKeys, Caller, ChangedBy, Credentials, KeyRequest, LastAdminKey, NewApiKey,
    Permission,
};
use tidegate_serving::{ErrorCode, InferError};
use utoipa::OpenApi;

pub use self::bodies::ListedKey;
use self::bodies::{KeyRevocation, KeyRotation, NewKey, ShownKey, WhoAmI};
use super::AccessControl;
use crate::audit::AuditStates;
use crate::rest::{ApiError, ErrorBody, Path, body};
use crate::routes::Routes;

/// How long the earlier key stays valid if the request does not say.
const OVERLAP_S: u64 = 24 * 3600;

#[derive(OpenApi)]
#[openapi(paths(list, create, rotate, revoke, whoami))]
struct Description;

pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(super) fn routes(access: Arc<AccessControl>) -> Routes<()> {
    use Permission::{ManageKeys, Public};
    Routes::described_by(description())
        .get("/api/keys", ManageKeys, list)
        .audited("key.list", "key")
        .post("/api/keys", ManageKeys, create)
        .audited("key.create", "key")
        .post("/api/keys/{name}/rotate", ManageKeys, rotate)
        .audited("key.rotate", "key")
        .delete("/api/keys/{name}", ManageKeys, revoke)
        .audited("key.revoke", "key")
        .get("/api/whoami", Public, whoami)
        .with_state(access)
}

/// An answer with a key, which nobody on the way may keep.
type KeyAnswer = (StatusCode, [(HeaderName, HeaderValue); 1], Json<ShownKey>);

/// Lists the API keys of the caller's tenant, or of all tenants for a caller of none; also expired and
/// revoked ones.
#[utoipa::path(get, path = "/api/keys", tag = "access",
    responses((status = 200, body = [ListedKey]), (status = 403, body = ErrorBody),
        (status = 405, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn list(
    State(access): State<Arc<AccessControl>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Vec<ListedKey>>, ApiError> {
    let keys = access.managed().await?.list().await;
    let mut keys = keys.map_err(ApiKeyError::from).map_err(refused)?;
    keys.retain(|key| caller.may_act_for(&key.tenant));
    Ok(Json(keys.into_iter().map(ListedKey::from).collect()))
}

/// Creates an API key.
#[utoipa::path(post, path = "/api/keys", tag = "access", request_body = NewKey,
    responses((status = 201, body = ShownKey), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 405, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn create(
    State(access): State<Arc<AccessControl>>,
    Extension(caller): Extension<Caller>,
    states: AuditStates,
    headers: HeaderMap,
    body: Body,
) -> Result<KeyAnswer, ApiError> {
    let new: NewKey = body::wanted(&headers, body, &access.server).await?;
    states.resource(&new.name);
    let request = KeyRequest {
        tenant: new.tenant.unwrap_or_else(|| caller.tenant().to_owned()),
        name: new.name,
        grants: new.grants,
        valid_for: new.valid_for_s.map(Duration::from_secs),
    };
    let keys = access.managed().await?;
    let key = keys.create(ChangedBy::Caller(&caller), &request).await;
    access.show(request.name, &key.map_err(refused)?).await
}

/// Replaces an API key by a new one; the earlier one stays valid for some time.
#[utoipa::path(post, path = "/api/keys/{name}/rotate", tag = "access", params(("name" = String, Path)),
    request_body = KeyRotation,
    responses((status = 201, body = ShownKey), (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 405, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn rotate(
    State(access): State<Arc<AccessControl>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<KeyAnswer, ApiError> {
    let rotation: KeyRotation = body::wanted(&headers, body, &access.server).await?;
    let overlap = Duration::from_secs(rotation.overlap_s.unwrap_or(OVERLAP_S));
    let keys = access.managed().await?;
    let by = ChangedBy::Caller(&caller);
    let key = keys.rotate(by, &name, overlap).await.map_err(refused)?;
    access.show(name, &key).await
}

/// Revokes an API key. The last one that can manage keys is not revoked without `force`, unless others
/// may manage keys by a token or a certificate.
#[utoipa::path(delete, path = "/api/keys/{name}", tag = "access",
    params(("name" = String, Path), KeyRevocation),
    responses((status = 204), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 405, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn revoke(
    State(access): State<Arc<AccessControl>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    query: Result<Query<KeyRevocation>, QueryRejection>,
) -> Result<StatusCode, ApiError> {
    let query = query.map_err(|error| {
        InferError::new(
            ErrorCode::InvalidParameter,
            format!("the query is wrong: {error}"),
        )
    });
    let Query(KeyRevocation { force }) = query?;
    let last_admin = LastAdminKey::of(force, access.has_other_key_managers);
    let keys = access.managed().await?;
    let revoked = keys.revoke(ChangedBy::Caller(&caller), &name, last_admin);
    revoked.await.map_err(refused)?;
    access.refresh().await;
    Ok(StatusCode::NO_CONTENT)
}

/// Says whose the credentials of the request are, and what they permit.
#[utoipa::path(get, path = "/api/whoami", tag = "access",
    responses((status = 200, body = WhoAmI), (status = 401, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn whoami(
    State(access): State<Arc<AccessControl>>,
    request: Request,
) -> Result<Json<WhoAmI>, ApiError> {
    // The route is public, and such a route looks at no credentials.
    let (parts, _) = request.into_parts();
    let credentials = Credentials::of(&parts.headers).with_extensions(&parts.extensions);
    let caller = access.gateway.authenticate(credentials).await;
    Ok(Json(WhoAmI::from(&caller.map_err(InferError::from)?)))
}

impl AccessControl {
    /// The keys, for changes.
    async fn managed(&self) -> Result<ApiKeys, InferError> {
        if self.gateway.is_open() {
            let message = "authentication is off (auth.enabled): there are no keys to manage";
            return Err(InferError::new(ErrorCode::MethodNotAllowed, message));
        }
        let keys = self.keys().await;
        keys.map_err(ApiKeyError::from).map_err(refused)
    }

    async fn show(&self, name: String, key: &NewApiKey) -> Result<KeyAnswer, ApiError> {
        // So that this server knows the key when its owner uses it.
        self.refresh().await;
        let no_store = HeaderValue::from_static("no-store");
        let key = key.reveal().to_owned();
        Ok((
            StatusCode::CREATED,
            [(header::CACHE_CONTROL, no_store)],
            Json(ShownKey { name, key }),
        ))
    }
}

fn refused(error: ApiKeyError) -> InferError {
    let code = match &error {
        ApiKeyError::Exists(_)
        | ApiKeyError::Taken(_)
        | ApiKeyError::TooMany(_)
        | ApiKeyError::LastAdmin(_) => ErrorCode::Conflict,
        ApiKeyError::Unknown(_) => ErrorCode::NotFound,
        ApiKeyError::NotPermitted(_) => ErrorCode::Forbidden,
        ApiKeyError::Name(_)
        | ApiKeyError::NoGrants
        | ApiKeyError::NoTime
        | ApiKeyError::Pattern(_) => ErrorCode::InvalidParameter,
        ApiKeyError::Random(_) | ApiKeyError::Store(_) => ErrorCode::AuthUnavailable,
    };
    InferError::new(code, error.to_string())
}
