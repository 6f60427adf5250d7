//! Reading captured files, joining their rows with labels, and writing what comes of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampMillisecondType, UInt32Type};
use arrow_array::{Array, BooleanArray, RecordBatch, StringArray};
use arrow_schema::SchemaRef;
use arrow_select::filter::filter_record_batch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tidegate_capture::{CaptureFolder, Hour, PartitionKey};
use uuid::Uuid;

use crate::columns::{
    ColumnSurvey, OUTCOME, PREDICTION_ID, ROW, TENANT, TIME, usable, with_labels,
};
use crate::folder::UnfinishedDataset;
use crate::hashed_file::{digest_of, hex};
use crate::labels::{LabelReader, Labels};
use crate::writer::DatasetWriter;
use crate::{
    CapturedFile, DatasetColumn, DatasetError, DatasetLineage, DatasetManifest, DatasetQuery,
    LabelKind, LabelTarget, label_of,
};

/// Rows that are read at once: those of images take much.
const BATCH_ROWS: usize = 1024;
/// The outcome of a request that was answered.
const ANSWERED: &str = "answered";

/// What a data set is made from, and what is only recorded with it.
pub(crate) struct Ingredients {
    pub(crate) captures: CaptureFolder,
    pub(crate) labels: LabelReader,
    pub(crate) query: DatasetQuery,
    /// Whether the values of a name are private.
    pub(crate) is_private: Box<dyn Fn(&str) -> bool + Send>,
    pub(crate) redaction: Value,
    pub(crate) place: String,
    /// The id of the database that has the record.
    pub(crate) records: String,
}

/// A captured file that is read.
struct Source {
    key: PartitionKey,
    path: PathBuf,
}

/// A data set that is being made.
struct Build<'a> {
    ingredients: &'a Ingredients,
    targets: &'a BTreeMap<String, Option<LabelTarget>>,
    kind: LabelKind,
    schema: SchemaRef,
    writer: DatasetWriter,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    rows: u64,
    labels: u64,
    unanswered: u64,
    unusable_labels: u64,
    versions: Vec<String>,
    captures: Vec<CapturedFile>,
}

/// Writes the rows, and gives their description.
pub(crate) fn build(
    ingredients: &Ingredients,
    unfinished: &UnfinishedDataset,
) -> Result<DatasetManifest, DatasetError> {
    let sources = sources(ingredients)?;
    let mut survey = ColumnSurvey::default();
    for source in &sources {
        survey.add(open(&source.path)?.schema())?;
    }
    let left_out = survey.leave_out(|name| (ingredients.is_private)(name));
    let targets = targets(&ingredients.captures, &sources)?;
    let kind = LabelKind::of(targets.values().map(Option::as_ref));
    let schema = survey.schema(kind);
    let mut build = Build {
        ingredients,
        targets: &targets,
        kind,
        writer: DatasetWriter::new(&unfinished.data(), &schema, unfinished.room())?,
        schema: schema.clone(),
        counts: Counts::default(),
    };
    for source in &sources {
        build.add(source)?;
    }
    let Build { writer, counts, .. } = build;
    if counts.rows == 0 {
        return Err(DatasetError::NotFound(nothing(&ingredients.query)));
    }
    let (digest, bytes) = writer.finish()?;
    Ok(DatasetManifest {
        format: 1,
        digest,
        rows: counts.rows,
        labels: counts.labels,
        bytes,
        columns: columns(&schema),
        label: kind,
        target: common_target(&targets),
        lineage: lineage(ingredients, counts, left_out),
    })
}

fn nothing(query: &DatasetQuery) -> String {
    let labelled = if query.labelled { " with a label" } else { "" };
    let version = query.version.as_ref();
    let version = version.map_or_else(String::new, |version| format!(" of version {version}"));
    format!(
        "there is no captured prediction{labelled}{version} of the endpoint \"{}\" in this time",
        query.endpoint
    )
}

