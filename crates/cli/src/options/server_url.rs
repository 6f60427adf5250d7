//! The server that a command asks.

use clap::Args;

#[derive(Clone, Debug, Args)]
pub(crate) struct ServerUrl {
    /// The address of the server
    // Global, so that it may stand before or after the name of a subcommand.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        value_parser = server_url,
        default_value = "http://127.0.0.1:8000"
    )]
    pub(crate) url: String,
}

/// Checks the address of a server. TLS is not compiled in.
pub(crate) fn server_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").unwrap_or_default();
    if host.is_empty() || host.starts_with('/') {
        return Err("the URL must begin with http://, such as http://127.0.0.1:8000".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_an_http_url() {
        assert!(server_url("http://localhost:8000").is_ok());
        for wrong in ["localhost:8000", "https://a", "http://", "http:///v2", ""] {
            let error = server_url(wrong).unwrap_err();
            assert!(error.contains("must begin with http://"), "{wrong}");
        }
    }
}
