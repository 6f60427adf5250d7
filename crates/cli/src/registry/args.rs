//! The command line of the registry.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use crate::args::Engine;

/// Where the registry is.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct Location {
    /// The folder that the registry, its cache and its keys lie in, unless the configuration names
    /// other places
    /// [default: ~/.local/share/tidegate]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,
    /// The configuration file, whose [registry] section counts
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Push {
    /// What to push: an .onnx file, a bundle, an MLflow model, or a Triton model or repository
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// The model's name [default: what the bundle says, or the name of the file or folder]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// An alias that is to point at the version
    #[arg(long)]
    pub(crate) alias: Option<String>,
    /// The commit of the code that trained it
    #[arg(long, value_name = "ID")]
    pub(crate) commit: Option<String>,
    /// The training run, as an id or a URL
    #[arg(long, value_name = "RUN")]
    pub(crate) training_run: Option<String>,
    /// What it was trained on, with its version if it has one
    #[arg(long, value_name = "NAME[@VERSION]")]
    pub(crate) dataset: Option<String>,
    /// A word of your own; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) tag: Vec<String>,
    /// Push without running the bundle's checks
    #[arg(long)]
    pub(crate) no_check: bool,
    /// The engine that the checks run on
    #[arg(long)]
    pub(crate) engine: Option<Engine>,
    #[command(flatten)]
    pub(crate) location: Location,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    /// What to check: an .onnx file, a bundle, an MLflow model, or a Triton model or repository
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// Also write the outcome as JUnit XML, for a continuous build
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// The engine to check on
    #[arg(long)]
    pub(crate) engine: Option<Engine>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Rollback {
    /// The model
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// The alias to take back
    #[arg(long, default_value = "champion")]
    pub(crate) alias: String,
    #[command(flatten)]
    pub(crate) location: Location,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Keys {
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
    #[command(flatten)]
    pub(crate) location: Location,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key that signs versions and trust it; an earlier one stays trusted
    Generate {
        /// Make a key for encryption at rest in this file instead
        #[arg(long, value_name = "FILE")]
        encryption: Option<PathBuf>,
    },
    /// List the keys that are trusted or revoked here
    List,
    /// Trust the public key of a PEM file
    Trust {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Accept nothing any more that a key signed
    Revoke {
        /// The key's id, as `keys list` shows it
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Sign a version with the key of this machine, in addition to the signatures that it has
    Sign {
        /// The version, such as fraud:7 or fraud@champion
        #[arg(value_name = "VERSION")]
        version: String,
    },
    /// Wrap the data keys of encrypted contents with the configured key
    Rewrap,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// List models, or the versions of one
    List(List),
    /// Show everything that is known of a version
    Show(One),
    /// Show what differs between two versions
    Diff(Diff),
    /// Show what happened, the oldest first
    Events(Events),
    /// Movable names of versions
    Alias {
        #[command(subcommand)]
        command: AliasCommand,
    },
    /// Put a version into the local cache, verified, and print its folder
    Fetch(One),
    /// Ask everybody to stop using a version
    Deprecate(Deprecate),
    /// Delete a version that nobody uses
    Delete(One),
    /// Read everything again and name what was changed
    Verify,
    /// Remove contents that no version has any more
    Gc(Gc),
    /// Write versions with all that belongs to them into a file
    Export(Export),
    /// Add the versions of an exported file
    Import(Import),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct List {
    /// The model whose versions to list
    #[arg(value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct One {
    /// The version, such as fraud:7 or fraud@champion
    #[arg(value_name = "VERSION")]
    pub(crate) version: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Diff {
    /// The first version
    #[arg(value_name = "FROM")]
    pub(crate) from: String,
    /// The second version
    #[arg(value_name = "TO")]
    pub(crate) to: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Events {
    /// Only what came after this change
    #[arg(long, default_value_t = 0, value_name = "CHANGE")]
    pub(crate) since: i64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AliasCommand {
    /// Point an alias at a version
    Set {
        /// The alias, such as champion
        #[arg(value_name = "ALIAS")]
        alias: String,
        /// The version, such as fraud:7
        #[arg(value_name = "VERSION")]
        version: String,
    },
    /// List aliases; with a model and an alias, everywhere that it pointed
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

#[derive(Debug, ClapArgs)]
pub(crate) struct Deprecate {
    /// The version, such as fraud:7
    #[arg(value_name = "VERSION")]
    pub(crate) version: String,
    /// Why; it is shown to whoever looks at the version
    #[arg(long, required_unless_present = "undo")]
    pub(crate) reason: Option<String>,
    /// Take it back
    #[arg(long, conflicts_with = "reason")]
    pub(crate) undo: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Gc {
    /// Only what has been garbage for so many hours
    #[arg(long, default_value_t = 24.0, value_name = "HOURS")]
    pub(crate) grace: f64,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Export {
    /// The versions, such as fraud:7
    #[arg(value_name = "VERSION", required = true)]
    pub(crate) versions: Vec<String>,
    /// The file to write, such as fraud.tar.zst
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Import {
    /// The exported file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Give versions whose number is taken the next free one; they lose the signatures that they
    /// bring along
    #[arg(long)]
    pub(crate) renumber: bool,
    /// Also move the aliases
    #[arg(long)]
    pub(crate) aliases: bool,
    /// Most bytes that may be unpacked
    #[arg(long, default_value_t = 100 << 30, value_name = "BYTES")]
    pub(crate) max_bytes: u64,
}
