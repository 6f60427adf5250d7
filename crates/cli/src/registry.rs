//! The commands of the registry, one file each.

mod alias;
pub(crate) mod args;
mod browse;
mod check;
mod keep;
mod keys;
mod push;
mod show;
mod source;
mod transfer;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use tidegate_registry::{Registry, VersionRecord};

use crate::args::Serve;
use crate::config::{self, Config, LogConfig};
use crate::serve::log_to_stderr;
use args::{Check, Keys, Location, Push, RegistryCommand, Rollback};

/// Where the registry is, as flags, environment and file say.
struct Place {
    config: Config,
    data: PathBuf,
}

impl Place {
    fn of(location: &Location) -> Result<Self> {
        let flags = Serve {
            data: location.data.clone(),
            config: location.config.clone(),
            ..Serve::default()
        };
        let config = config::load(&flags, std::env::vars())?;
        let data = config.data.clone().map_or_else(default_data, Ok)?;
        Ok(Self { config, data })
    }

    async fn open(&self) -> Result<Registry> {
        Ok(Registry::open(&self.config.registry, &self.data, &actor()).await?)
    }

    fn keys(&self) -> PathBuf {
        self.config.registry.keys(&self.data)
    }
}

/// `tidegate push`.
pub(crate) fn push(args: Push) -> Result<ExitCode> {
    in_runtime(push::run(args)).map(|()| ExitCode::SUCCESS)
}

/// `tidegate check`.
pub(crate) fn check(args: &Check) -> Result<ExitCode> {
    check::run(args)
}

/// `tidegate rollback`.
pub(crate) fn rollback(args: Rollback) -> Result<ExitCode> {
    in_runtime(alias::rollback(args)).map(|()| ExitCode::SUCCESS)
}

/// `tidegate keys`.
pub(crate) fn keys(args: Keys) -> Result<ExitCode> {
    in_runtime(keys::run(args)).map(|()| ExitCode::SUCCESS)
}

/// `tidegate registry`.
pub(crate) fn registry(location: Location, command: RegistryCommand) -> Result<ExitCode> {
    in_runtime(async {
        let registry = Place::of(&location)?.open().await?;
        let outcome = match command {
            RegistryCommand::List(args) => browse::list(&registry, &args).await,
            RegistryCommand::Show(args) => show::run(&registry, &args).await,
            RegistryCommand::Diff(args) => browse::diff(&registry, &args).await,
            RegistryCommand::Events(args) => browse::events(&registry, &args).await,
            RegistryCommand::Alias { command } => alias::run(&registry, command).await,
            RegistryCommand::Fetch(args) => browse::fetch(&registry, &args).await,
            RegistryCommand::Deprecate(args) => keep::deprecate(&registry, &args).await,
            RegistryCommand::Delete(args) => keep::delete(&registry, &args).await,
            RegistryCommand::Verify => return keep::verify(&registry).await,
            RegistryCommand::Gc(args) => keep::gc(&registry, &args).await,
            RegistryCommand::Export(args) => transfer::export(&registry, &args).await,
            RegistryCommand::Import(args) => transfer::import(&registry, &args).await,
        };
        registry.close().await;
        outcome.map(|()| ExitCode::SUCCESS)
    })
}

fn in_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    log_to_stderr(&LogConfig {
        level: "warn".to_owned(),
        ..LogConfig::default()
    })?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// The version that a reference means.
async fn resolve(registry: &Registry, reference: &str) -> Result<VersionRecord> {
    Ok(registry.resolve(&reference.parse()?).await?)
}

/// The folder of a user's data, as the XDG base directory specification has it.
pub(crate) fn default_data() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base =
        base.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share")));
    Ok(base
        .context("neither XDG_DATA_HOME nor HOME is set: name a folder with --data")?
        .join("tidegate"))
}

/// Who does this, for the log of events.
pub(crate) fn actor() -> String {
    let user = ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() {
        "unknown"
    } else {
        host.trim()
    };
    format!("{}@{host}", user.as_deref().unwrap_or("unknown"))
}

/// A time as people and sorting programs read it.
pub(crate) fn time(ms: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(ms);
    time.map_or_else(
        || ms.to_string(),
        |time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

/// Prints rows with their columns aligned.
pub(crate) fn print_table(rows: &[impl AsRef<[String]>]) {
    print!("{}", aligned(rows));
}

/// Rows with their columns aligned, one a line.
pub(crate) fn aligned(rows: &[impl AsRef<[String]>]) -> String {
    let columns = rows.first().map_or(0, |row| row.as_ref().len());
    let width = |column: usize| {
        rows.iter()
            .map(|row| row.as_ref()[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row
            .as_ref()
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
