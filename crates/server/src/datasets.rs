//! Data sets of captured predictions, for those who train the next version.

mod api;
mod config;
mod metrics;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_datasets::{
    DatasetError, DatasetQuery, DatasetRecord, DatasetReference, Datasets, DatasetsContext,
};
use tidegate_redaction::PrivacyConfig;
use tidegate_serving::{ErrorCode, InferError, MetricRegistry};
use tidegate_store::Store;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tracing::{info, warn};

pub(crate) use self::api::description;
pub use self::config::DatasetsConfig;
use self::metrics::DatasetMetrics;
use crate::ServerConfig;
use crate::component::Component;
use crate::quality::Quality;
use crate::routes::Routes;

/// How often the disk is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(60);
/// A folder without a record that is younger may be one that is being made.
const ORPHAN_AGE: Duration = Duration::from_secs(3600);

/// Makes data sets of what this server has captured.
pub(crate) struct ServerDatasets {
    quality: Arc<Quality>,
    server: ServerConfig,
    place: DatasetPlace,
    opened: OnceCell<Datasets>,
    metrics: DatasetMetrics,
}

/// Where data sets are, and what is private in them.
pub(crate) struct DatasetPlace {
    /// The data folder; without one there are no data sets.
    pub(crate) data_folder: Option<PathBuf>,
    /// The database that has their records.
    pub(crate) database: String,
    pub(crate) privacy: PrivacyConfig,
    pub(crate) config: DatasetsConfig,
}

impl ServerDatasets {
    pub(crate) fn new(
        quality: Arc<Quality>,
        server: ServerConfig,
        place: DatasetPlace,
        registry: &MetricRegistry,
    ) -> Self {
        Self {
            metrics: DatasetMetrics::new(registry),
            quality,
            server,
            place,
            opened: OnceCell::new(),
        }
    }

    /// Whether there is a folder for data sets.
    pub(crate) fn has_folder(&self) -> bool {
        self.place.data_folder.is_some()
    }

    /// Makes a data set of the captured predictions of an endpoint, those of this moment included.
    pub(crate) async fn create(
        &self,
        query: DatasetQuery,
        actor: &str,
        audited: bool,
    ) -> Result<(DatasetRecord, bool), InferError> {
        let datasets = self.open().await?;
        self.quality.flush().await;
        let name = query.endpoint.clone();
        let creating = datasets.create(&name, query, actor, audited);
        let created = creating.await;
        if let Err(DatasetError::Full { .. }) = &created {
            self.metrics.refused.inc();
        }
        self.measure(datasets).await;
        created.map_err(infer_error)
    }

    async fn list(&self) -> Result<Vec<DatasetRecord>, InferError> {
        let datasets = self.open().await?;
        datasets.list(None).await.map_err(infer_error)
    }

    async fn show(&self, reference: &DatasetReference) -> Result<DatasetRecord, InferError> {
        let datasets = self.open().await?;
        datasets.show(reference).await.map_err(infer_error)
    }

    async fn delete(
        &self,
        reference: &DatasetReference,
        actor: &str,
    ) -> Result<DatasetRecord, InferError> {
        let datasets = self.open().await?;
        // The route has a row of its own in the audit log.
        let deleting = datasets.delete(reference, actor, false);
        let deleted = deleting.await.map_err(infer_error);
        self.measure(datasets).await;
        deleted
    }

    async fn measure(&self, datasets: &Datasets) {
        match datasets.disk_bytes().await {
            Ok(bytes) => self.metrics.set_disk(bytes),
            Err(error) => warn!(%error, "data sets cannot be measured"),
        }
    }

    /// Removes what earlier processes have left, and measures what there is.
    async fn run(self: Arc<Self>) {
        let mut is_swept = false;
        loop {
            match self.open().await {
                Ok(datasets) => {
                    if !is_swept {
                        is_swept = sweep(datasets).await;
                    }
                    self.measure(datasets).await;
                }
                Err(error) => warn!(%error, "data sets cannot be reached"),
            }
            tokio::time::sleep(MEASURE_EVERY).await;
        }
    }

    async fn open(&self) -> Result<&Datasets, InferError> {
        self.opened.get_or_try_init(|| self.context()).await
    }

    async fn context(&self) -> Result<Datasets, InferError> {
        let Some(data) = &self.place.data_folder else {
            let message = "data sets need a data folder: start the server with --data";
            return Err(InferError::new(ErrorCode::NotFound, message));
        };
        let store = Store::open(&self.place.database).await;
        Ok(Datasets::new(DatasetsContext {
            folder: DatasetsContext::folder_in(data),
            captures: self.quality.capture_folder().clone(),
            labels: self.quality.store().await?.clone(),
            store: store.map_err(|error| infer_error(error.into()))?,
            privacy: self.place.privacy.clone(),
            max_disk_bytes: self.place.config.max_disk_bytes,
        }))
    }
}

impl Component for ServerDatasets {
    fn name(&self) -> &'static str {
        "datasets"
    }

    fn routes(self: Arc<Self>) -> Routes<()> {
        api::routes(self)
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        let Some(data) = &self.place.data_folder else {
            return;
        };
        // A server that makes none leaves no trace in the folder and the database.
        if self.quality.is_capturing() || DatasetsContext::folder_in(data).is_dir() {
            background.spawn(self.run());
        }
    }
}

/// Whether it was done.
async fn sweep(datasets: &Datasets) -> bool {
    match datasets.sweep(ORPHAN_AGE).await {
        Ok(removed) => {
            if !removed.is_empty() {
                info!(
                    folders = removed.len(),
                    "folders of data sets without a record were removed"
                );
            }
            true
        }
        Err(error) => {
            warn!(%error, "folders of data sets without a record cannot be looked for");
            false
        }
    }
}

fn infer_error(error: DatasetError) -> InferError {
    let code = match &error {
        DatasetError::NotFound(_) => ErrorCode::NotFound,
        DatasetError::Refused(_) => ErrorCode::InvalidParameter,
        DatasetError::Full { .. } => ErrorCode::DatasetsFull,
        DatasetError::Changed(_) => ErrorCode::CapturesChanged,
        DatasetError::Busy(_) | DatasetError::Store(_) => ErrorCode::NotReady,
        DatasetError::Capture(_) | DatasetError::File { .. } => ErrorCode::NotReady,
    };
    InferError::new(code, error.to_string())
}
