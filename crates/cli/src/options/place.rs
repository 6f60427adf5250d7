//! Where a command works that can ask a server or use the database itself.

use anyhow::Result;
use clap::Args;

use super::{RegistryLocation, TlsOptions, server_url};
use crate::client;
use crate::contexts::Contexts;
use crate::output::eprint_line;
use crate::registry_access::RegistryAccess;

/// A server, or else the database.
#[derive(Debug, Args)]
pub(crate) struct Place {
    #[command(flatten)]
    location: RegistryLocation,
    /// Ask the server at this address, rather than use the database [default: the server of the
    /// current context, unless a folder or a configuration is named]
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

/// What is used.
pub(crate) enum ChosenPlace {
    /// The server at this address.
    Server(String),
    /// The database.
    Database(Box<RegistryAccess>),
}

impl Place {
    /// Chooses, and says on standard error what is used: a change at the wrong place looks like none.
    pub(crate) fn choose(
        &self,
        database: impl FnOnce(&RegistryAccess) -> String,
    ) -> Result<ChosenPlace> {
        self.tls.apply();
        if let Some(url) = &self.url {
            eprint_line!("using the server {url}");
            return Ok(ChosenPlace::Server(url.clone()));
        }
        let access = RegistryAccess::new(&self.location)?;
        if !self.names_a_folder(&access)
            && let Some((name, url)) = current_server()?
        {
            eprint_line!("using the server {url} (context {name}; --data names a folder instead)");
            return Ok(ChosenPlace::Server(url));
        }
        eprint_line!("using the database {}", shown(&database(&access)));
        Ok(ChosenPlace::Database(Box::new(access)))
    }

    /// Whether options, the environment or a configuration say where the database is.
    fn names_a_folder(&self, access: &RegistryAccess) -> bool {
        let config = &access.config;
        self.location.data.is_some()
            || self.location.config.is_some()
            || config.data.is_some()
            || config.registry.database.is_some()
            || config.auth.database.is_some()
            || config.audit.database.is_some()
    }
}

/// The current context and its server. The token of the environment may not be for it.
fn current_server() -> Result<Option<(String, String)>> {
    if client::environment_token().is_some() {
        return Ok(None);
    }
    let contexts = Contexts::read()?;
    let named = contexts.current.as_ref().zip(contexts.current());
    Ok(named.map(|(name, context)| (name.clone(), context.url.clone())))
}

/// A URL may have a password.
fn shown(database: &str) -> String {
    match database.contains("://") {
        true => tidegate_store::without_password(database),
        false => database.to_owned(),
    }
}
