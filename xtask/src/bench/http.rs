//! REST: requests per second and latency beside a bare echo server and a naive inference server.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::Effort;
use super::client::Load;
use super::contestant::{Contestant, compare, example};
use super::report::Section;
use crate::demo::Example;
use crate::root;

/// A comparison: what is asked, by how many connections, and whether the naive server takes part.
pub(super) struct Case {
    pub(super) title: &'static str,
    pub(super) model: &'static str,
    pub(super) rows: usize,
    pub(super) binary: bool,
    pub(super) connections: usize,
    pub(super) naive: bool,
}

const CASES: [Case; 6] = [
    Case {
        title: "digits, 1 JSON row",
        model: "digits",
        rows: 1,
        binary: false,
        connections: 1,
        naive: false,
    },
    Case {
        title: "digits, 1 JSON row",
        model: "digits",
        rows: 1,
        binary: false,
        connections: 16,
        naive: true,
    },
    Case {
        title: "digits, 1 JSON row",
        model: "digits",
        rows: 1,
        binary: false,
        connections: 64,
        naive: false,
    },
    Case {
        title: "digits, 32 JSON rows",
        model: "digits",
        rows: 32,
        binary: false,
        connections: 16,
        naive: true,
    },
    Case {
        title: "digits, 32 binary rows",
        model: "digits",
        rows: 32,
        binary: true,
        connections: 16,
        naive: false,
    },
    Case {
        title: "fraud, 1 JSON row",
        model: "fraud",
        rows: 1,
        binary: false,
        connections: 16,
        naive: false,
    },
];

/// Measures all cases.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "REST",
        &[
            "load",
            "connections",
            "server",
            "requests/s",
            "p50 µs",
            "p99 µs",
            "tidegate's rate",
            "its p50",
            "its p99",
        ],
    );
    let tidegate = Contestant::tidegate("tidegate")?;
    for case in &CASES {
        let load = case.load()?;
        let answer =
            std::env::temp_dir().join(format!("tidegate-bench-answer-{}", std::process::id()));
        std::fs::write(&answer, tidegate.ask(&load)?)?;
        let answer = answer
            .to_str()
            .context("the temporary folder's name is UTF-8")?;
        let echo = Contestant::baseline("echo", &["echo", "--answer", answer])?;
        let model = example(case.model);
        let model = model.to_str().context("the checkout's path is UTF-8")?;
        let naive = case
            .naive
            .then(|| Contestant::baseline("naive", &["naive", "--model", model]))
            .transpose()?;
        let contestants: Vec<&Contestant> = [&tidegate, &echo].into_iter().chain(&naive).collect();
        for comparison in compare(&contestants, &load, effort)? {
            let named = [
                case.title.into(),
                case.connections.into(),
                comparison.name.into(),
            ];
            section.row(
                named
                    .into_iter()
                    .chain(comparison.cells())
                    .chain(comparison.ratio_cells())
                    .collect(),
            );
        }
    }
    Ok(section)
}

impl Case {
    pub(super) fn load(&self) -> Result<Load> {
        let example = Example::read(&root().join("examples/models"), self.model)?;
        let rows: Vec<&[String]> = (0..self.rows)
            .map(|row| example.rows[row].as_slice())
            .collect();
        let columns = rows[0].len();
        let (name, path) = (
            example.input_name(),
            format!("/v2/models/{}/infer", self.model),
        );
        let shape = format!("[{},{columns}]", self.rows);
        if self.binary {
            let bytes: Vec<u8> = rows
                .iter()
                .flat_map(|row| row.iter())
                .flat_map(|cell| cell.parse::<f32>().unwrap_or_default().to_le_bytes())
                .collect();
            let header = format!(
                r#"{{"inputs":[{{"name":"{name}","shape":{shape},"datatype":"FP32","parameters":{{"binary_data_size":{}}}}}],"parameters":{{"binary_data_output":true}}}}"#,
                bytes.len()
            );
            let headers = vec![
                (
                    "Content-Type".to_owned(),
                    "application/octet-stream".to_owned(),
                ),
                (
                    "Inference-Header-Content-Length".to_owned(),
                    header.len().to_string(),
                ),
            ];
            let body = [header.as_bytes(), &bytes].concat();
            return Ok(Load {
                path,
                body,
                headers,
                connections: self.connections,
                threads: self.connections.min(2),
            });
        }
        let mut body =
            format!(r#"{{"inputs":[{{"name":"{name}","shape":{shape},"datatype":"FP32","data":["#);
        for (at, cell) in rows.iter().flat_map(|row| row.iter()).enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(body, "{comma}{cell}");
        }
        body.push_str("]}]}");
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        Ok(Load {
            path,
            body: body.into_bytes(),
            headers,
            connections: self.connections,
            threads: self.connections.min(2),
        })
    }
}
