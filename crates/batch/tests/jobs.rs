//! Jobs from files to files, with the example model of fraud.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use tidegate_batch::{
    BatchError, Job, JobOutcome, JobSpec, JobStatus, Keep, Progress, RunOptions, ScoringVersion,
};
use tidegate_core::EngineChoice;
use tidegate_engines::Engines;
use tidegate_serving::{MetricRegistry, Models, Serving};

const FRAUD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/models/fraud");
const ONE: RunOptions = RunOptions {
    threads: 1,
    max_errors: None,
};

/// Loaded once: a load takes longer than the jobs here.
fn fraud() -> ScoringVersion {
    static LOADED: OnceLock<Arc<Serving>> = OnceLock::new();
    let serving = LOADED.get_or_init(|| {
        let engines = Engines::discover(None, EngineChoice::Auto);
        let models = Models::new(vec![FRAUD.into()], engines, &MetricRegistry::new());
        models.load_all();
        Arc::new(Serving::new(models))
    });
    let version = serving.models().version("fraud", None).unwrap();
    ScoringVersion::new(serving.clone(), version, "sha256:f".to_owned()).unwrap()
}

/// The columns of transactions: an id, and the fields of the pipeline.
fn transactions(first: usize, rows: usize) -> RecordBatch {
    let manifest = fs::read_to_string(Path::new(FRAUD).join("model.toml")).unwrap();
    let ids = (first..first + rows).map(|id| id as i64);
    let mut columns: Vec<(String, ArrayRef)> =
        vec![("id".to_owned(), Arc::new(Int64Array::from_iter_values(ids)))];
    for (place, line) in manifest
        .lines()
        .filter(|line| line.contains("type = \""))
        .enumerate()
    {
        let name = line.split('"').nth(1).unwrap();
        let kind = line.split('"').nth(3).unwrap();
        let value = |row: usize| ((first + row) * 7919 + place * 104_729) % 997;
        let values = (0..rows).map(value);
        let column: ArrayRef = match kind {
            "boolean" => Arc::new(BooleanArray::from_iter(
                values.map(|value| Some(value % 2 == 0)),
            )),
            "integer" => {
                let most = if name == "day_of_week" { 7 } else { 20 };
                Arc::new(Int64Array::from_iter_values(
                    values.map(|value| (value % most) as i64),
                ))
            }
            _ => {
                let scale = if name.contains("risk") || name == "utilization" {
                    997.0
                } else {
                    1.0
                };
                let numbers = values.map(|value| (value as f64 + 2.0) / (scale * 1.002));
                Arc::new(Float64Array::from_iter_values(
                    numbers.map(|n| n.min(900.0)),
                ))
            }
        };
        columns.push((name.to_owned(), column));
    }
    RecordBatch::try_from_iter(columns).unwrap()
}

fn write_parquet(path: &Path, batch: &RecordBatch, group_rows: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let names = batch.schema();
    let columns = names
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, old)| {
            let is_it = field.name() == name;
            (
                field.name().clone(),
                if is_it { column.clone() } else { old.clone() },
            )
        });
    RecordBatch::try_from_iter(columns.collect::<Vec<_>>()).unwrap()
}

struct Work {
    folder: tempfile::TempDir,
}

impl Work {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spec(&self, input: &str) -> JobSpec {
        let input = self.path(input).to_string_lossy().into_owned();
        JobSpec {
            keep: Keep::Columns(vec!["id".to_owned()]),
            unit_rows: 500,
            ..JobSpec::new("fraud".to_owned(), vec![input])
        }
    }

    fn plan(&self, spec: JobSpec, output: &str) -> Result<Job, BatchError> {
        Job::plan(fraud(), spec, self.path(output))
    }

    fn run(&self, spec: JobSpec, output: &str, options: RunOptions) -> JobOutcome {
        let job = self.plan(spec, output).unwrap();
        job.run(options, &Progress::default()).unwrap()
    }

    fn refused(&self, spec: JobSpec, output: &str) -> String {
        let planned = self.plan(spec, output);
        let ran = planned.and_then(|job| job.run(ONE, &Progress::default()));
        ran.unwrap_err().to_string()
    }

    /// Every file of a folder with its content.
    fn content(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let root = self.path(name);
        let pattern = format!("{}/**/*", root.display());
        for path in glob::glob(&pattern).unwrap().map(Result::unwrap) {
            if path.is_file() {
                let below = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                files.insert(below, fs::read(path).unwrap());
            }
        }
        files
    }

