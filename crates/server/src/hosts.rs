//! The names by which a server may be called.
//!
//! A page of another site can have the name of its own site lead to this machine (DNS rebinding), and
//! then read and change everything here as a page of ours: for the browser it is one. What gives it
//! away is the name, in `Host`.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, Request, Version, header};
use http_body::Body;
use tidegate_serving::{ErrorCode, InferError};

/// Endings of names that nobody can register, so that no site has them: RFC 6761 and 8375, ICANN's
/// `.internal`, and services of Kubernetes.
///
/// `.local` is not one of them: any device of the network gives itself such a name by multicast DNS
/// (RFC 6762), and may let it lead here. Names of a cluster (`.svc.cluster.local`) cannot be told
/// from those; they reach a server that only listens to its own machine through a sidecar alone, and
/// that can be configured.
const PRIVATE_ENDINGS: [&str; 4] = [".localhost", ".internal", ".home.arpa", ".svc"];

/// Which names requests may call this server by.
#[derive(Debug)]
pub(crate) struct AllowedHosts {
    /// Whether names are checked at all.
    is_checked: bool,
    names: Vec<String>,
}

impl AllowedHosts {
    /// As configured, for a port with this address. Without a configuration names are checked where
    /// only this machine can connect: others then come through a browser here, and a server that
    /// others can reach has any name.
    pub(crate) fn new(allowed: &[String], address: IpAddr) -> Self {
        let names: Vec<String> = allowed.iter().map(|name| lower(name)).collect();
        let is_checked = match names.as_slice() {
            // Canonical: `::ffff:127.0.0.1` is 127.0.0.1.
            [] => address.to_canonical().is_loopback(),
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
        // What is not text becomes `?`, a name that nobody can have allowed.
        let authority = authority.or_else(|| host.map(|host| host.to_str().unwrap_or("?")));
        match authority {
            Some(authority) if !self.allows(without_port(authority)) => Err(unknown(authority)),
            _ => Ok(()),
        }
    }

    fn allows(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.');
        // A name without a dot is one of this machine, or of its own network's resolver.
        if !name.contains('.') || name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok() {
            return true;
        }
        let name = lower(name);
        let name = name.as_str();
        PRIVATE_ENDINGS.iter().any(|ending| name.ends_with(ending))
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

    fn hosts(address: &str, names: &[&str]) -> AllowedHosts {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        AllowedHosts::new(&names, address.parse().unwrap())
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
        let local = hosts("127.0.0.1", &[]);
        for name in [
            "127.0.0.1:8000",
            "10.1.2.3",
            "[::1]:8000",
            "localhost",
            "LOCALHOST:8000",
            "tidegate",
            "a.localhost",
            "tidegate.default.svc",
        ] {
            assert_eq!(ask(&local, &[name]), Ok(()), "{name}");
        }
        for name in [
            "evil.example:8000",
            // Any device of the network may call itself so.
            "evil.local",
            "evil.svc.cluster.local.",
            "127.0.0.1.evil.com",
            "localhost.evil.com.",
            "a.b:x",
        ] {
            assert_eq!(ask(&local, &[name]), Err(ErrorCode::UnknownHost), "{name}");
        }
    }

    #[test]
    fn each_port_is_judged_by_its_own_address() {
        for (address, is_local) in [
            ("127.0.0.1", true),
            ("127.8.8.8", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:10.0.0.1", false),
            ("0.0.0.0", false),
            ("::", false),
        ] {
            let refused = ask(&hosts(address, &[]), &["evil.example"]).is_err();
            assert_eq!(refused, is_local, "{address}");
        }
    }

    #[test]
    fn a_server_for_others_has_any_name_until_its_names_are_configured() {
        assert_eq!(ask(&hosts("0.0.0.0", &[]), &["models.corp.com"]), Ok(()));
        let named = hosts("0.0.0.0", &["Models.corp.com", "*.models.corp.com"]);
        for name in ["models.corp.com:80", "eu.models.corp.com", "10.0.0.7:8000"] {
            assert_eq!(ask(&named, &[name]), Ok(()), "{name}");
        }
        assert_eq!(ask(&named, &["corp.com"]), Err(ErrorCode::UnknownHost));
        assert_eq!(ask(&hosts("127.0.0.1", &["*"]), &["corp.com"]), Ok(()));
    }

    #[test]
    fn a_request_has_one_host() {
        let any = hosts("0.0.0.0", &[]);
        assert_eq!(ask(&any, &[]), Err(ErrorCode::MalformedRequest));
        assert_eq!(ask(&any, &["a", "a"]), Err(ErrorCode::MalformedRequest));
    }
}
