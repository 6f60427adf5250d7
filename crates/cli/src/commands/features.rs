//! `tidegate features`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Error, Result, bail};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_features::{
    CsvColumns, Embedded, FeatureRow, RowsError, exact_json, read_csv, read_json_lines,
};

use crate::client;
use crate::options::ServerUrl;
use crate::output::{print_json_text, print_line, print_table, printable, timestamp};

/// Rows that are written at once.
const CHUNK_ROWS: usize = 1000;

/// Read and write the features of the embedded feature store
///
/// The commands ask a running server. With --data they use the store of a data folder itself, whether
/// or not a server runs on it.
#[derive(Debug, Args)]
pub(super) struct Features {
    #[command(subcommand)]
    command: FeaturesCommand,
    #[command(flatten)]
    server: ServerUrl,
    /// The data folder with the store, in place of a server
    #[arg(long, global = true, value_name = "FOLDER", conflicts_with = "url")]
    data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum FeaturesCommand {
    /// Write features of one entity
    Put(Put),
    /// Show the features of one entity
    Get(Get),
    /// Write the features of a file: .jsonl, or .csv with --view and --key
    Import(Import),
    /// Remove an entity, or all entities of a view
    Delete(Delete),
}

#[derive(Debug, Args)]
struct Entity {
    /// The view
    #[arg(value_name = "VIEW")]
    view: String,
    /// A join key of the entity: driver_id=7; a number in quotes is text
    #[arg(long, value_name = "KEY=VALUE")]
    entity: Vec<String>,
}

#[derive(Debug, Args)]
struct Put {
    #[command(flatten)]
    entity: Entity,
    /// Features: rate=0.5 city=Rome is_new=true
    #[arg(value_name = "FEATURE=VALUE", required = true)]
    features: Vec<String>,
    /// When the values were true [default: now]
    #[arg(long, value_name = "TIME")]
    event_time: Option<String>,
}

#[derive(Debug, Args)]
struct Get {
    #[command(flatten)]
    entity: Entity,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Import {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The view of all rows of a .csv file
    #[arg(long)]
    view: Option<String>,
    /// A column of a .csv file that is a join key
    #[arg(long = "key", value_name = "COLUMN")]
    keys: Vec<String>,
    /// The column of a .csv file with the time of each row [default: now]
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// A column of a .csv file that is text, though its values look like numbers
    #[arg(long = "text", value_name = "COLUMN")]
    texts: Vec<String>,
}

#[derive(Debug, Args)]
struct Delete {
    #[command(flatten)]
    entity: Entity,
    /// Remove all entities of the view
    #[arg(long, conflicts_with = "entity")]
    all: bool,
}

/// An answer of the server.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    written: u64,
    older: u64,
    deleted: u64,
    features: Vec<StoredFeature>,
}

#[derive(Deserialize, serde::Serialize)]
struct StoredFeature {
    feature: String,
    value: Value,
    event_ms: i64,
}

impl Features {
    pub(super) fn run(self) -> Result<ExitCode> {
        let target = Target::of(&self.server, self.data.as_deref())?;
        match self.command {
            FeaturesCommand::Put(args) => put(&target, args)?,
            FeaturesCommand::Get(args) => get(&target, &args)?,
            FeaturesCommand::Import(args) => import(&target, args)?,
            FeaturesCommand::Delete(args) => delete(&target, &args)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Where the store is.
enum Target {
    Server(String),
    Folder {
        store: Embedded,
        runtime: tokio::runtime::Runtime,
    },
}

impl Target {
    fn of(server: &ServerUrl, data: Option<&Path>) -> Result<Self> {
        let Some(data) = data else {
            return Ok(Self::Server(server.url()?));
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let store = Embedded::new(data.join(Embedded::FILE), Embedded::MAX_BYTES);
        Ok(Self::Folder { store, runtime })
    }

    fn put(&self, rows: &[FeatureRow]) -> Result<Answer> {
        match self {
            Self::Server(url) => {
                let text = client::put_json(url, "/api/features", json!({"rows": rows}))?;
                answer(&text)
            }
            Self::Folder { store, runtime } => {
                let now_ms = i64::try_from(client::now_ms()).unwrap_or(i64::MAX);
                let outcome = runtime.block_on(store.put(rows, now_ms))?;
                Ok(Answer {
                    written: outcome.written,
                    older: outcome.older,
                    ..Answer::default()
                })
            }
        }
    }

    fn get(&self, row: &FeatureRow) -> Result<Vec<StoredFeature>> {
        match self {
            Self::Server(url) => {
                let text = client::post_json(url, "/api/features/get", entity_body(row))?;
                Ok(answer(&text)?.features)
            }
            Self::Folder { store, runtime } => {
                let stored = runtime.block_on(store.get(row))?.into_iter();
                let features = stored.map(|stored| StoredFeature {
                    feature: stored.feature,
                    value: stored.value,
                    event_ms: stored.event_ms,
                });
                Ok(features.collect())
            }
        }
    }

    fn delete(&self, row: &FeatureRow) -> Result<u64> {
        match self {
            Self::Server(url) => {
                let text = client::post_json(url, "/api/features/delete", entity_body(row))?;
                Ok(answer(&text)?.deleted)
            }
            Self::Folder { store, runtime } => Ok(runtime.block_on(store.delete(row))?),
        }
    }
}

fn put(target: &Target, args: Put) -> Result<()> {
    let mut row = args.entity.row()?;
    for text in &args.features {
        let (name, value) = assignment(text)?;
        row.features.insert(name, value);
    }
    row.event_time = args.event_time;
    print_put(&target.put(&[row])?);
    Ok(())
}

fn get(target: &Target, args: &Get) -> Result<()> {
    let features = target.get(&args.entity.row()?)?;
    if args.json {
        print_json_text(&serde_json::to_string(&features)?);
        return Ok(());
    }
    if features.is_empty() {
        print_line!("no features");
        return Ok(());
    }
    let mut rows = vec![["FEATURE", "VALUE", "TIME"].map(str::to_owned)];
    for stored in features {
        let value = match &stored.value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        rows.push([stored.feature, value, timestamp(stored.event_ms)]);
    }
    print_table(&rows);
    Ok(())
}

fn import(target: &Target, args: Import) -> Result<()> {
    let shown = printable(&args.file.display().to_string());
    let file = File::open(&args.file).with_context(|| format!("cannot read {shown}"))?;
    let extension = args
        .file
        .extension()
        .and_then(|extension| extension.to_str());
    let total = match extension.unwrap_or_default() {
        "jsonl" => import_rows(target, read_json_lines(BufReader::new(file))),
        "csv" => {
            let view = args.view.context("a .csv file needs --view")?;
            if args.keys.is_empty() {
                bail!("a .csv file needs --key for each join key");
            }
            let columns = CsvColumns {
                view,
                keys: args.keys,
                time: args.time,
                texts: args.texts,
            };
            import_rows(target, read_csv(file, &columns))
        }
        other => bail!("features can be read from .jsonl and .csv files, not from {other:?}"),
    };
    print_put(&total.with_context(|| format!("cannot import {shown}"))?);
    Ok(())
}

fn import_rows(
    target: &Target,
    rows: impl Iterator<Item = Result<FeatureRow, RowsError>>,
) -> Result<Answer> {
    let mut total = Answer::default();
    let mut chunk = Vec::with_capacity(CHUNK_ROWS);
    for row in rows {
        chunk.push(row?);
        if chunk.len() == CHUNK_ROWS {
            total.add(&target.put(&chunk)?);
            chunk.clear();
        }
    }
    if !chunk.is_empty() {
        total.add(&target.put(&chunk)?);
    }
    Ok(total)
}

fn delete(target: &Target, args: &Delete) -> Result<()> {
    if args.entity.entity.is_empty() && !args.all {
        bail!("give the entity with --entity, or --all for the whole view");
    }
    let deleted = target.delete(&args.entity.row()?)?;
    print_line!("{deleted} values removed");
    Ok(())
}

fn print_put(answer: &Answer) {
    match answer.older {
        0 => print_line!("{} values written", answer.written),
        older => print_line!(
            "{} values written, {older} left out: the store has newer ones",
            answer.written
        ),
    }
}

fn answer(text: &str) -> Result<Answer> {
    let value = exact_json(text.as_bytes()).map_err(Error::msg)?;
    serde_json::from_value(value).context("the response cannot be read")
}

fn entity_body(row: &FeatureRow) -> Value {
    json!({"view": row.view, "entity": row.entity})
}

impl Answer {
    fn add(&mut self, other: &Self) {
        self.written += other.written;
        self.older += other.older;
    }
}

impl Entity {
    fn row(&self) -> Result<FeatureRow> {
        let mut row = FeatureRow {
            view: self.view.clone(),
            ..FeatureRow::default()
        };
        for text in &self.entity {
            let (key, value) = assignment(text)?;
            row.entity.insert(key, value);
        }
        Ok(row)
    }
}

/// `rate=0.5`: a number, a boolean, `null` or a text in quotes as JSON has them, and all else is text.
fn assignment(text: &str) -> Result<(String, Value)> {
    let (name, value) = text
        .split_once('=')
        .with_context(|| format!("{text:?} is not NAME=VALUE"))?;
    let json = exact_json(value.as_bytes()).ok();
    let json = json.filter(|json: &Value| !json.is_array() && !json.is_object());
    Ok((name.to_owned(), json.unwrap_or_else(|| value.into())))
}
