//! `tidegate keys`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use tidegate_registry::{SigningKeys, generate_key};

use crate::options::RegistryLocation;
use crate::output::{counted, eprint_line, print_line, print_table};
use crate::registry_access::{RegistryAccess, block_on, resolve};

/// Manage the keys that sign and encrypt versions
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: KeysCommand,
    #[command(flatten)]
    location: RegistryLocation,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Create a key that signs versions, and trust it; earlier keys stay trusted
    Generate {
        /// Create a key for encryption at rest in this file instead
        #[arg(long, value_name = "FILE")]
        encryption: Option<PathBuf>,
    },
    /// List trusted and revoked keys
    List,
    /// Trust a public key
    Trust {
        /// The PEM file of the key
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Revoke a key: its signatures are no longer accepted
    Revoke {
        /// The key's id, as `keys list` shows it
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Sign a version with the key of this machine; it keeps its other signatures
    Sign {
        /// The version, such as fraud:7 or fraud@champion
        #[arg(value_name = "VERSION")]
        version: String,
    },
    /// Re-encrypt all data keys with the configured key
    Rewrap,
}

impl Keys {
    pub(super) fn run(self) -> Result<ExitCode> {
        block_on(run(self)).map(|()| ExitCode::SUCCESS)
    }
}

async fn run(args: Keys) -> Result<()> {
    let access = RegistryAccess::new(&args.location)?;
    let folder = access.keys_folder();
    match args.command {
        KeysCommand::Generate {
            encryption: Some(file),
        } => generate_encryption_key(&file),
        KeysCommand::Generate { encryption: None } => generate_signing_key(&folder),
        KeysCommand::List => list(&folder),
        KeysCommand::Trust { file } => {
            print_line!("{} is trusted", SigningKeys::trust(&folder, &file)?);
            Ok(())
        }
        KeysCommand::Revoke { id } => {
            SigningKeys::revoke(&folder, &id.parse()?)?;
            print_line!("{id} is revoked");
            Ok(())
        }
        KeysCommand::Sign { version } => sign(&access, &version).await,
        KeysCommand::Rewrap => rewrap(&access).await,
    }
}

fn generate_encryption_key(file: &Path) -> Result<()> {
    generate_key(file)?;
    // The path alone on standard output, for scripts; what a person must know on standard error.
    print_line!("{}", file.display());
    eprint_line!(
        "this file is needed to decrypt the registry: protect it, and keep a copy in another place"
    );
    Ok(())
}

fn generate_signing_key(folder: &Path) -> Result<()> {
    print_line!("{}", SigningKeys::generate(folder)?);
    eprint_line!(
        "the private key is {0}/signing.pem, the public key is in {0}/trusted",
        folder.display()
    );
    Ok(())
}

fn list(folder: &Path) -> Result<()> {
    let mut rows = vec![["KEY", "STATE", "SIGNS"].map(str::to_owned)];
    for key in SigningKeys::open(folder)?.list() {
        let state = if key.revoked { "revoked" } else { "trusted" };
        let signs = if key.signs { "here" } else { "" };
        rows.push([key.id.to_string(), state.to_owned(), signs.to_owned()]);
    }
    print_table(&rows);
    Ok(())
}

async fn sign(access: &RegistryAccess, version: &str) -> Result<()> {
    let registry = access.open().await?;
    let version = resolve(&registry, version).await?;
    let key = registry.sign(&version).await?;
    print_line!("{} {} signed by key {key}", version.name(), version.digest);
    registry.close().await;
    Ok(())
}

async fn rewrap(access: &RegistryAccess) -> Result<()> {
    let registry = access.open().await?;
    let count = registry.rewrap_keys().await?;
    print_line!("{} re-encrypted", counted(count as u64, "data key"));
    registry.close().await;
    Ok(())
}
