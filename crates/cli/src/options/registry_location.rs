//! Where the registry is.

use std::path::PathBuf;

use clap::Args;

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RegistryLocation {
    /// The folder of the registry, its cache and its keys, unless the configuration names other
    /// places [default: ~/.local/share/tidegate]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,
    /// The configuration file; its [registry] section is used
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
}
