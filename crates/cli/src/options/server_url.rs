//! The server that a command asks.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::client;
use crate::contexts::Contexts;
use crate::output::shell_word;

/// The server of commands that are told of no other.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8000";

#[derive(Clone, Debug, Args)]
pub(crate) struct ServerUrl {
    /// The address of the server; http:// is optional [default: that of the current context, or
    /// http://127.0.0.1:8000]
    // Global, so that it may stand before or after the name of a subcommand.
    #[arg(
        long,
        global = true,
        visible_alias = "server",
        value_name = "URL",
        value_parser = server_url
    )]
    url: Option<String>,
    #[command(flatten)]
    tls: TlsOptions,
}

/// How the server is verified, and what it is shown.
#[derive(Clone, Debug, Args)]
pub(crate) struct TlsOptions {
    /// PEM file with the authorities that signed the server's certificate [env: TIDEGATE_CA_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// PEM file with a client certificate and its key [env: TIDEGATE_CLIENT_CERT_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    client_cert_file: Option<PathBuf>,
}

impl ServerUrl {
    /// The options about TLS, as they were given, for another command.
    pub(crate) fn tls_flags(&self) -> String {
        let files = [
            ("--ca-file", &self.tls.ca_file),
            ("--client-cert-file", &self.tls.client_cert_file),
        ];
        let mut flags = String::new();
        for (name, file) in files {
            if let Some(file) = file {
                let file = shell_word(&file.display().to_string());
                flags.push_str(&format!(" {name} {file}"));
            }
        }
        flags
    }

    /// The URL. From now on its server is verified as the options say.
    ///
    /// # Errors
    /// If the contexts cannot be read.
    pub(crate) fn url(&self) -> Result<String> {
        self.tls.apply();
        match &self.url {
            Some(url) => Ok(url.clone()),
            None => current_url(),
        }
    }
}

/// The server of the current context. The token of the environment may not be for it, and so goes to
/// the server of this machine.
fn current_url() -> Result<String> {
    let contexts = match client::environment_token() {
        Some(_) => Contexts::default(),
        None => Contexts::read()?,
    };
    let current = contexts.current();
    Ok(current
        .map_or(DEFAULT_URL, |context| &context.url)
        .to_owned())
}

impl TlsOptions {
    /// From now on servers are verified as the options say.
    pub(crate) fn apply(&self) {
        client::set_files(self.ca_file.as_deref(), self.client_cert_file.as_deref());
    }
}

/// The URL of a server from its address.
pub(crate) fn server_url(text: &str) -> std::result::Result<String, String> {
    let (scheme, address) = match text.split_once("://") {
        Some((scheme @ ("http" | "https"), address)) => (scheme, address),
        Some(_) => return Err("the URL must begin with http:// or https://".to_owned()),
        None => ("http", text),
    };
    let host = address.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') {
        return Err("write HOST:PORT, such as http://127.0.0.1:8000".to_owned());
    }
    Ok(format!("{scheme}://{address}"))
}

/// The same for what speaks no TLS.
pub(crate) fn plain_server_url(text: &str) -> std::result::Result<String, String> {
    let url = server_url(text)?;
    if url.starts_with("https://") {
        return Err(
            "`tidegate load` speaks no TLS yet: the URL must begin with http://".to_owned(),
        );
    }
    Ok(url)
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
        assert_eq!(server_url("https://a:1").unwrap(), "https://a:1");
        assert!(server_url("ftp://a").unwrap_err().contains("http://"));
        for wrong in ["http://", "http:///v2", "https://", "", ":8000"] {
            let error = server_url(wrong).unwrap_err();
            assert!(error.contains("HOST:PORT"), "{wrong}");
        }
    }

    #[test]
    fn the_load_generator_says_that_it_speaks_no_tls() {
        let error = plain_server_url("https://a").unwrap_err();
        assert!(error.contains("no TLS yet"), "{error}");
        assert_eq!(plain_server_url("a:1").unwrap(), "http://a:1");
    }
}
