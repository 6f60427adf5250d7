//! What a data set has, and what it was made from.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_store::Dataset;

use crate::columns::LabelKind;
use crate::{DatasetError, LabelTarget};

/// Which captured predictions become a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetQuery {
    /// The endpoint that predicted.
    pub endpoint: String,
    /// Only what this version answered.
    #[serde(default)]
    pub version: Option<String>,
    /// The earliest time of a prediction, in milliseconds since 1970.
    pub from_ms: u64,
    /// The first time after the latest, in milliseconds since 1970.
    pub to_ms: u64,
    /// Only rows that have a label.
    #[serde(default)]
    pub labelled: bool,
}

/// The description beside the file of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetManifest {
    /// The form of this description: 1.
    pub format: u32,
    /// The SHA-256 of the file, in hexadecimal digits.
    pub digest: String,
    /// Rows.
    pub rows: u64,
    /// Rows that have a label.
    pub labels: u64,
    /// What the file takes, in bytes.
    pub bytes: u64,
    /// The columns in their order.
    pub columns: Vec<DatasetColumn>,
    /// What the column `label` has.
    pub label: LabelKind,
    /// What labels were compared with, if that was the same for all versions.
    pub target: Option<LabelTarget>,
    /// What it was made from.
    pub lineage: DatasetLineage,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetColumn {
    /// Its name.
    pub name: String,
    /// Its type, as Arrow names it.
    pub r#type: String,
}

/// What a data set was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetLineage {
    /// Which predictions were asked for.
    pub query: DatasetQuery,
    /// The captured files that were read.
    pub captured_files: u64,
    /// Each of them. The description in the database leaves them out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub captures: Vec<CapturedFile>,
    /// The SHA-256 of the list of files, in hexadecimal digits.
    pub captures_digest: String,
    /// The versions whose predictions it has.
    pub versions: Vec<String>,
    /// Captured rows of the window that were left out because their request was not answered.
    pub unanswered: u64,
    /// Labels that are none of the classes, or no number where one is predicted.
    pub unusable_labels: u64,
    /// Columns that were left out because their names are private by now.
    pub left_out_columns: Vec<String>,
    /// The redaction of the configuration when it was made.
    pub redaction: Value,
    /// The database of the labels, without a password.
    pub database: String,
    /// The data folder that has the file.
    pub place: String,
    /// The id of the database that has its record; empty for those of earlier releases.
    #[serde(default)]
    pub records: String,
    /// The build that made it.
    pub tidegate: String,
}

/// A captured file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedFile {
    /// Its path in the folder of captures.
    pub path: String,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// Rows that it gave to the data set.
    pub rows: u64,
}

/// A data set as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetRecord {
    /// Its name.
    pub name: String,
    /// Its number, from 1.
    pub version: i64,
    /// Who made it.
    pub created_by: String,
    /// When, in milliseconds since 1970.
    pub created_ms: i64,
    /// When its file was removed.
    pub deleted_ms: Option<i64>,
    /// The id of the data folder that has its file; empty for those of earlier releases.
    #[serde(default)]
    pub place_id: String,
    /// Its columns and lineage.
    #[serde(flatten)]
    pub manifest: DatasetManifest,
}

impl DatasetRecord {
    /// `fraud@3`.
    pub fn reference(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

impl TryFrom<Dataset> for DatasetRecord {
    type Error = DatasetError;

    fn try_from(row: Dataset) -> Result<Self, Self::Error> {
        let manifest = serde_json::from_str(&row.manifest).map_err(|error| {
            let reference = row.reference();
            DatasetError::Refused(format!("the record of {reference} cannot be read: {error}"))
        })?;
        Ok(Self {
            name: row.name,
            version: row.version,
            created_by: row.created_by,
            created_ms: row.created_ms,
            deleted_ms: row.deleted_ms,
            place_id: row.place_id,
            manifest,
        })
    }
}
