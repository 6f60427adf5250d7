//! The command line of `tidegate registry`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::options::RegistryLocation;

/// Inspect and maintain the registry
#[derive(Debug, Args)]
pub(crate) struct Registry {
    #[command(subcommand)]
    pub(super) command: RegistryCommand,
    #[command(flatten)]
    pub(super) location: RegistryLocation,
}

#[derive(Debug, Subcommand)]
pub(super) enum RegistryCommand {
    /// List models, or the versions of one
    List(List),
    /// Show the details of a version
    Show(VersionArg),
    /// Compare two versions
    Diff(Diff),
    /// List the changes of the registry, oldest first
    Events(Events),
    /// Set, list and remove aliases
    Alias {
        #[command(subcommand)]
        command: AliasCommand,
    },
    /// Download a version to the local cache, verify it, and print its folder
    Fetch(VersionArg),
    /// Mark a version as deprecated
    Deprecate(Deprecate),
    /// Delete a version that has no alias and is not served
    Delete(VersionArg),
    /// Read all files again and report damaged ones
    Verify,
    /// Remove files that no version uses
    Gc(Gc),
    /// Write versions, with all their files, to an archive
    Export(Export),
    /// Add the versions of an exported archive
    Import(Import),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// List the versions of this model
    #[arg(value_name = "MODEL")]
    pub(super) model: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct VersionArg {
    /// The version, such as fraud:7 or fraud@champion
    #[arg(value_name = "VERSION")]
    pub(super) version: String,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The first version
    #[arg(value_name = "FROM")]
    pub(super) from: String,
    /// The second version
    #[arg(value_name = "TO")]
    pub(super) to: String,
}

#[derive(Debug, Args)]
pub(super) struct Events {
    /// Only changes after this number
    #[arg(long, default_value_t = 0, value_name = "CHANGE")]
    pub(super) since: i64,
}

#[derive(Debug, Subcommand)]
pub(super) enum AliasCommand {
    /// Point an alias at a version
    Set {
        /// The version, such as fraud:7; the alias may come first
        #[arg(value_name = "VERSION")]
        first: String,
        /// The alias, such as champion
        #[arg(value_name = "ALIAS")]
        second: String,
    },
    /// List aliases; with a model and an alias, the versions that it pointed to
    List {
        /// The model
        #[arg(value_name = "MODEL")]
        model: Option<String>,
        /// The alias
        #[arg(value_name = "ALIAS", requires = "model")]
        alias: Option<String>,
    },
    /// Remove an alias
    Remove {
        /// The model
        #[arg(value_name = "MODEL")]
        model: String,
        /// The alias
        #[arg(value_name = "ALIAS")]
        alias: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Deprecate {
    /// The version, such as fraud:7
    #[arg(value_name = "VERSION")]
    pub(super) version: String,
    /// The reason; `registry show` and `registry fetch` print it
    #[arg(long, required_unless_present = "undo")]
    pub(super) reason: Option<String>,
    /// Remove the mark
    #[arg(long, conflicts_with = "reason")]
    pub(super) undo: bool,
}

#[derive(Debug, Args)]
pub(super) struct Gc {
    /// Only files that have been unused for this many hours
    #[arg(long, default_value_t = 24.0, value_name = "HOURS")]
    pub(super) grace: f64,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The versions, such as fraud:7
    #[arg(value_name = "VERSION", required = true)]
    pub(super) versions: Vec<String>,
    /// The file to write, such as fraud.tar.zst
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The archive
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Give a version the next free number if its own is taken; it loses its signatures
    #[arg(long)]
    pub(super) renumber: bool,
    /// Also set the aliases of the archive
    #[arg(long)]
    pub(super) aliases: bool,
    /// The limit for the size of the unpacked archive
    #[arg(long, default_value_t = 100 << 30, value_name = "BYTES")]
    pub(super) max_bytes: u64,
}