fn lineage(ingredients: &Ingredients, counts: Counts, left_out: Vec<String>) -> DatasetLineage {
    DatasetLineage {
        query: ingredients.query.clone(),
        captured_files: counts.captures.len() as u64,
        captures_digest: list_digest(&counts.captures),
        captures: counts.captures,
        versions: counts.versions,
        unanswered: counts.unanswered,
        unusable_labels: counts.unusable_labels,
        left_out_columns: left_out,
        redaction: ingredients.redaction.clone(),
        database: ingredients.labels.store.shown().to_owned(),
        place: ingredients.place.clone(),
        records: ingredients.records.clone(),
        tidegate: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn list_digest(captures: &[CapturedFile]) -> String {
    let mut hash = Sha256::new();
    for file in captures {
        hash.update(format!("{} {} {}\n", file.sha256, file.rows, file.path));
    }
    hex(&hash.finalize())
}

fn columns(schema: &SchemaRef) -> Vec<DatasetColumn> {
    let fields = schema.fields().iter();
    fields
        .map(|field| DatasetColumn {
            name: field.name().clone(),
            r#type: field.data_type().to_string(),
        })
        .collect()
}

/// The captured files of the window, in the order of hours, versions and writing.
fn sources(ingredients: &Ingredients) -> Result<Vec<Source>, DatasetError> {
    let Ingredients {
        captures, query, ..
    } = ingredients;
    if query.from_ms >= query.to_ms {
        let message = "the time of a data set must begin before it ends";
        return Err(DatasetError::Refused(message.to_owned()));
    }
    let hours = (Hour::of_ms(query.from_ms), Hour::of_ms(query.to_ms - 1));
    let mut partitions = captures.partitions_of(&query.endpoint, hours.0, hours.1)?;
    let version = query.version.as_ref();
    partitions.retain(|one| version.is_none_or(|version| one.key.version == *version));
    let mut sources = Vec::new();
    for partition in partitions {
        let paths = captures.files_of(&partition.key)?.into_iter();
        sources.extend(paths.map(|path| Source {
            key: partition.key.clone(),
            path,
        }));
    }
    Ok(sources)
}

/// What labels are compared with, by version; `None` where nobody knows.
fn targets(
    captures: &CaptureFolder,
    sources: &[Source],
) -> Result<BTreeMap<String, Option<LabelTarget>>, DatasetError> {
    let mut targets = BTreeMap::new();
    for Source { key, .. } in sources {
        if !targets.contains_key(&key.version) {
            let note = captures.read_note(key)?;
            targets.insert(key.version.clone(), note.and_then(|note| target_of(&note)));
        }
    }
    Ok(targets)
}

/// The note has the target, or why there is none.
fn target_of(note: &[u8]) -> Option<LabelTarget> {
    let target: Result<LabelTarget, String> = serde_json::from_slice(note).ok()?;
    target.ok()
}

fn common_target(targets: &BTreeMap<String, Option<LabelTarget>>) -> Option<LabelTarget> {
    let mut all = targets.values();
    let first = all.next()?.clone();
    all.all(|target| *target == first).then_some(first)?
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, DatasetError> {
    let file = File::open(path).map_err(DatasetError::captured(path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file);
    builder.map_err(|error| DatasetError::file(path, error))
}

impl Build<'_> {
    fn add(&mut self, source: &Source) -> Result<(), DatasetError> {
        let path = &source.path;
        // One handle: an erasure may put another file in its place meanwhile.
        let mut file = File::open(path).map_err(DatasetError::captured(path))?;
        let sha256 = digest_of(&mut file).map_err(DatasetError::io(path))?;
        file.seek(SeekFrom::Start(0))
            .map_err(DatasetError::io(path))?;
        let unreadable = |error: parquet::errors::ParquetError| DatasetError::file(path, error);
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(unreadable)?;
        let reader = builder.with_batch_size(BATCH_ROWS).build();
        let before = self.counts.rows;
        for batch in reader.map_err(unreadable)? {
            let batch = batch.map_err(|error| DatasetError::file(path, error))?;
            self.add_rows(&batch, source)?;
        }
        let rows = self.counts.rows - before;
        let versions = &mut self.counts.versions;
        if rows > 0 && !versions.contains(&source.key.version) {
            versions.push(source.key.version.clone());
            versions.sort();
        }
        let root = self.ingredients.captures.root();
        let path = path.strip_prefix(root).unwrap_or(path);
        self.counts.captures.push(CapturedFile {
            path: path.display().to_string(),
            sha256,
            rows,
        });
        Ok(())
    }

    fn add_rows(&mut self, batch: &RecordBatch, source: &Source) -> Result<(), DatasetError> {
        let damaged = |problem: String| DatasetError::file(&source.path, problem);
        let answered = self.answered(batch).map_err(damaged)?;
        let keys = RowKeys::of(&answered).map_err(damaged)?;
        let labels = self.ingredients.labels.of(&keys.rows)?;
        let target = self.targets.get(&source.key.version);
        let labels = self.labels_of(&keys, &labels, target.and_then(Option::as_ref));
        let rows = with_labels(&answered, &labels, self.kind, &self.schema);
        let mut rows = rows.map_err(|error| damaged(error.to_string()))?;
        if self.ingredients.query.labelled {
            let has_label = labels.iter().map(|label| Some(label.is_some()));
            let has_label: BooleanArray = has_label.collect();
            let kept = filter_record_batch(&rows, &has_label);
            rows = kept.map_err(|error| damaged(error.to_string()))?;
        }
        self.counts.rows += rows.num_rows() as u64;
        self.counts.labels += labels.iter().flatten().count() as u64;
        self.writer.add(rows)
    }

    /// The rows of the window whose request was answered.
    fn answered(&mut self, batch: &RecordBatch) -> Result<RecordBatch, String> {
        let query = &self.ingredients.query;
        let times = column(batch, TIME)?;
        let times = times.as_primitive_opt::<TimestampMillisecondType>();
        let times = times.ok_or("the column time has no times")?;
        let outcomes = texts(batch, OUTCOME)?;
        let mut kept = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let at_ms = u64::try_from(times.value(row)).unwrap_or(0);
            let is_in_window = at_ms >= query.from_ms && at_ms < query.to_ms;
            let is_answered = outcomes.value(row) == ANSWERED;
            self.counts.unanswered += u64::from(is_in_window && !is_answered);
            kept.push(is_in_window && is_answered);
        }
        let kept = filter_record_batch(batch, &BooleanArray::from(kept));
        kept.map_err(|error| error.to_string())
    }

    /// The label of each row, with its time.
    fn labels_of(
        &mut self,
        keys: &RowKeys,
        labels: &Labels,
        target: Option<&LabelTarget>,
    ) -> Vec<Option<(Value, i64)>> {
        let mut of_rows = Vec::with_capacity(keys.rows.len());
        for (row, key) in keys.rows.iter().enumerate() {
            let given = labels.get(key).map_or(&[][..], Vec::as_slice);
            let given = label_of(given, keys.tenants.value(row));
            let (label, is_unusable) = usable(given, self.kind, target);
            self.counts.unusable_labels += u64::from(is_unusable);
            of_rows.push(label);
        }
        of_rows
    }
}

/// What labels name rows by.
struct RowKeys {
    rows: Vec<(Uuid, u32)>,
    tenants: StringArray,
}

impl RowKeys {
    fn of(batch: &RecordBatch) -> Result<Self, String> {
        let ids = texts(batch, PREDICTION_ID)?;
        let numbers = column(batch, ROW)?.as_primitive_opt::<UInt32Type>();
        let numbers = numbers.ok_or("the column row has no numbers")?;
        let mut rows = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let id = ids.value(row).parse::<Uuid>();
            rows.push((id.map_err(|error| error.to_string())?, numbers.value(row)));
        }
        Ok(Self {
            rows,
            tenants: texts(batch, TENANT)?.clone(),
        })
    }
}

fn column<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b dyn Array, String> {
    let column = batch.column_by_name(name).map(AsRef::as_ref);
    column.ok_or_else(|| format!("the column {name} is missing"))
}

fn texts<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b StringArray, String> {
    let texts = column(batch, name)?.as_string_opt::<i32>();
    texts.ok_or_else(|| format!("the column {name} has no texts"))
}
