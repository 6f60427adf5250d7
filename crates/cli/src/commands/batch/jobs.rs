//! The jobs that were begun on this machine: where their output folders are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::registry_access::RegistryAccess;

/// Digits of a job's id.
const ID_DIGITS: usize = 12;

/// A job that was begun.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JobEntry {
    pub(super) id: String,
    pub(super) output: PathBuf,
}

/// Notes a job, and gives its id: the same folder always has the same.
pub(super) fn note(access: &RegistryAccess, output: &Path) -> Result<String> {
    let folder = folder(access);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let digest = tidegate_registry::Digest::of(output.as_os_str().as_encoded_bytes());
    let id = digest.hex()[..ID_DIGITS].to_owned();
    let entry = JobEntry {
        id: id.clone(),
        output: output.to_owned(),
    };
    let path = folder.join(format!("{id}.json"));
    let text = serde_json::to_string_pretty(&entry)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(id)
}

/// All jobs, by the names of their folders.
pub(super) fn all(access: &RegistryAccess) -> Result<Vec<JobEntry>> {
    let folder = folder(access);
    let Ok(files) = std::fs::read_dir(&folder) else {
        return Ok(Vec::new());
    };
    let mut jobs = Vec::new();
    for file in files {
        let path = file?.path();
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let entry: JobEntry = serde_json::from_str(&text)
            .with_context(|| format!("{} does not describe a job", path.display()))?;
        jobs.push(entry);
    }
    jobs.sort_by(|one, two| one.output.cmp(&two.output));
    Ok(jobs)
}

/// The output folder that a person means: a path, or the id of a job.
pub(super) fn find(access: &RegistryAccess, job: &str) -> Result<PathBuf> {
    if Path::new(job).is_dir() {
        return Ok(std::path::absolute(job)?);
    }
    match all(access)?.into_iter().find(|entry| entry.id == job) {
        Some(entry) => Ok(entry.output),
        None => {
            bail!("{job} is neither a folder nor the id of a job; `tidegate batch list` has these")
        }
    }
}

fn folder(access: &RegistryAccess) -> PathBuf {
    access.data().join("batch")
}