    /// The rows of a file of Parquet.
    fn rows(&self, name: &str) -> RecordBatch {
        let file = File::open(self.path(name)).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let reader = reader.with_batch_size(1 << 20).build().unwrap();
        let batches: Vec<_> = reader.map(Result::unwrap).collect();
        assert_eq!(batches.len(), 1);
        batches[0].clone()
    }

    /// The scores by id, of all files of an output.
    fn scores(&self, output: &str, outcome: &JobOutcome) -> BTreeMap<String, u64> {
        let mut scores = BTreeMap::new();
        for unit in &outcome.manifest.units {
            let Some(file) = &unit.scores else { continue };
            let rows = self.rows(&format!("{output}/{}", file.path));
            let ids = rows.column_by_name("id").unwrap();
            let score = rows
                .column_by_name("score")
                .unwrap()
                .as_primitive::<Float64Type>();
            for row in 0..rows.num_rows() {
                let id = match ids.as_primitive_opt::<Int64Type>() {
                    Some(ids) => ids.value(row).to_string(),
                    None => ids.as_string::<i32>().value(row).to_owned(),
                };
                let earlier = scores.insert(id, score.value(row).to_bits());
                assert!(earlier.is_none(), "a row is there twice");
            }
        }
        scores
    }
}

#[test]
fn every_row_is_scored_once_in_the_layout_of_its_partitions() {
    let work = Work::new();
    write_parquet(&work.path("tx/dt=1/a.parquet"), &transactions(0, 1200), 300);
    write_parquet(
        &work.path("tx/dt=2/a.parquet"),
        &transactions(1200, 100),
        300,
    );
    let outcome = work.run(work.spec("tx"), "scores", ONE);
    let units = &outcome.manifest.units;
    let shown = units
        .iter()
        .map(|unit| (unit.scores.as_ref().unwrap().path.as_str(), unit.range.rows));
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            ("dt=1/part-00000.parquet", 600),
            ("dt=1/part-00001.parquet", 600),
            ("dt=2/part-00002.parquet", 100),
        ]
    );
    assert_eq!(outcome.manifest.rows, 1300);
    assert_eq!(work.scores("scores", &outcome).len(), 1300);
    let first = work.rows("scores/dt=1/part-00000.parquet");
    let schema = first.schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(
        names,
        ["id", "decision", "score", "reason", "_version", "_digest"]
    );
    assert_eq!(first.column(4).as_string::<i32>().value(599), "fraud:1");
}

#[test]
fn what_is_missing_is_done_again_byte_by_byte_with_any_number_of_threads() {
    let work = Work::new();
    write_parquet(&work.path("tx/a.parquet"), &transactions(0, 3001), 250);
    work.run(work.spec("tx"), "undisturbed", ONE);
    let undisturbed = work.content("undisturbed");
    let three = RunOptions { threads: 3, ..ONE };
    work.run(work.spec("tx"), "scores", three);
    assert_eq!(work.content("scores"), undisturbed);

    // As a process leaves it that was killed: with a record less, half a file more, no manifest.
    let meta = work.path("scores/_tidegate");
    fs::remove_file(meta.join("manifest.json")).unwrap();
    fs::remove_file(meta.join("units/00001.json")).unwrap();
    fs::remove_file(work.path("scores/part-00003.parquet")).unwrap();
    fs::write(meta.join("tmp/scores-00004.parquet"), "half").unwrap();
    let status = JobStatus::read(work.path("scores")).unwrap();
    assert_eq!((status.units_done, status.units), (5, 7));
    let outcome = work.run(work.spec("tx"), "scores", three);
    assert_eq!(outcome.units_run, 2);
    assert_eq!(work.content("scores"), undisturbed);

    let again = work.run(work.spec("tx"), "scores", ONE);
    assert_eq!(again.units_run, 0);
}

