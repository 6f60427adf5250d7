//! Makes the packages of a release: archive, `.deb`, Python wheel, container build file, SBOM, checksums.

mod archive;
mod binary;
mod checksums;
mod containerfile;
mod crates;
mod deb;
mod documents;
mod file;
mod licences;
mod sbom;
mod wheel;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use self::binary::Binary;
use self::documents::Documents;
use crate::{cargo, root, succeed, target};

/// Where the packages come from and go to.
#[derive(Args)]
pub(crate) struct DistArgs {
    /// The folder for the packages
    #[arg(long, default_value = "dist")]
    out: PathBuf,
    /// Package this binary instead of building a release
    #[arg(long)]
    binary: Option<PathBuf>,
    /// From 0 (fast) to 9 (small)
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(0..=9))]
    compression: u32,
}

/// The version that all packages have.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What every package is made from.
struct Release {
    binary: Binary,
    documents: Documents,
    /// Seconds since 1970: the time of every file, so that the same commit makes the same packages.
    time_s: u64,
    compression: u32,
}

impl Release {
    /// The name of the archive without its extension, and of the folder in it.
    fn name(&self) -> String {
        format!("tidegate-{VERSION}-{}", self.binary.target)
    }
}

/// Builds the binary and makes all packages of it.
pub(crate) fn run(args: &DistArgs) -> Result<()> {
    let built = match &args.binary {
        Some(binary) => binary.clone(),
        None => build()?,
    };
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot create {}", args.out.display()))?;
    let out = args.out.canonicalize()?;
    let binary = Binary::strip(&built, &out)?;
    let crates = crates::of_binary(&binary.target)?;
    let sbom = sbom::cyclonedx(&crates)?;
    let release = Release {
        documents: Documents::collect(&built, &crates, &sbom)?,
        binary,
        time_s: commit_time_s(),
        compression: args.compression,
    };
    let mut made = vec![
        write(&out, &format!("tidegate-{VERSION}.cdx.json"), &sbom)?,
        write(
            &out,
            &format!("{}.tar.gz", release.name()),
            &archive::tar_gz(&release)?,
        )?,
        write(&out, &deb::file_name(&release)?, &deb::deb(&release)?)?,
        write(&out, &wheel::file_name(&release), &wheel::wheel(&release)?)?,
        write(
            &out,
            "Containerfile",
            containerfile::containerfile(&release)?.as_bytes(),
        )?,
    ];
    made.push(release.binary.debug.clone());
    checksums::write(&out, &made)?;
    Ok(())
}

fn build() -> Result<PathBuf> {
    succeed(&mut cargo(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "tidegate",
    ]))?;
    Ok(target().join("release/tidegate"))
}

fn write(folder: &Path, name: &str, contents: &[u8]) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, contents).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{} ({:.1} MB)", path.display(), contents.len() as f64 / 1e6);
    Ok(path)
}

/// The time of the commit. Outside a checkout of git it is 1980, the earliest time that a zip file can hold.
fn commit_time_s() -> u64 {
    const YEAR_1980_S: u64 = 315_532_800;
    let mut git = std::process::Command::new("git");
    let output = git
        .args(["log", "-1", "--format=%ct"])
        .current_dir(root())
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let time_s = text.ok().and_then(|text| text.trim().parse().ok());
    time_s.unwrap_or(YEAR_1980_S)
}
