//! Data sets of captured predictions, for those who train the next version.

mod api;

use std::path::PathBuf;
use std::sync::Arc;

use tidegate_datasets::{
    DatasetError, DatasetQuery, DatasetRecord, DatasetReference, Datasets, DatasetsContext,
};
use tidegate_redaction::PrivacyConfig;
use tidegate_serving::{ErrorCode, InferError};
use tidegate_store::Store;
use tokio::sync::OnceCell;

pub(crate) use self::api::description;
use crate::ServerConfig;
use crate::component::Component;
use crate::quality::Quality;
use crate::routes::Routes;

/// Makes data sets of what this server has captured.
pub(crate) struct ServerDatasets {
    quality: Arc<Quality>,
    server: ServerConfig,
    place: DatasetPlace,
    opened: OnceCell<Datasets>,
}

/// Where data sets are, and what is private in them.
pub(crate) struct DatasetPlace {
    /// The data folder; without one there are no data sets.
    pub(crate) data_folder: Option<PathBuf>,
    /// The database that has their records.
    pub(crate) database: String,
    pub(crate) privacy: PrivacyConfig,
}

impl ServerDatasets {
    pub(crate) fn new(quality: Arc<Quality>, server: ServerConfig, place: DatasetPlace) -> Self {
        Self {
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
        creating.await.map_err(infer_error)
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
        deleting.await.map_err(infer_error)
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
}

fn infer_error(error: DatasetError) -> InferError {
    let code = match &error {
        DatasetError::NotFound(_) => ErrorCode::NotFound,
        DatasetError::Refused(_) => ErrorCode::InvalidParameter,
        DatasetError::Busy(_) | DatasetError::Store(_) => ErrorCode::NotReady,
        DatasetError::Capture(_) | DatasetError::File { .. } => ErrorCode::NotReady,
    };
    InferError::new(code, error.to_string())
}
