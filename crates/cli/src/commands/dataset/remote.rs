//! Data sets of a server.

use std::io::Read;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;
use tidegate_datasets::{DatasetQuery, DatasetRecord, DatasetReference};

use crate::client;

/// A server that makes data sets.
pub(super) struct RemoteDatasets {
    pub(super) url: String,
}

#[derive(Deserialize)]
struct Created {
    created: bool,
    dataset: DatasetRecord,
}

#[derive(Deserialize)]
struct Listed {
    datasets: Vec<DatasetRecord>,
}

impl RemoteDatasets {
    pub(super) fn create(&self, query: &DatasetQuery) -> Result<(DatasetRecord, bool)> {
        let path = format!("/api/datasets/{}", query.endpoint);
        let body = json!({
            "version": query.version, "from_ms": query.from_ms, "to_ms": query.to_ms,
            "labelled": query.labelled,
        });
        let text = client::post_json(&self.url, &path, body)?;
        let created: Created =
            serde_json::from_str(&text).context("the response is not a data set")?;
        Ok((created.dataset, created.created))
    }

    pub(super) fn list(&self) -> Result<Vec<DatasetRecord>> {
        let text = client::get(&self.url, "/api/datasets")?;
        let listed: Listed =
            serde_json::from_str(&text).context("the response is not a list of data sets")?;
        Ok(listed.datasets)
    }

    pub(super) fn show(&self, reference: &DatasetReference) -> Result<DatasetRecord> {
        let text = client::get(&self.url, &path_of(reference))?;
        serde_json::from_str(&text).context("the response is not a data set")
    }

    pub(super) fn read(&self, record: &DatasetRecord) -> Result<Box<dyn Read>> {
        let path = format!("/api/datasets/{}/{}/data", record.name, record.version);
        client::read(&self.url, &path)
    }

    pub(super) fn delete(&self, reference: &DatasetReference) -> Result<()> {
        client::delete(&self.url, &path_of(reference))
    }
}

fn path_of(reference: &DatasetReference) -> String {
    format!("/api/datasets/{}/{}", reference.name, reference.version)
}
