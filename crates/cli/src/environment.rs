//! What the process learns from its environment: who runs it, and where that user keeps data.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The data folder of the user, by the XDG base directory specification.
pub(crate) fn default_data_folder() -> Result<PathBuf> {
    let folder = user_folder("XDG_DATA_HOME", ".local/share");
    folder.context("neither XDG_DATA_HOME nor HOME is set: name a folder with --data")
}

/// The configuration folder of the user, by the same specification; `None` for a user without a home.
pub(crate) fn configuration_folder() -> Option<PathBuf> {
    user_folder("XDG_CONFIG_HOME", ".config")
}

fn user_folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    // The specification says that a relative path is ignored.
    let xdg = std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = match xdg {
        Some(base) => base,
        None => Path::new(&std::env::var_os("HOME")?).join(below_home),
    };
    Some(base.join("tidegate"))
}

/// `USER@HOST`, for logs of events.
pub(crate) fn actor() -> String {
    // Services and containers often have only one of them, or none.
    let user = ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok())
        .unwrap_or_else(|| "unknown".to_owned());
    format!("{user}@{}", host_name())
}

/// The name of this process among the servers of a group: no other process has it.
pub(crate) fn server_name() -> String {
    format!("{}:{}", actor(), std::process::id())
}

fn host_name() -> String {
    // The variable HOSTNAME is set by some shells, and not for services.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}
