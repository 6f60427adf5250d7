//! `tidegate registry alias`.

use anyhow::Result;
use tidegate_registry::Registry;

use super::args::AliasCommand;
use crate::alias_followers::AliasFollowers;
use crate::output::{print_line, print_table, timestamp};
use crate::registry_access::resolve;

pub(super) async fn alias(registry: &Registry, command: AliasCommand) -> Result<()> {
    match command {
        AliasCommand::Set { first, second } => set(registry, &first, &second).await,
        AliasCommand::Remove { model, alias } => {
            registry.remove_alias(&model.parse()?, &alias).await?;
            print_line!("{model}@{alias} is removed");
            Ok(())
        }
        AliasCommand::List {
            model: Some(model),
            alias: Some(alias),
        } => print_history(registry, &model, &alias).await,
        AliasCommand::List { model, .. } => print_aliases(registry, model.as_deref()).await,
    }
}

/// Points an alias at a version. The version comes first, as a model does in the other commands of
/// aliases; `ALIAS VERSION` was the order before, and goes on working.
async fn set(registry: &Registry, first: &str, second: &str) -> Result<()> {
    let is_old_order = second.contains([':', '@'])
        || !first.contains([':', '@']) && !registry.versions(Some(second)).await?.is_empty();
    let (reference, alias) = match is_old_order {
        true => (second, first),
        false => (first, second),
    };
    let version = resolve(registry, reference).await?;
    let model = version.model.as_str();
    let aliases = registry.aliases(Some(model)).await?;
    let from = aliases.iter().find(|other| other.name == alias);
    let followers = match from {
        Some(from) => Some(AliasFollowers::before_move(registry, model, from.version).await?),
        None => None,
    };
    registry.set_alias(alias, &version).await?;
    let was = match from {
        Some(from) if from.version != version.number => {
            format!(" (was {model}:{})", from.version)
        }
        Some(_) => " (as before)".to_owned(),
        // A misspelt alias is a new one, which nobody asks for.
        None => " (new alias)".to_owned(),
    };
    print_line!("{model}@{alias} -> {}{was}", version.name());
    if let Some(followers) = followers {
        followers.report(registry, version.number).await;
    }
    Ok(())
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
