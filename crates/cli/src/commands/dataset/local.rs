//! Data sets of a folder of this machine.

use std::io::Read;

use anyhow::Result;
use tidegate_capture::CaptureFolder;
use tidegate_datasets::{DatasetQuery, DatasetRecord, DatasetReference, Datasets, DatasetsContext};
use tidegate_store::Store;
use tokio::runtime::Runtime;

use crate::environment::actor;
use crate::logging;
use crate::registry_access::RegistryAccess;

/// The data sets, and the database with their records.
pub(super) struct LocalDatasets {
    datasets: Datasets,
    runtime: Runtime,
}

impl LocalDatasets {
    pub(super) fn open(access: RegistryAccess) -> Result<Self> {
        logging::start_with_warnings()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let context = runtime.block_on(context(access))?;
        Ok(Self {
            datasets: Datasets::new(context),
            runtime,
        })
    }

    pub(super) fn create(&self, query: DatasetQuery) -> Result<(DatasetRecord, bool)> {
        let name = query.endpoint.clone();
        let actor = actor();
        let creating = self.datasets.create(&name, query, &actor, true);
        Ok(self.runtime.block_on(creating)?)
    }

    pub(super) fn list(&self) -> Result<Vec<DatasetRecord>> {
        Ok(self.runtime.block_on(self.datasets.list(None))?)
    }

    pub(super) fn show(&self, reference: &DatasetReference) -> Result<DatasetRecord> {
        Ok(self.runtime.block_on(self.datasets.show(reference))?)
    }

    pub(super) fn read(&self, record: &DatasetRecord) -> Result<Box<dyn Read>> {
        Ok(Box::new(self.datasets.open(record)?))
    }

    pub(super) fn delete(&self, reference: &DatasetReference) -> Result<()> {
        let actor = actor();
        let deleting = self.datasets.delete(reference, &actor, true);
        self.runtime.block_on(deleting)?;
        Ok(())
    }
}

async fn context(access: RegistryAccess) -> Result<DatasetsContext> {
    let data = access.data();
    let capture = &access.config.capture;
    let database = access.config.registry.database(data);
    let captures = capture.folder.clone();
    let store = Store::open(&database).await?;
    let labels = match &capture.database {
        Some(other) if *other != database => Store::open(other).await?,
        _ => store.clone(),
    };
    Ok(DatasetsContext {
        folder: DatasetsContext::folder_in(data),
        captures: CaptureFolder::new(captures.unwrap_or_else(|| data.join("captures"))),
        labels,
        store,
        privacy: access.config.privacy.clone(),
        max_disk_bytes: access.config.datasets.max_disk_bytes,
    })
}
