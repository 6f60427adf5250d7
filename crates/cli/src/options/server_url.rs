//! The server that a command asks.

use clap::Args;

#[derive(Clone, Debug, Args)]
pub(crate) struct ServerUrl {
    /// The address of the server; http:// is optional
    // Global, so that it may stand before or after the name of a subcommand.
    #[arg(
        long,
        global = true,
        visible_alias = "server",
        value_name = "URL",
        value_parser = server_url,
        default_value = "http://127.0.0.1:8000"
    )]
    pub(crate) url: String,
}

/// The URL of a server from its address. TLS is not compiled in.
pub(crate) fn server_url(text: &str) -> Result<String, String> {
    let address = match text.split_once("://") {
        Some(("http", address)) => address,
        Some(_) => return Err("the URL must begin with http://".to_owned()),
        None => text,
    };
    let host = address.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') {
        return Err("write HOST:PORT, such as http://127.0.0.1:8000".to_owned());
    }
    Ok(format!("http://{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_its_address() {
        for right in ["http://localhost:8000", "localhost:8000"] {
            assert_eq!(server_url(right).unwrap(), "http://localhost:8000");
        }
        assert_eq!(server_url("[::1]:8000/a").unwrap(), "http://[::1]:8000/a");
        assert!(server_url("https://a").unwrap_err().contains("http://"));
        for wrong in ["http://", "http:///v2", "", ":8000"] {
            let error = server_url(wrong).unwrap_err();
            assert!(error.contains("HOST:PORT"), "{wrong}");
        }
    }
}
