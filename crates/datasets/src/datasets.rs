//! Making, finding, exporting and deleting data sets.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_capture::{CaptureFolder, ErasureCount};
use tidegate_redaction::{PrivacyConfig, Redactor};
use tidegate_store::{AuditEntry, Dataset, DatasetPlace, NewDataset, Store, Write};
use tokio::runtime::Handle;

use crate::build::{Ingredients, build};
use crate::folder::{DatasetFolder, NamesLock, UnfinishedDataset, random_id};
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
    /// What all data sets of the folder may take on the disk, in bytes.
    pub max_disk_bytes: u64,
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
    /// [`DatasetError::NotFound`] if there is no such row, [`DatasetError::Full`] without room for it,
    /// [`DatasetError::Changed`] if rows were erased or removed meanwhile.
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
        let records = self.records_id(actor).await?;
        let ingredients = self.ingredients(query, records)?;
        let (folder, max_bytes) = (self.folder.clone(), self.context.max_disk_bytes);
        let building = blocking(move || {
            let unfinished = folder.begin(max_bytes)?;
            let before = erasures(&ingredients.captures)?.number();
            let manifest = build(&ingredients, &unfinished)?;
            Ok((unfinished, manifest, before))
        });
        let (unfinished, manifest, before) = building.await?;
        let names = self.lock_names().await?;
        // From here on an erasure waits: the data set is one that was made before it.
        let _erasures = self.check_erasures(before).await?;
        let mut write = self.context.store.write(actor).await?;
        let (row, is_new) = self.add(&mut write, name, &manifest).await?;
        // Before the row can be seen. A process that is killed in between leaves a whole folder without a
        // row, which the next data set of this content takes, or else the next start removes.
        self.finish(unfinished, manifest).await?;
        if is_new && audited {
            audit(&mut write, "dataset.create", &row).await?;
        }
        write.commit().await?;
        drop(names);
        Ok((row.try_into()?, is_new))
    }

    /// What the data sets take on the disk, in bytes.
    ///
    /// # Errors
    /// [`DatasetError::File`].
    pub async fn disk_bytes(&self) -> Result<u64, DatasetError> {
        let folder = self.folder.clone();
        blocking(move || folder.bytes()).await
    }

    /// Removes folders without a record that are older than a time: those of processes that were killed.
    /// Only folders that were made for this database are looked at: another one may know the others. The
    /// digests of what was removed.
    ///
    /// # Errors
    /// [`DatasetError`] of the folder or the database.
    pub async fn sweep(&self, older_than: Duration) -> Result<Vec<String>, DatasetError> {
        let store = &self.context.store;
        let (Some(records), Some(id)) = (store.property(RECORDS_ID).await?, self.folder.id()?)
        else {
            return Ok(Vec::new());
        };
        let path = self.place();
        let place = DatasetPlace {
            path: &path,
            id: &id,
        };
        let _names = self.lock_names().await?;
        let mut removed = Vec::new();
        for digest in self.folder.digests()? {
            let is_old = |(manifest, age): (DatasetManifest, Duration)| {
                manifest.lineage.records == records && age >= older_than
            };
            let is_candidate = self.folder.described(&digest).is_some_and(is_old);
            if is_candidate && !store.needs_dataset(place, &digest).await? {
                let (folder, of) = (self.folder.clone(), digest.clone());
                blocking(move || folder.remove(&of)).await?;
                removed.push(digest);
            }
        }
        Ok(removed)
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
        let path = self.place();
        let id = self.folder.id()?.unwrap_or_default();
        let is_here = match record.place_id.as_str() {
            "" => *place == path,
            of => *of == id,
        };
        if record.deleted_ms.is_some() {
            let message = format!("the data set {reference} was deleted");
            return Err(DatasetError::NotFound(message));
        }
        if !is_here {
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
        let (path, id) = (self.place(), self.folder.id()?.unwrap_or_default());
        let place = DatasetPlace {
            path: &path,
            id: &id,
        };
        if !row.is_in(place) {
            let message = format!("the data set {reference} is in {}, not here", row.place);
            return Err(DatasetError::NotFound(message));
        }
        // Until the folder is gone: a new data set of this content comes before or after.
        let _names = self.lock_names().await?;
        let mut write = self.context.store.write(actor).await?;
        if write.delete_dataset(&row.name, row.version).await? && audited {
            audit(&mut write, "dataset.delete", &row).await?;
        }
        write.commit().await?;
        // Another name may have the same content.
        let store = &self.context.store;
        if !store.needs_dataset(place, &row.digest).await? {
            let (folder, digest) = (self.folder.clone(), row.digest.clone());
            blocking(move || folder.remove(&digest)).await?;
        }
        self.show(reference).await
    }

    async fn lock_names(&self) -> Result<NamesLock, DatasetError> {
        let folder = self.folder.clone();
        blocking(move || folder.lock_names()).await
    }

    /// Makes sure that no row was erased since there were so many erasures.
    async fn check_erasures(&self, before: u64) -> Result<ErasureCount, DatasetError> {
        let captures = self.context.captures.clone();
        let now = blocking(move || erasures(&captures)).await?;
        if now.number() != before {
            let message = "captured rows were erased while the data set was made";
            return Err(DatasetError::Changed(message.to_owned()));
        }
        Ok(now)
    }

    /// The id of the database of records, made with the first data set.
    async fn records_id(&self, actor: &str) -> Result<String, DatasetError> {
        if let Some(id) = self.context.store.property(RECORDS_ID).await? {
            return Ok(id);
        }
        let mut write = self.context.store.write(actor).await?;
        // Another process may have been faster.
        if let Some(id) = write.property(RECORDS_ID).await? {
            return Ok(id);
        }
        let id = random_id().to_string();
        write.set_property(RECORDS_ID, &id).await?;
        write.commit().await?;
        Ok(id)
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

    fn ingredients(
        &self,
        query: DatasetQuery,
        records: String,
    ) -> Result<Ingredients, DatasetError> {
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
            records,
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
        let id = self.folder.id()?.unwrap_or_default();
        let new = NewDataset {
            name,
            digest: &manifest.digest,
            rows: signed(manifest.rows),
            labels: signed(manifest.labels),
            bytes: signed(manifest.bytes),
            place: DatasetPlace {
                path: &manifest.lineage.place,
                id: &id,
            },
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

/// The property of the database that has its id.
const RECORDS_ID: &str = "datasets_id";

/// How many erasures have begun.
fn erasures(captures: &CaptureFolder) -> Result<ErasureCount, DatasetError> {
    captures.erasures()?.ok_or_else(|| {
        let message = "captured rows are being erased";
        DatasetError::Changed(message.to_owned())
    })
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
