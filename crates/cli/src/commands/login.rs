//! `tidegate login` and `tidegate logout`.

mod hidden;

use std::io::{IsTerminal, Read, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Deserialize;

use self::hidden::read_hidden_line;
use crate::client::{self, Access};
use crate::contexts::{Context, Contexts, is_readable_on_the_way};
use crate::options::{DEFAULT_URL, TlsOptions, server_url};
use crate::output::{eprint_line, print_line};

/// Longest text that is read from standard input, in bytes.
const MAX_TOKEN_BYTES: u64 = 64 << 10;

/// Keep an API key for a server, so that commands send it
///
/// Reads the key from the terminal or from standard input, asks the server whose it is, and keeps it
/// with the address of the server as a context. Commands then ask the server of the current context.
/// The option --url and the environment variable TIDEGATE_TOKEN have precedence over it.
#[derive(Debug, Args)]
pub(super) struct Login {
    /// The address of the server; http:// is optional
    #[arg(
        long,
        visible_alias = "server",
        value_name = "URL",
        value_parser = server_url,
        default_value = DEFAULT_URL
    )]
    url: String,
    /// The name of the context [default: HOST:PORT of the server]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Send the key unencrypted to a server that is not on this machine: others on the way can read it
    #[arg(long)]
    insecure_http: bool,
    #[command(flatten)]
    tls: TlsOptions,
}

/// Forget the key of a server; it stays valid until it is revoked
#[derive(Debug, Args)]
pub(super) struct Logout {
    /// The context [default: the current one]
    #[arg(value_name = "NAME")]
    context: Option<String>,
}

/// The response of `/api/whoami`.
#[derive(Deserialize)]
struct WhoAmI {
    principal: String,
}

impl Login {
    pub(super) fn run(self) -> Result<ExitCode> {
        self.tls.apply();
        if is_readable_on_the_way(&self.url) && !self.insecure_http {
            bail!(
                "{} is plain HTTP to another machine: others on the way could read the key. Use \
                 https://, or --insecure-http if the network is safe",
                self.url
            );
        }
        // Before a key is asked for: a file that cannot be used is to be reported first.
        Contexts::read()?;
        let ca_file = self.ca_file()?;
        let token = read_token()?;
        if token.is_empty() {
            bail!("there is no API key on standard input");
        }
        let principal = principal(&self.url, &token)?;
        let name = self.context.unwrap_or_else(|| default_name(&self.url));
        print_line!("{} knows you as {principal} (context {name})", self.url);
        if client::environment_token().is_some() {
            eprint_line!("TIDEGATE_TOKEN is set: commands use it, and no context");
        }
        let context = Context {
            url: self.url,
            token,
            ca_file,
            insecure_http: self.insecure_http,
        };
        Contexts::change(|contexts| {
            contexts.named.insert(name.clone(), context);
            contexts.current = Some(name);
            Ok(ExitCode::SUCCESS)
        })
    }

    fn ca_file(&self) -> Result<Option<PathBuf>> {
        match &self.tls.ca_file {
            // Later commands may run in another folder.
            Some(path) => Ok(Some(std::path::absolute(path)?)),
            None => Ok(None),
        }
    }
}

impl Logout {
    pub(super) fn run(self) -> Result<ExitCode> {
        let name = Contexts::change(|contexts| {
            let name = self.context.or_else(|| contexts.current.clone());
            let name = name.context("there is no current context")?;
            if contexts.named.remove(&name).is_none() {
                bail!(no_context(&name));
            }
            contexts.current.take_if(|current| *current == name);
            Ok(name)
        })?;
        print_line!(
            "the key of the context {name} is forgotten; it stays valid until it is revoked"
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// What is said of a name that no context has.
pub(super) fn no_context(name: &str) -> String {
    format!("there is no context {name:?}: `tidegate context list` lists them")
}

fn default_name(url: &str) -> String {
    let (_, address) = url.split_once("://").unwrap_or(("", url));
    address.trim_end_matches('/').to_owned()
}

/// Whose the token is, as the server says.
fn principal(url: &str, token: &str) -> Result<String> {
    let access = Access::with(token.to_owned());
    let text = client::get_as(&access, url, "/api/whoami")?;
    let who: WhoAmI =
        serde_json::from_str(&text).context("the response does not say who you are")?;
    if who.principal == "anonymous" {
        bail!("{url} asks nobody for a key: authentication is off");
    }
    Ok(who.principal)
}

fn read_token() -> Result<String> {
    if stdin().is_terminal() {
        return read_hidden_line("API key: ");
    }
    let mut text = String::new();
    stdin().take(MAX_TOKEN_BYTES).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}
