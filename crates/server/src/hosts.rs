//! The names by which a server may be called.
//!
//! A page of another site can have the name of its own site lead to this machine (DNS rebinding), and
//! then read and change everything here as a page of ours: for the browser it is one. What gives it
//! away is the name, in `Host`.

use std::net::Ipv4Addr;

use http::{HeaderMap, Request, Version, header};
use http_body::Body;
use tidegate_serving::{ErrorCode, InferError};

use crate::ServerConfig;

/// Endings of names that nobody can register, so that no site has them: RFC 6761, 6762 and 8375, and
/// ICANN's `.internal`; services of Kubernetes.
const PRIVATE_ENDINGS: [&str; 5] = [".localhost", ".local", ".internal", ".home.arpa", ".svc"];

/// Which names requests may call this server by.
#[derive(Debug)]
pub(crate) struct AllowedHosts {
    /// Whether names are checked at all.
    is_checked: bool,
    names: Vec<String>,
}

impl AllowedHosts {
    /// As configured. Without a configuration names are checked where only this machine can connect:
    /// others then come through a browser here, and a server that others can reach has any name.
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let names: Vec<String> = config
            .allowed_hosts
            .iter()
            .map(|name| lower(name))
            .collect();
        let is_checked = match names.as_slice() {
            [] => config.http.ip().is_loopback(),
            names => !names.iter().any(|name| name == "*"),
        };
        Self { is_checked, names }
    }

    /// Refuses a request to another server, and one whose head is ambiguous: another program on its
    /// way could have understood it otherwise.
    pub(crate) fn check<B: Body>(&self, request: &Request<B>) -> Result<(), InferError> {
        let headers = request.headers();
        let mut hosts = headers.get_all(header::HOST).iter();
        let (host, other) = (hosts.next(), hosts.next());
        // RFC 9112, section 3.2.
        if other.is_some() || (host.is_none() && request.version() == Version::HTTP_11) {
            let count = if other.is_some() { "several" } else { "no" };
            return Err(malformed(format!("the request has {count} Host headers")));
        }
        if request.body().size_hint().exact().is_none() {
            check_transfer_encoding(headers)?;
        }
        if !self.is_checked {
            return Ok(());
        }
        let authority = request.uri().authority().map(http::uri::Authority::as_str);
        let authority = authority.or_else(|| host.map(|host| host.to_str().unwrap_or("?")));
        match authority {
            Some(authority) if !self.allows(without_port(authority)) => Err(unknown(authority)),
            _ => Ok(()),
        }
    }

    fn allows(&self, name: &str) -> bool {
        if name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok() {
            return true;
        }
        let name = lower(name);
        let name = name.trim_end_matches('.');
        // A name without a dot is one of this machine or its network.
        !name.contains('.')
            || PRIVATE_ENDINGS.iter().any(|ending| name.ends_with(ending))
            || self.names.iter().any(|allowed| is_named(name, allowed))
    }
}

fn is_named(name: &str, allowed: &str) -> bool {
    match allowed.strip_prefix('*') {
        Some(ending) => ending.starts_with('.') && name.ends_with(ending),
        None => name == allowed,
    }
}

fn lower(name: &str) -> String {
    name.to_ascii_lowercase()
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => authority,
    }
}

/// The only encoding that we read is `chunked`, once (RFC 9112, section 6.1).
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), InferError> {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) => value.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    };
    if is_chunked {
        return Ok(());
    }
    let message = "Transfer-Encoding must be only chunked: use Content-Encoding to compress";
    Err(malformed(message.to_owned()))
}

fn malformed(message: String) -> InferError {
    InferError::new(ErrorCode::MalformedRequest, message)
}

fn unknown(authority: &str) -> InferError {
    let shown: String = authority.chars().take(128).collect();
    let message = format!(
        "this server does not accept the name {shown:?}: use its IP address or localhost, or add \
         the name to server.allowed_hosts"
    );
    InferError::new(ErrorCode::UnknownHost, message)
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    fn hosts(http: &str, names: &[&str]) -> AllowedHosts {
        AllowedHosts::new(&ServerConfig {
            http: http.parse().unwrap(),
            allowed_hosts: names.iter().map(|name| (*name).to_owned()).collect(),
            ..ServerConfig::default()
        })
    }

    fn ask(hosts: &AllowedHosts, names: &[&str]) -> Result<(), ErrorCode> {
        let mut request = Request::builder().uri("/v2");
        for name in names {
            request = request.header("host", *name);
        }
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        hosts.check(&request).map_err(|error| error.code)
    }

    #[test]
    fn a_server_for_this_machine_alone_knows_its_names() {
        let local = hosts("127.0.0.1:8000", &[]);
        for name in [
            "127.0.0.1:8000",
            "10.1.2.3",
            "[::1]:8000",
            "localhost",
            "LOCALHOST:8000",
            "tidegate",
            "a.localhost",
            "tidegate.default.svc",
            "tidegate.default.svc.cluster.local:80",
        ] {
            assert_eq!(ask(&local, &[name]), Ok(()), "{name}");
        }
        for name in [
            "evil.example:8000",
            "127.0.0.1.evil.com",
            "localhost.evil.com.",
            "a.b:x",
        ] {
            assert_eq!(ask(&local, &[name]), Err(ErrorCode::UnknownHost), "{name}");
        }
    }

    #[test]
    fn a_server_for_others_has_any_name_until_its_names_are_configured() {
        assert_eq!(
            ask(&hosts("0.0.0.0:8000", &[]), &["models.corp.com"]),
            Ok(())
        );
        let named = hosts("0.0.0.0:8000", &["Models.corp.com", "*.models.corp.com"]);
        for name in ["models.corp.com:80", "eu.models.corp.com", "10.0.0.7:8000"] {
            assert_eq!(ask(&named, &[name]), Ok(()), "{name}");
        }
        assert_eq!(ask(&named, &["corp.com"]), Err(ErrorCode::UnknownHost));
        assert_eq!(ask(&hosts("127.0.0.1:1", &["*"]), &["corp.com"]), Ok(()));
    }

    #[test]
    fn a_request_has_one_host() {
        let any = hosts("0.0.0.0:8000", &[]);
        assert_eq!(ask(&any, &[]), Err(ErrorCode::MalformedRequest));
        assert_eq!(ask(&any, &["a", "a"]), Err(ErrorCode::MalformedRequest));
    }
}
