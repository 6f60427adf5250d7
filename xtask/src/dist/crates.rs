//! The crates that are in the binary, as cargo resolved them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{cargo, root};

/// A crate in the binary.
pub(super) struct Crate {
    pub(super) name: String,
    pub(super) version: String,
    /// An SPDX expression.
    pub(super) licence: Option<String>,
    pub(super) authors: Vec<String>,
    pub(super) repository: Option<String>,
    /// Where its sources lie.
    pub(super) folder: PathBuf,
    /// SHA-256 of the package; none for crates of this workspace.
    pub(super) sha256: Option<String>,
}

/// The crates that are compiled into `tidegate` for a target, sorted by name. Build scripts, procedural macros'
/// own dependencies and crates of tests are left out.
pub(super) fn of_binary(target: &str) -> Result<Vec<Crate>> {
    let metadata = metadata(target)?;
    let linked = metadata.linked_into("tidegate")?;
    let checksums = lock_file_checksums()?;
    let mut crates = Vec::new();
    for package in metadata.packages {
        if !linked.contains(&package.id) {
            continue;
        }
        let key = (package.name.clone(), package.version.clone());
        let manifest = PathBuf::from(package.manifest_path);
        crates.push(Crate {
            sha256: checksums.get(&key).cloned(),
            folder: manifest
                .parent()
                .context("a manifest is in a folder")?
                .to_owned(),
            name: package.name,
            version: package.version,
            licence: package.license,
            authors: package.authors,
            repository: package.repository,
        });
    }
    crates.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(crates)
}

/// What `cargo metadata` prints, as far as it is used.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    authors: Vec<String>,
    repository: Option<String>,
    manifest_path: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

/// `kind` is null for a normal dependency, `dev` or `build` for the others.
#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

fn metadata(target: &str) -> Result<Metadata> {
    let arguments = [
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        target,
    ];
    let output = cargo(&arguments).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_slice(&output.stdout).context("cannot read the output of cargo metadata")
}

impl Metadata {
    /// Ids of a package and of all that it depends on when it runs.
    fn linked_into(&self, name: &str) -> Result<BTreeSet<String>> {
        let mut dependencies: BTreeMap<&str, &[Dependency]> = BTreeMap::new();
        for node in &self.resolve.nodes {
            dependencies.insert(&node.id, &node.deps);
        }
        let package = self.packages.iter().find(|package| package.name == name);
        let mut to_visit = vec![package.context("no such package")?.id.as_str()];
        let mut linked = BTreeSet::new();
        while let Some(id) = to_visit.pop() {
            if !linked.insert(id.to_owned()) {
                continue;
            }
            let of_package = dependencies.get(id).copied().unwrap_or_default();
            let normal = of_package
                .iter()
                .filter(|dependency| dependency.is_normal());
            to_visit.extend(normal.map(|dependency| dependency.pkg.as_str()));
        }
        Ok(linked)
    }
}

impl Dependency {
    fn is_normal(&self) -> bool {
        self.dep_kinds.iter().any(|kind| kind.kind.is_none())
    }
}

/// The checksum of every package in `Cargo.lock`, by name and version.
fn lock_file_checksums() -> Result<BTreeMap<(String, String), String>> {
    let lock = std::fs::read_to_string(root().join("Cargo.lock"))?;
    let mut checksums = BTreeMap::new();
    for package in lock.split("[[package]]") {
        let name = lock_file_value(package, "name");
        let version = lock_file_value(package, "version");
        if let Some(sha256) = lock_file_value(package, "checksum") {
            checksums.insert(
                (name.unwrap_or_default(), version.unwrap_or_default()),
                sha256,
            );
        }
    }
    Ok(checksums)
}

/// The value of a line such as `name = "serde"`.
fn lock_file_value(package: &str, key: &str) -> Option<String> {
    let mut lines = package.lines();
    let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
    Some(value.trim_matches('"').to_owned())
}