#[test]
fn every_format_gets_the_same_scores() {
    let work = Work::new();
    let batch = transactions(0, 700);
    write_parquet(&work.path("parquet/a.parquet"), &batch, 300);
    for format in ["csv", "jsonl", "arrow"] {
        fs::create_dir(work.path(format)).unwrap();
    }
    let file = File::create(work.path("arrow/a.arrow")).unwrap();
    let mut arrow = FileWriter::try_new(file, &batch.schema()).unwrap();
    arrow.write(&batch.slice(0, 500)).unwrap();
    arrow.write(&batch.slice(500, 200)).unwrap();
    arrow.finish().unwrap();
    let mut csv = File::create(work.path("csv/a.csv")).unwrap();
    let mut json = File::create(work.path("jsonl/a.jsonl")).unwrap();
    let schema = batch.schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    writeln!(csv, "{}", names.join(",")).unwrap();
    for row in 0..batch.num_rows() {
        let cells: Vec<String> = batch
            .columns()
            .iter()
            .map(|column| match column.as_primitive_opt::<Float64Type>() {
                Some(numbers) => numbers.value(row).to_string(),
                None => match column.as_primitive_opt::<Int64Type>() {
                    Some(numbers) => numbers.value(row).to_string(),
                    None => column.as_boolean().value(row).to_string(),
                },
            })
            .collect();
        writeln!(csv, "{}", cells.join(",")).unwrap();
        let members: Vec<String> = names
            .iter()
            .zip(&cells)
            .map(|(name, cell)| format!("\"{name}\": {cell}"))
            .collect();
        writeln!(json, "{{{}}}\n", members.join(", ")).unwrap();
    }
    drop((csv, json));
    let scores: Vec<_> = ["parquet", "csv", "jsonl", "arrow"]
        .iter()
        .map(|format| {
            let output = format!("scores-{format}");
            let outcome = work.run(work.spec(format), &output, ONE);
            assert_eq!(outcome.manifest.units.len(), 2, "{format}");
            work.scores(&output, &outcome)
        })
        .collect();
    assert_eq!(scores[0].len(), 700);
    assert!(scores.iter().all(|other| *other == scores[0]));
}

#[test]
fn rows_without_prediction_are_in_quarantine_with_their_reason() {
    let work = Work::new();
    let batch = transactions(0, 400);
    let amounts = (0..400).map(|row| match row {
        3 => None,
        250 => Some(-1.0),
        row => Some(f64::from(row)),
    });
    let batch = with_column(&batch, "amount", Arc::new(Float64Array::from_iter(amounts)));
    write_parquet(&work.path("tx/a.parquet"), &batch, 500);
    let outcome = work.run(work.spec("tx"), "scores", ONE);
    let manifest = &outcome.manifest;
    assert_eq!((manifest.scored_rows, manifest.quarantined_rows), (398, 2));
    let bad = work.rows("scores/_tidegate/quarantine/part-00000.parquet");
    assert_eq!(
        bad.column(1).as_primitive::<Int64Type>().values().to_vec(),
        [3, 250]
    );
    let reasons = bad.column(2).as_string::<i32>();
    assert!(
        reasons.value(0).starts_with("field \"amount\" is missing"),
        "{}",
        reasons.value(0)
    );
    assert!(reasons.value(1).contains("is -1"), "{}", reasons.value(1));
    assert!(
        bad.column(0)
            .as_string::<i32>()
            .value(0)
            .ends_with("tx/a.parquet")
    );

    let job = work.plan(work.spec("tx"), "stopped").unwrap();
    let strict = RunOptions {
        max_errors: Some(1),
        ..ONE
    };
    let error = job
        .run(strict, &Progress::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("2 rows cannot be scored, at most 1 may be"),
        "{error}"
    );
}

#[test]
fn a_file_without_any_good_row_has_no_scores() {
    let work = Work::new();
    fs::create_dir(work.path("tx")).unwrap();
    fs::write(work.path("tx/a.jsonl"), "{\"id\": 1}\n[2]\n{\"id\": 3\n").unwrap();
    let outcome = work.run(work.spec("tx"), "scores", ONE);
    assert_eq!(
        (
            outcome.manifest.scored_rows,
            outcome.manifest.quarantined_rows
        ),
        (0, 3)
    );
    let bad = work.rows("scores/_tidegate/quarantine/part-00000.parquet");
    let reasons = bad.column(2).as_string::<i32>();
    assert!(
        reasons.value(0).contains("is missing"),
        "{}",
        reasons.value(0)
    );
    assert!(
        reasons.value(1).contains("no object of JSON"),
        "{}",
        reasons.value(1)
    );
    assert!(
        reasons.value(2).contains("no object of JSON"),
        "{}",
        reasons.value(2)
    );
}

#[test]
fn another_job_does_not_write_into_the_same_folder() {
    let work = Work::new();
    write_parquet(&work.path("tx/a.parquet"), &transactions(0, 100), 500);
    work.run(work.spec("tx"), "scores", ONE);
    let spec = JobSpec {
        keep: Keep::Columns(Vec::new()),
        ..work.spec("tx")
    };
    let error = work.refused(spec, "scores");
    assert!(error.contains("holds another job: --keep was"), "{error}");
    write_parquet(&work.path("tx/a.parquet"), &transactions(100, 100), 500);
    let error = work.refused(work.spec("tx"), "scores");
    assert!(
        error.contains("the input was changed since the job began"),
        "{error}"
    );
}

