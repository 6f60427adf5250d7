//! `tidegate keys`.

use anyhow::Result;
use tidegate_registry::{SigningKeys, generate_key};

use super::args::{Keys, KeysCommand};
use super::{Place, print_table, resolve};

pub(super) async fn run(args: Keys) -> Result<()> {
    let place = Place::of(&args.location)?;
    let folder = place.keys();
    match args.command {
        KeysCommand::Generate {
            encryption: Some(file),
        } => {
            generate_key(&file)?;
            println!("{}", file.display());
            eprintln!(
                "whoever has this file reads the contents; without it nobody does: keep a copy elsewhere"
            );
        }
        KeysCommand::Generate { encryption: None } => {
            println!("{}", SigningKeys::generate(&folder)?);
            eprintln!(
                "signs here from {0}/signing.pem; its public half is in {0}/trusted",
                folder.display()
            );
        }
        KeysCommand::List => {
            let mut rows = vec![["KEY", "STATE", "SIGNS"].map(str::to_owned)];
            rows.extend(SigningKeys::open(&folder)?.list().into_iter().map(|key| {
                let state = if key.revoked { "revoked" } else { "trusted" };
                [
                    key.id.to_string(),
                    state.to_owned(),
                    if key.signs { "here" } else { "" }.to_owned(),
                ]
            }));
            print_table(&rows);
        }
        KeysCommand::Trust { file } => {
            println!("{} is trusted", SigningKeys::trust(&folder, &file)?)
        }
        KeysCommand::Revoke { id } => {
            SigningKeys::revoke(&folder, &id.parse()?)?;
            println!("{id} is revoked");
        }
        KeysCommand::Sign { version } => {
            let registry = place.open().await?;
            let version = resolve(&registry, &version).await?;
            println!(
                "{} {} signed by key {}",
                version.name(),
                version.digest,
                registry.sign(&version).await?
            );
            registry.close().await;
        }
        KeysCommand::Rewrap => {
            let registry = place.open().await?;
            println!("{} data keys wrapped anew", registry.rewrap_keys().await?);
            registry.close().await;
        }
    }
    Ok(())
}
