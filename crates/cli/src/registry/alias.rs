//! `tidegate registry alias` and `tidegate rollback`.

use anyhow::Result;
use tidegate_registry::Registry;

use super::args::{AliasCommand, Rollback};
use super::{Place, print_table, resolve, time};

pub(super) async fn run(registry: &Registry, command: AliasCommand) -> Result<()> {
    match command {
        AliasCommand::Set { alias, version } => {
            let version = resolve(registry, &version).await?;
            registry.set_alias(&alias, &version).await?;
            println!("{}@{alias} -> {}", version.model, version.name());
        }
        AliasCommand::Remove { model, alias } => {
            registry.remove_alias(&model.parse()?, &alias).await?;
            println!("{model}@{alias} is removed");
        }
        AliasCommand::List {
            model: Some(model),
            alias: Some(alias),
        } => {
            let history = registry.alias_history(&model.parse()?, &alias).await?;
            let mut rows = vec![["VERSION", "WHEN", "CAUSE", "BY"].map(str::to_owned)];
            rows.extend(history.moves.into_iter().map(|step| {
                let version = step
                    .version
                    .map_or_else(|| "-".to_owned(), |number| format!("{model}:{number}"));
                [
                    version,
                    time(step.at_ms),
                    step.cause.name().to_owned(),
                    step.actor,
                ]
            }));
            print_table(&rows);
        }
        AliasCommand::List { model, .. } => {
            let mut rows = vec![["ALIAS", "VERSION"].map(str::to_owned)];
            let aliases = registry.aliases(model.as_deref()).await?;
            rows.extend(aliases.into_iter().map(|alias| {
                [
                    format!("{}@{}", alias.model, alias.name),
                    format!("{}:{}", alias.model, alias.version),
                ]
            }));
            print_table(&rows);
        }
    }
    Ok(())
}

pub(super) async fn rollback(args: Rollback) -> Result<()> {
    let registry = Place::of(&args.location)?.open().await?;
    let (from, to) = registry.rollback(&args.model.parse()?, &args.alias).await?;
    println!(
        "{0}@{1} -> {0}:{to} (was {0}:{from})",
        args.model, args.alias
    );
    registry.close().await;
    Ok(())
}
