//! `tidegate registry alias`.

use anyhow::Result;
use tidegate_registry::Registry;

use super::args::AliasCommand;
use crate::output::{print_table, timestamp};
use crate::registry_access::resolve;

pub(super) async fn alias(registry: &Registry, command: AliasCommand) -> Result<()> {
    match command {
        AliasCommand::Set { alias, version } => {
            let version = resolve(registry, &version).await?;
            registry.set_alias(&alias, &version).await?;
            println!("{}@{alias} -> {}", version.model, version.name());
            Ok(())
        }
        AliasCommand::Remove { model, alias } => {
            registry.remove_alias(&model.parse()?, &alias).await?;
            println!("{model}@{alias} is removed");
            Ok(())
        }
        AliasCommand::List {
            model: Some(model),
            alias: Some(alias),
        } => print_history(registry, &model, &alias).await,
        AliasCommand::List { model, .. } => print_aliases(registry, model.as_deref()).await,
    }
}

async fn print_history(registry: &Registry, model: &str, alias: &str) -> Result<()> {
    let history = registry.alias_history(&model.parse()?, alias).await?;
    let mut rows = vec![["VERSION", "WHEN", "CAUSE", "BY"].map(str::to_owned)];
    for step in history.moves {
        let version = match step.version {
            Some(number) => format!("{model}:{number}"),
            None => "-".to_owned(),
        };
        let cause = step.cause.name().to_owned();
        rows.push([version, timestamp(step.at_ms), cause, step.actor]);
    }
    print_table(&rows);
    Ok(())
}

async fn print_aliases(registry: &Registry, model: Option<&str>) -> Result<()> {
    let mut rows = vec![["ALIAS", "VERSION"].map(str::to_owned)];
    for alias in registry.aliases(model).await? {
        rows.push([
            format!("{}@{}", alias.model, alias.name),
            format!("{}:{}", alias.model, alias.version),
        ]);
    }
    print_table(&rows);
    Ok(())
}
