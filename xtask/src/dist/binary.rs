//! The stripped binary, its line tables, and what it needs of the system.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::VERSION;
use crate::succeed;

/// The stripped binary.
pub(super) struct Binary {
    pub(super) contents: Vec<u8>,
    /// The file with the line tables.
    pub(super) debug: PathBuf,
    /// Such as `x86_64-unknown-linux-gnu`.
    pub(super) target: String,
    /// Such as `libc.so.6`.
    pub(super) libraries: Vec<String>,
    /// The oldest version of the C library that has all that the binary uses, such as `(2, 34)`.
    pub(super) glibc: (u32, u32),
}

impl Binary {
    /// Takes the line tables out of a binary and keeps them in a file in `out`. A debugger, and the backtrace of
    /// a panic, find them when that file lies beside the binary.
    pub(super) fn strip(built: &Path, out: &Path) -> Result<Self> {
        let target = host_target()?;
        let debug = out.join(format!("tidegate-{VERSION}-{target}.debug"));
        let stripped = out.join(format!("stripped-{}", std::process::id()));
        let separate = ["--only-keep-debug", "--compress-debug-sections=zlib"];
        succeed(
            Command::new("objcopy")
                .args(separate)
                .arg(built)
                .arg(&debug),
        )?;
        let link = format!("--add-gnu-debuglink={}", debug.display());
        let mut objcopy = Command::new("objcopy");
        succeed(
            objcopy
                .args(["--strip-all", &link])
                .arg(built)
                .arg(&stripped),
        )?;
        let contents = std::fs::read(&stripped);
        let needs = dynamic_section(&stripped);
        std::fs::remove_file(&stripped)?;
        let needs = needs?;
        Ok(Self {
            contents: contents?,
            debug,
            target,
            libraries: libraries(&needs),
            glibc: newest_glibc(&needs).context("the binary is not linked with glibc")?,
        })
    }

    /// The processor's name in the target, such as `x86_64`.
    pub(super) fn processor(&self) -> &str {
        self.target.split('-').next().unwrap_or_default()
    }
}

/// The target that cargo builds for here.
fn host_target() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not print its host")?.to_owned())
}

fn dynamic_section(binary: &Path) -> Result<String> {
    let output = Command::new("objdump").arg("-p").arg(binary).output()?;
    if !output.status.success() {
        bail!("objdump cannot read {}", binary.display());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Lines such as `  NEEDED               libc.so.6`.
fn libraries(objdump: &str) -> Vec<String> {
    let mut libraries = Vec::new();
    for line in objdump.lines() {
        if let Some(library) = line.trim().strip_prefix("NEEDED") {
            libraries.push(library.trim().to_owned());
        }
    }
    libraries
}

/// Lines such as `    0x069691b4 0x00 07 GLIBC_2.34`. `GLIBC_ABI_…` and `GLIBC_PRIVATE` are not versions.
fn newest_glibc(objdump: &str) -> Option<(u32, u32)> {
    let words = objdump.split_whitespace();
    let versions = words.filter_map(|word| word.strip_prefix("GLIBC_"));
    versions.filter_map(major_and_minor).max()
}

fn major_and_minor(version: &str) -> Option<(u32, u32)> {
    let (major, rest) = version.split_once('.')?;
    let minor = rest.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{libraries, newest_glibc};

    const OBJDUMP: &str = "
Dynamic Section:
  NEEDED               libgcc_s.so.1
  NEEDED               libc.so.6
  INIT                 0x0000000000003000

Version References:
  required from libc.so.6:
    0x09691a75 0x00 05 GLIBC_2.2.5
    0x069691b4 0x00 03 GLIBC_2.34
    0x06969189 0x00 02 GLIBC_2.9
    0x0963cf85 0x00 04 GLIBC_PRIVATE
";

    #[test]
    fn needed_libraries_are_read_from_objdump() {
        assert_eq!(libraries(OBJDUMP), ["libgcc_s.so.1", "libc.so.6"]);
    }

    #[test]
    fn newest_glibc_is_found_by_number_not_by_text() {
        assert_eq!(newest_glibc(OBJDUMP), Some((2, 34)));
    }
}
