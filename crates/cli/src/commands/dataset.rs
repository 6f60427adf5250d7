//! `tidegate dataset`.

mod args;
mod local;
mod remote;
mod show;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tidegate_datasets::{DatasetDiff, DatasetQuery, DatasetRecord, DatasetReference, sha256};

pub(super) use self::args::Dataset;
use self::args::{Create, DatasetCommand, Export};
use self::local::LocalDatasets;
use self::remote::RemoteDatasets;
use crate::client::now_ms;
use crate::options::ChosenPlace;
use crate::output::{eprint_line, print_json, print_line};

/// Where data sets are: with a server, or in a folder of this machine.
enum DatasetPlace {
    Server(RemoteDatasets),
    Folder(Box<LocalDatasets>),
}

impl Dataset {
    pub(super) fn run(self) -> Result<ExitCode> {
        let chosen = self
            .place
            .choose(|access| access.config.registry.database(access.data()))?;
        let place = match chosen {
            ChosenPlace::Server(url) => DatasetPlace::Server(RemoteDatasets { url }),
            ChosenPlace::Database(access) => {
                DatasetPlace::Folder(Box::new(LocalDatasets::open(*access)?))
            }
        };
        place.run(&self.command, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl DatasetPlace {
    fn run(&self, command: &DatasetCommand, json: bool) -> Result<()> {
        match command {
            DatasetCommand::Create(args) => self.run_create(args, json),
            DatasetCommand::List { name } => self.run_list(name.as_deref(), json),
            DatasetCommand::Show { dataset } => show::print(&self.show(dataset)?, json),
            DatasetCommand::Diff { from, to } => self.run_diff(from, to, json),
            DatasetCommand::Export(args) => self.run_export(args),
            DatasetCommand::Delete { dataset } => self.run_delete(dataset),
        }
    }

    fn run_create(&self, args: &Create, json: bool) -> Result<()> {
        let now_ms = now_ms();
        let query = DatasetQuery {
            endpoint: args.endpoint.clone(),
            version: args.version.clone(),
            from_ms: args.from.at_ms(now_ms),
            to_ms: args.to.as_ref().map_or(now_ms, |to| to.at_ms(now_ms)),
            labelled: args.labelled,
        };
        let (record, created) = match self {
            Self::Server(server) => server.create(&query)?,
            Self::Folder(folder) => folder.create(query)?,
        };
        if json {
            print_json(&record)?;
        } else {
            print_line!("{} sha256:{}", record.reference(), record.manifest.digest);
        }
        // Standard output has one line and nothing else, so that scripts can read it.
        if !created {
            eprint_line!("there already was a data set with this content");
        }
        Ok(())
    }

    fn run_list(&self, name: Option<&str>, json: bool) -> Result<()> {
        let mut records = match self {
            Self::Server(server) => server.list()?,
            Self::Folder(folder) => folder.list()?,
        };
        records.retain(|record| name.is_none_or(|name| record.name == name));
        show::print_list(&records, json)
    }

    fn run_diff(&self, from: &DatasetReference, to: &DatasetReference, json: bool) -> Result<()> {
        let (from, to) = (self.show(from)?, self.show(to)?);
        show::print_diff(&DatasetDiff::new(&from, &to), json)
    }

    fn run_export(&self, args: &Export) -> Result<()> {
        let record = self.show(&args.dataset)?;
        if args.output.exists() && !args.force {
            bail!("{} exists: --force replaces it", args.output.display());
        }
        let mut content: Box<dyn Read> = match self {
            Self::Server(server) => server.read(&record)?,
            Self::Folder(folder) => folder.read(&record)?,
        };
        write_verified(&mut content, &args.output, &record.manifest.digest)?;
        let (rows, path) = (record.manifest.rows, args.output.display());
        print_line!("{path}: {rows} rows of {}", record.reference());
        Ok(())
    }

    fn run_delete(&self, reference: &DatasetReference) -> Result<()> {
        match self {
            Self::Server(server) => server.delete(reference)?,
            Self::Folder(folder) => folder.delete(reference)?,
        }
        print_line!("{reference} is deleted");
        Ok(())
    }

    fn show(&self, reference: &DatasetReference) -> Result<DatasetRecord> {
        match self {
            Self::Server(server) => server.show(reference),
            Self::Folder(folder) => folder.show(reference),
        }
    }
}

/// Writes a file that appears as a whole, and only if its content has the digest.
fn write_verified(content: &mut dyn Read, output: &Path, digest: &str) -> Result<()> {
    let shown = output.display();
    let mut unfinished = output.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = Path::new(&unfinished);
    let mut file = File::create(unfinished).with_context(|| format!("cannot write {shown}"))?;
    io::copy(content, &mut file).with_context(|| format!("cannot write {shown}"))?;
    file.sync_all()?;
    let found = sha256(&mut File::open(unfinished)?)?;
    if found != digest {
        // It is of no use, and takes room.
        let _ = fs::remove_file(unfinished);
        bail!("what came has the digest {found} instead of {digest}: nothing was written");
    }
    fs::rename(unfinished, output).with_context(|| format!("cannot write {shown}"))
}
