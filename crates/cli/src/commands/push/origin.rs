//! The data set that a version was trained on, and the trigger that asked for it.

use anyhow::{Result, bail};
use tidegate_core::Lineage;
use tidegate_datasets::DatasetReference;
use tidegate_registry::Registry;

/// The digest of a data set of the registry. Data sets from elsewhere have none: any name may be given.
pub(super) async fn dataset_digest(
    registry: &Registry,
    dataset: Option<&str>,
) -> Result<Option<String>> {
    let Some(Ok(reference)) = dataset.map(str::parse::<DatasetReference>) else {
        return Ok(None);
    };
    let known = registry.dataset(&reference.name, reference.version).await?;
    Ok(known.map(|known| known.digest))
}

/// Refuses a trigger that does not exist: a mistyped one would stay open.
pub(super) async fn check_trigger(registry: &Registry, trigger: Option<&str>) -> Result<()> {
    let Some(id) = trigger else {
        return Ok(());
    };
    match registry.trigger(id).await? {
        Some(_) => Ok(()),
        None => bail!("there is no retraining trigger {id}: `tidegate retrain list` shows them"),
    }
}

/// Refuses a bundle that names another digest for a data set than the registry does.
pub(super) async fn check(registry: &Registry, lineage: &Lineage) -> Result<()> {
    let reference = format!("{}@{}", lineage.dataset, lineage.dataset_version);
    let known = dataset_digest(registry, Some(&reference)).await?;
    match known {
        Some(known) if !lineage.dataset_digest.is_empty() && known != lineage.dataset_digest => {
            bail!(
                "the data set {reference} has the digest {known}, but the bundle says {}",
                lineage.dataset_digest
            )
        }
        _ => Ok(()),
    }
}