#[test]
fn what_is_wrong_with_an_input_is_told_with_its_name() {
    let work = Work::new();
    let batch = transactions(0, 1000);
    write_parquet(&work.path("tx/a.parquet"), &batch, 250);
    let whole = fs::read(work.path("tx/a.parquet")).unwrap();

    fs::write(work.path("tx/a.parquet"), &whole[..whole.len() - 40]).unwrap();
    let error = work.refused(work.spec("tx"), "truncated");
    assert!(
        error.contains("a.parquet: is truncated or no Parquet file"),
        "{error}"
    );

    // A hole in the pages of a row group; the footer is whole.
    let mut broken = whole.clone();
    let middle = whole.len() / 2;
    broken[middle..middle + 2000].fill(0xff);
    fs::write(work.path("tx/a.parquet"), &broken).unwrap();
    let error = work.refused(work.spec("tx"), "broken");
    assert!(error.contains("a.parquet: row group"), "{error}");

    fs::write(work.path("tx/a.parquet"), &whole).unwrap();
    let columns: Vec<usize> = (0..batch.num_columns())
        .filter(|column| *column != 2)
        .collect();
    write_parquet(
        &work.path("tx/b.parquet"),
        &batch.project(&columns).unwrap(),
        250,
    );
    let error = work.refused(work.spec("tx"), "missing");
    assert!(
        error.contains("b.parquet: has no column \"hour\""),
        "{error}"
    );

    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..1000).map(|_| "x")));
    write_parquet(
        &work.path("tx/b.parquet"),
        &with_column(&batch, "hour", texts.clone()),
        250,
    );
    let error = work.refused(work.spec("tx"), "typed");
    assert!(
        error.contains("b.parquet: column \"hour\" is Utf8"),
        "{error}"
    );

    write_parquet(
        &work.path("tx/b.parquet"),
        &with_column(&batch, "id", texts),
        250,
    );
    let error = work.refused(work.spec("tx"), "mixed");
    assert!(
        error.contains("column \"id\", which is kept, is Utf8, and Int64 in"),
        "{error}"
    );
    assert!(!work.path("mixed").exists());
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    let work = Work::new();
    write_parquet(&work.path("tx/a.parquet"), &transactions(0, 600), 300);
    let job = work.plan(work.spec("tx"), "scores").unwrap();
    write_parquet(&work.path("tx/a.parquet"), &transactions(5, 600), 300);
    let error = job.run(ONE, &Progress::default()).unwrap_err().to_string();
    assert!(
        error.contains("was changed while the job read it"),
        "{error}"
    );
}

#[test]
fn a_job_that_is_stopped_goes_on() {
    let work = Work::new();
    write_parquet(&work.path("tx/a.parquet"), &transactions(0, 600), 300);
    let job = work.plan(work.spec("tx"), "scores").unwrap();
    let progress = Progress::default();
    progress.stop();
    assert!(matches!(job.run(ONE, &progress), Err(BatchError::Stopped)));
    assert!(
        JobStatus::read(work.path("scores"))
            .unwrap()
            .manifest
            .is_none()
    );
    let outcome = job.run(ONE, &Progress::default()).unwrap();
    assert_eq!(outcome.manifest.scored_rows, 600);
}

#[test]
fn a_plan_explains_what_is_bound_to_what() {
    let work = Work::new();
    write_parquet(&work.path("tx/a.parquet"), &transactions(0, 600), 300);
    let explanation = work
        .plan(work.spec("tx"), "scores")
        .unwrap()
        .explain()
        .unwrap();
    assert_eq!(
        (explanation.files, explanation.rows, explanation.units),
        (1, 600, 1)
    );
    let amount = (
        "amount number".to_owned(),
        "column amount (Float64)".to_owned(),
    );
    assert!(explanation.binding.contains(&amount));
    assert!(
        explanation
            .output
            .contains(&("score".to_owned(), "Float64".to_owned()))
    );
    assert_eq!(explanation.sample.unwrap().rows, 600);
    assert!(!work.path("scores").exists());
}

#[test]
fn an_output_folder_within_the_input_is_no_input() {
    let work = Work::new();
    write_parquet(&work.path("tx/a.parquet"), &transactions(0, 600), 300);
    work.run(work.spec("tx"), "tx/scores", ONE);
    let again = work.run(work.spec("tx"), "tx/scores", ONE);
    assert_eq!((again.manifest.rows, again.units_run), (600, 0));
}
