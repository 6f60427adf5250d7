//! A manifest is read, written back the same, and refused where a key is misspelt.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use tidegate_core::{Category, Manifest};

const FULL: &str = r#"
schema = 1
name = "fraud"
artifact = "model.onnx"
license = "Apache-2.0"
baseline = "baseline.json"
tags = { team = "risk" }
warmup = [{ file = "samples/warm.json" }]

[[signature.inputs]]
name = "transaction"
datatype = "FP32"
shape = [-1, 2]
[[signature.inputs.columns]]
name = "amount"
unit = "EUR"
min = 0
max = 1e6
[[signature.inputs.columns]]
name = "country"
categories = [1, 2.5, "other"]

[[golden]]
file = "golden.json"
tolerance = { absolute = 1e-6 }

[lineage]
commit = "4f2c"
dataset = "transactions"
dataset_version = "2026-10"
parents = ["fraud:6"]
metrics = { auc = 0.97 }
"#;

#[test]
fn a_full_manifest_is_read_and_written_back_the_same() {
    let manifest: Manifest = toml::from_str(FULL).unwrap();
    let columns = &manifest.signature.inputs[0].columns;
    assert_eq!(
        (columns[0].unit.as_str(), columns[0].min, columns[0].max),
        ("EUR", Some(0.0), Some(1e6))
    );
    let text = Category::Text("other".to_owned());
    assert_eq!(
        columns[1].categories,
        [Category::Integer(1), Category::Number(2.5), text]
    );
    assert_eq!(manifest.golden[0].tolerance.relative, 1e-4);
    let named: Vec<&str> = manifest.named_files().collect();
    assert_eq!(
        named,
        [
            "model.onnx",
            "samples/warm.json",
            "golden.json",
            "baseline.json"
        ]
    );
    let again: Manifest = toml::from_str(&toml::to_string(&manifest).unwrap()).unwrap();
    assert_eq!(again, manifest);
}

#[test]
fn a_misspelt_key_is_refused_wherever_it_stands() {
    for (key, misspelt) in [
        ("unit", "units"),
        ("commit", "comit"),
        ("absolute", "abs"),
        ("baseline", "base_line"),
    ] {
        let text = FULL.replacen(&format!("{key} ="), &format!("{misspelt} ="), 1);
        let error = toml::from_str::<Manifest>(&text).unwrap_err().to_string();
        assert!(
            error.contains("unknown field") && error.contains(misspelt),
            "{error}"
        );
    }
}
