//! Signing in to the console and out of it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use tidegate_console::Login;
use tidegate_gateway::{Caller, Denied, Gateway, LoggedIn, LoginAnswer, LoginError};
use tidegate_serving::{ErrorCode, InferError};
use tracing::warn;

use super::Console;
use super::form::{Form, Refused};
use super::page_query::{Asked, asked};
use crate::audit::{Action, DeniedAction, Peer};

const HOME: &str = "/console";
const LOGIN_PAGE: &str = "/console/login";
/// Longest address of a page to return to, in bytes: the cookie of a login keeps it.
const MAX_NEXT: usize = 1024;
/// Longest word of the provider that is shown, in characters.
const MAX_REASON: usize = 64;
/// The actions in the audit log.
const LOG_IN: &str = "console.login";
const LOG_OUT: &str = "console.logout";
/// What is said where the fault is not the browser's.
const NO_PROVIDER: Denied = Denied::Unavailable("the identity provider does not answer as it must");

/// The page to return to.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct LoginQuery {
    next: String,
}

/// What the provider sends a browser back with.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ProviderQuery {
    code: String,
    state: String,
    iss: Option<String>,
    error: String,
}

/// The address that a request came from.
type Sender = Option<Extension<Peer>>;

/// The form.
pub(super) async fn show(
    State(console): State<Arc<Console>>,
    query: Asked<LoginQuery>,
) -> Response {
    if console.gateway().is_open() {
        return Redirect::to(HOME).into_response();
    }
    page(&console, own_page(&asked(query).next), "").into_response()
}

/// Signs in with an API key. Attempts are not limited: nobody guesses 256 random bits, and a limit
/// would lock out everybody behind the same proxy.
pub(super) async fn with_key(
    State(console): State<Arc<Console>>,
    sender: Sender,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = match Form::read_public(&console.front_end.config, &headers, body).await {
        Ok(form) => form,
        Err(Refused { status, message }) => return (status, message).into_response(),
    };
    let (key, next) = (form.text("key"), own_page(&form.text("next")));
    if key.trim().is_empty() {
        let page = page(&console, next, "enter an API key");
        return (StatusCode::BAD_REQUEST, page).into_response();
    }
    let begun = match console.gateway().log_in_with_key(key.trim()) {
        Ok(logged_in) => begin(&console, &logged_in, sender, &headers).await,
        Err(denied) => Err(denied.into()),
    };
    match begun {
        Ok(cookie) => redirect(&next, [cookie]),
        Err(error) => failed(&console, next, &error),
    }
}

/// Sends the browser to the provider.
pub(super) async fn to_provider(
    State(console): State<Arc<Console>>,
    query: Asked<LoginQuery>,
) -> Response {
    let next = own_page(&asked(query).next);
    if !console.gateway().has_provider() {
        let problem = "this server has no identity provider (auth.login.issuer)";
        return (StatusCode::NOT_FOUND, page(&console, next, problem)).into_response();
    }
    match console.gateway().begin_login(next.clone()).await {
        Ok(login) => redirect(&login.redirect_to, [login.cookie]),
        Err(error) => not_finished(&console, next, &error),
    }
}

/// Signs in whom the provider sends back.
pub(super) async fn from_provider(
    State(console): State<Arc<Console>>,
    query: Asked<ProviderQuery>,
    sender: Sender,
    headers: HeaderMap,
) -> Response {
    let ProviderQuery {
        code,
        state,
        iss,
        error,
    } = asked(query);
    if code.is_empty() {
        let problem = format!(
            "the identity provider did not sign you in: {}",
            word(&error)
        );
        let page = page(&console, HOME.to_owned(), &problem);
        return (StatusCode::BAD_REQUEST, page).into_response();
    }
    let answer = LoginAnswer { code, state, iss };
    let finished = console.gateway().finish_login(&headers, &answer).await;
    let (logged_in, next) = match finished {
        Ok(finished) => finished,
        Err(error) => return not_finished(&console, HOME.to_owned(), &error),
    };
    match begin(&console, &logged_in, sender, &headers).await {
        Ok(cookie) => {
            let mut cookies = console.gateway().no_cookies();
            // The last one of a name counts.
            cookies.push(cookie);
            redirect(&own_page(&next), cookies)
        }
        Err(error) => failed(&console, own_page(&next), &error),
    }
}

/// Ends the session.
pub(super) async fn log_out(
    State(console): State<Arc<Console>>,
    sender: Sender,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = Form::read_public(&console.front_end.config, &headers, body).await;
    if let Err(Refused { status, message }) = form {
        return (status, message).into_response();
    }
    let gateway = console.gateway();
    let caller = gateway.session(&headers);
    gateway.end_session(&headers);
    if let Some(caller) = caller
        && let Err(error) = console.record(LOG_OUT, &caller, sender).await
    {
        // The session has ended in any case.
        warn!(error = %error.message, "the end of a session is not in the audit log");
    }
    redirect(LOGIN_PAGE, gateway.no_cookies())
}

