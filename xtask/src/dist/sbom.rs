//! The software bill of materials, as CycloneDX 1.5 (<https://cyclonedx.org/docs/1.5/json/>).

use anyhow::Result;
use serde_json::{Value, json};

use super::VERSION;
use super::crates::Crate;

/// All crates in the binary.
pub(super) fn cyclonedx(crates: &[Crate]) -> Result<Vec<u8>> {
    let components: Vec<Value> = crates.iter().map(component).collect();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": format!("pkg:cargo/tidegate@{VERSION}"),
                "name": "tidegate",
                "version": VERSION,
                "licenses": [{"expression": env!("CARGO_PKG_LICENSE")}],
            },
        },
        "components": components,
    });
    Ok(serde_json::to_vec_pretty(&document)?)
}

fn component(of: &Crate) -> Value {
    let package_url = format!("pkg:cargo/{}@{}", of.name, of.version);
    let mut component = json!({
        "type": "library",
        "bom-ref": package_url,
        "name": of.name,
        "version": of.version,
        "purl": package_url,
    });
    if let Some(licence) = &of.licence {
        // Some old packages write "MIT/Apache-2.0", which SPDX writes with OR.
        component["licenses"] = json!([{"expression": licence.replace('/', " OR ")}]);
    }
    if let Some(sha256) = &of.sha256 {
        component["hashes"] = json!([{"alg": "SHA-256", "content": sha256}]);
    }
    if let Some(repository) = &of.repository {
        component["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
    }
    component
}
