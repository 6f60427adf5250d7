//! An address to listen on, as an operator writes it.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Deserializer, de};

/// Reads `IP:PORT` or `localhost:PORT`.
///
/// ```
/// use tidegate_server::listen_address;
///
/// assert_eq!(listen_address("localhost:8000"), listen_address("127.0.0.1:8000"));
/// assert!(listen_address("8000").is_err());
/// ```
///
/// # Errors
/// If it is neither; the message says how to write it.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let local_port = text.strip_prefix("localhost:").map(str::parse);
    if let Some(Ok(port)) = local_port {
        // No other name is resolved: it may have several addresses, and one would be picked.
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse()
        .map_err(|_| format!("{text:?} is not an address: write IP:PORT, such as 127.0.0.1:8000"))
}

/// The same for a key of the configuration.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    listen_address(&String::deserialize(from)?).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_or_localhost_with_a_port() {
        let local = SocketAddr::from(([127, 0, 0, 1], 8000));
        assert_eq!(listen_address("127.0.0.1:8000"), Ok(local));
        assert_eq!(listen_address("localhost:8000"), Ok(local));
        assert!(listen_address("[::1]:0").is_ok());
        for wrong in ["8000", "localhost", "localhost:x", "example.com:80", ""] {
            assert!(
                listen_address(wrong).unwrap_err().contains("IP:PORT"),
                "{wrong}"
            );
        }
    }
}