/// Records a login, and begins its session.
async fn begin(
    console: &Console,
    logged_in: &LoggedIn,
    sender: Sender,
    headers: &HeaderMap,
) -> Result<HeaderValue, InferError> {
    console.record(LOG_IN, logged_in.caller(), sender).await?;
    Ok(console.gateway().begin_session(logged_in, headers)?)
}

impl Console {
    pub(super) fn gateway(&self) -> &Gateway {
        self.front_end.serving.gateway()
    }

    async fn record(&self, name: &str, caller: &Caller, sender: Sender) -> Result<(), InferError> {
        let source: Option<IpAddr> = sender.map(|Extension(Peer(address))| address);
        let recording = self.front_end.audit.record(Action {
            caller: Some(caller),
            source,
            name,
            kind: "console",
            resource: "",
        });
        recording.await
    }
}

/// To a page, with new cookies.
fn redirect(page: &str, cookies: impl IntoIterator<Item = HeaderValue>) -> Response {
    let mut response = Redirect::to(page).into_response();
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

fn page(console: &Console, next: String, problem: &str) -> Html<String> {
    let login = Login {
        next,
        problem: problem.to_owned(),
        has_provider: console.gateway().has_provider(),
    };
    Html(login.render())
}

/// The form again, with what was wrong.
fn failed(console: &Console, next: String, error: &InferError) -> Response {
    let page = page(console, next, &error.message);
    let status = StatusCode::from_u16(error.code.http_status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, page).into_response();
    // For the audit log.
    let extensions = response.extensions_mut();
    extensions.insert(error.code);
    extensions.insert(DeniedAction::of(LOG_IN, None));
    response
}

fn not_finished(console: &Console, next: String, error: &LoginError) -> Response {
    warn!(%error, "a login with the identity provider failed");
    let error = match error {
        LoginError::Issuer(_) => NO_PROVIDER.into(),
        LoginError::Token(error) if error.is_unavailable() => NO_PROVIDER.into(),
        other => InferError::new(ErrorCode::Unauthenticated, other.to_string()),
    };
    failed(console, next, &error)
}

/// An error code of the provider (RFC 6749, section 4.1.2.1). Anybody can make a browser come here,
/// with any text.
fn word(error: &str) -> String {
    let letters = error
        .chars()
        .filter(|letter| letter.is_ascii_lowercase() || *letter == '_');
    letters.take(MAX_REASON).collect()
}

/// The address of a page of the console; its first page for any other address, so that a link to the
/// form cannot lead anywhere else.
fn own_page(next: &str) -> String {
    let rest = next.strip_prefix(HOME);
    let is_own = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let is_plain = next
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_login = next.starts_with(LOGIN_PAGE);
    match is_own && is_plain && !is_login && !leads_up(next) && next.len() <= MAX_NEXT {
        true => next.to_owned(),
        false => HOME.to_owned(),
    }
}

/// Whether a browser takes parts of a path for `.` or `..`, and so goes to another path (the double-dot
/// segments of the URL standard). A proxy may take escaped slashes for slashes.
fn leads_up(next: &str) -> bool {
    let path = next.split(['?', '#']).next().unwrap_or_default();
    let path = path.to_ascii_lowercase().replace("%2e", ".");
    let path = path.replace("%2f", "/").replace("%5c", "/");
    path.split('/').any(|part| part == "." || part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_pages_of_the_console_only() {
        for own in [
            "/console",
            "/console/models?q=a&page=2",
            "/console?q=%22",
            "/console/models?q=../..",
            "/console/models/a..b%2Fc",
        ] {
            assert_eq!(own_page(own), own);
        }
        let long = format!("/console/{}", "a".repeat(2000));
        for foreign in [
            "",
            "//evil.example",
            "https://evil.example/console",
            "/\\evil.example",
            "/console\\..",
            "/console/..//evil.example",
            "/console/models/../../v2/repository/index",
            "/console/%2E%2e/metrics",
            "/console/.%2e/metrics",
            "/console/./models",
            "/console/..%5cevil.example",
            "/console/..%2f..%2fmetrics",
            "/console/..?a=b",
            "/consolex",
            "/console/\r\nSet-Cookie: a=b",
            "/console/login?next=/console/login",
            "javascript:alert(1)",
            "@evil.example",
            &long,
        ] {
            assert_eq!(own_page(foreign), HOME, "{foreign:?}");
        }
    }

    #[test]
    fn nothing_but_an_error_code_of_the_provider_is_shown() {
        assert_eq!(word("access_denied"), "access_denied");
        assert_eq!(word("<b>Call 0800</b>"), "ballb");
        assert_eq!(word(&"a".repeat(99)).len(), MAX_REASON);
    }
}
