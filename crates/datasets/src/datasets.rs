//! Making, finding, exporting and deleting data sets.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidegate_capture::CaptureFolder;
use tidegate_redaction::{PrivacyConfig, Redactor};
use tidegate_store::{AuditEntry, Dataset, NewDataset, Store, Write};
use tokio::runtime::Handle;

use crate::build::{Ingredients, build};
use crate::folder::{DatasetFolder, UnfinishedDataset};
use crate::labels::LabelReader;
use crate::reference::is_name;
use crate::{DatasetError, DatasetManifest, DatasetQuery, DatasetRecord, DatasetReference};

/// The data sets of a data folder.
#[derive(Clone, Debug)]
pub struct Datasets {
    context: DatasetsContext,
    folder: DatasetFolder,
}

/// What data sets are made from, and where they are recorded.
#[derive(Clone, Debug)]
pub struct DatasetsContext {
    /// The folder of the data sets, which is made when there is one.
    pub folder: PathBuf,
    /// The captured predictions.
    pub captures: CaptureFolder,
    /// The database of labels.
    pub labels: Store,
    /// The database of data sets.
    pub store: Store,
    /// What is private: columns of such names are left out.
    pub privacy: PrivacyConfig,
}

impl Datasets {
    /// The data sets of a folder.
    pub fn new(context: DatasetsContext) -> Self {
        Self {
            folder: DatasetFolder::new(context.folder.clone()),
            context,
        }
    }

    /// Makes a data set of captured predictions and their labels, and says whether it is new: the same
    /// content again is the data set that there is. A process that is killed meanwhile leaves no half
    /// data set. One is made at a time. `audited` adds a row to the audit log of the database.
    ///
    /// # Errors
    /// [`DatasetError::NotFound`] if there is no such row.
    pub async fn create(
        &self,
        name: &str,
        query: DatasetQuery,
        actor: &str,
        audited: bool,
    ) -> Result<(DatasetRecord, bool), DatasetError> {
        if !is_name(name) {
            let message =
                format!("{name:?} cannot be the name of a data set: use A-Z a-z 0-9 - _ .");
            return Err(DatasetError::Refused(message));
        }
        let ingredients = self.ingredients(query)?;
        let folder = self.folder.clone();
        let building = blocking(move || {
            let unfinished = folder.begin()?;
            let manifest = build(&ingredients, &unfinished)?;
            Ok((unfinished, manifest))
        });
        let (unfinished, manifest) = building.await?;
        let mut write = self.context.store.write(actor).await?;
        let (row, is_new) = self.add(&mut write, name, &manifest).await?;
        // Before the row can be seen. A process that is killed in between leaves a whole folder without a
        // row, which the next data set of this content takes.
        self.finish(unfinished, manifest).await?;
        if is_new && audited {
            audit(&mut write, "dataset.create", &row).await?;
        }
        write.commit().await?;
        Ok((row.try_into()?, is_new))
    }

    /// The data sets of a name, or all.
    ///
    /// # Errors
    /// [`DatasetError::Store`].
    pub async fn list(&self, name: Option<&str>) -> Result<Vec<DatasetRecord>, DatasetError> {
        let rows = self.context.store.datasets(name).await?;
        rows.into_iter().map(DatasetRecord::try_from).collect()
    }

    /// One data set, deleted or not.
    ///
    /// # Errors
    /// [`DatasetError::NotFound`].
    pub async fn show(&self, reference: &DatasetReference) -> Result<DatasetRecord, DatasetError> {
        self.row(reference).await?.try_into()
    }

    /// The file of a data set, once its content was found to be that of its digest. Blocks for as long as
    /// it takes to read it.
    ///
    /// # Errors
    /// [`DatasetError::NotFound`] if it was deleted, or another data folder has it.
    pub fn open(&self, record: &DatasetRecord) -> Result<File, DatasetError> {
        let (reference, place) = (record.reference(), &record.manifest.lineage.place);
        if record.deleted_ms.is_some() {
            let message = format!("the data set {reference} was deleted");
            return Err(DatasetError::NotFound(message));
        }
        if *place != self.place() {
            let message = format!("the data set {reference} is in {place}, not here");
            return Err(DatasetError::NotFound(message));
        }
        self.folder.verified(&record.manifest.digest)
    }

    /// Removes the file of a data set. What is known of it stays, for versions that were trained on it.
    /// After a kill in the middle, deleting again completes it.
    ///
    /// # Errors
    /// [`DatasetError::NotFound`] if there is none, or another data folder has it.
    pub async fn delete(
        &self,
        reference: &DatasetReference,
        actor: &str,
        audited: bool,
    ) -> Result<DatasetRecord, DatasetError> {
        let row = self.row(reference).await?;
        if row.place != self.place() {
            let message = format!("the data set {reference} is in {}, not here", row.place);
            return Err(DatasetError::NotFound(message));
        }
        let mut write = self.context.store.write(actor).await?;
        if write.delete_dataset(&row.name, row.version).await? && audited {
            audit(&mut write, "dataset.delete", &row).await?;
        }
        write.commit().await?;
        // Another name may have the same content.
        let store = &self.context.store;
        if !store.needs_dataset(&row.place, &row.digest).await? {
            let (folder, digest) = (self.folder.clone(), row.digest.clone());
            blocking(move || folder.remove(&digest)).await?;
        }
        self.show(reference).await
    }

    async fn finish(
        &self,
        unfinished: UnfinishedDataset,
        manifest: DatasetManifest,
    ) -> Result<(), DatasetError> {
        let folder = self.folder.clone();
        blocking(move || folder.finish(&unfinished, &manifest)).await
    }

    /// Where its files are, for records.
    fn place(&self) -> String {
        let root = self.folder.root();
        let whole = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        whole.display().to_string()
    }

    fn ingredients(&self, query: DatasetQuery) -> Result<Ingredients, DatasetError> {
        let redactor = Redactor::new(&self.context.privacy);
        let redactor = redactor.map_err(|error| DatasetError::Refused(error.to_string()))?;
        Ok(Ingredients {
            captures: self.context.captures.clone(),
            labels: LabelReader {
                store: self.context.labels.clone(),
                endpoint: query.endpoint.clone(),
                runtime: Handle::current(),
            },
            query,
            is_private: Box::new(move |name| redactor.named(name, "0") != "0"),
            redaction: serde_json::to_value(&self.context.privacy).unwrap_or_default(),
            place: self.place(),
        })
    }

    async fn add(
        &self,
        write: &mut Write,
        name: &str,
        manifest: &DatasetManifest,
    ) -> Result<(Dataset, bool), DatasetError> {
        let mut described = manifest.clone();
        // There may be many thousands. They are in the description beside the file.
        described.lineage.captures.clear();
        let text = serde_json::to_string(&described)
            .map_err(|error| DatasetError::Refused(error.to_string()))?;
        let new = NewDataset {
            name,
            digest: &manifest.digest,
            rows: signed(manifest.rows),
            labels: signed(manifest.labels),
            bytes: signed(manifest.bytes),
            place: &manifest.lineage.place,
            manifest: &text,
        };
        Ok(write.add_dataset(new).await?)
    }

    async fn row(&self, reference: &DatasetReference) -> Result<Dataset, DatasetError> {
        let row = self
            .context
            .store
            .dataset(&reference.name, reference.version)
            .await?;
        row.ok_or_else(|| DatasetError::NotFound(format!("there is no data set {reference}")))
    }
}

impl DatasetsContext {
    /// Where the data sets of a data folder are.
    pub fn folder_in(data: &Path) -> PathBuf {
        data.join("datasets")
    }
}

/// Runs work on files beside the threads that serve connections.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DatasetError> + Send + 'static,
) -> Result<T, DatasetError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // The task is never cancelled, so that it can only have panicked.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn audit(write: &mut Write, action: &str, row: &Dataset) -> Result<(), DatasetError> {
    let state = json!({"digest": row.digest, "rows": row.rows, "labels": row.labels});
    let states = match action {
        "dataset.delete" => (state, Value::Null),
        _ => (Value::Null, state),
    };
    let entry = AuditEntry::new(write.actor(), action, "ok").about("dataset", &row.reference());
    write
        .append_audit(&entry.with_states(&states.0, &states.1))
        .await?;
    Ok(())
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
