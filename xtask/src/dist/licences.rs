//! The licences of everything in the binary, in one text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::crates::Crate;
use crate::root;

/// How far below a crate's folder licences of bundled C sources are looked for, as in
/// `zstd-sys/zstd/LICENSE` and `libmimalloc-sys/c_src/mimalloc/v3/LICENSE`.
const DEPTH: usize = 4;

/// The text of the MIT licence, for crates that name it and whose package does not carry it.
const MIT: &str = "\
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the \"Software\"), to deal in the Software without restriction, including without limitation
the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
";

/// A list of the crates with their licences, then every text once with the crates that it is for.
pub(super) fn third_party(crates: &[Crate]) -> Result<String> {
    let mut text = String::from("Crates in this program and their licences\n\n");
    let mut crates_of_text: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for of_others in crates.iter().filter(|one| one.sha256.is_some()) {
        let name = format!("{} {}", of_others.name, of_others.version);
        let licence = of_others.licence.as_deref();
        writeln!(
            text,
            "  {name}: {}",
            licence.unwrap_or("see its text below")
        )?;
        for licence in texts(of_others)? {
            crates_of_text
                .entry(licence)
                .or_default()
                .push(name.clone());
        }
    }
    for (licence, names) in crates_of_text {
        write!(
            text,
            "\n{}\n{}\n\n{licence}\n",
            "=".repeat(100),
            names.join(", ")
        )?;
    }
    Ok(text)
}

/// The texts in a crate's package. If it has none, the standard text of the licence that it names.
fn texts(of: &Crate) -> Result<Vec<String>> {
    let mut files = Vec::new();
    find_licences(&of.folder, DEPTH, &mut files)?;
    if files.is_empty() {
        return Ok(vec![standard_text(of)?]);
    }
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let bytes =
            std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        texts.push(
            String::from_utf8_lossy(&bytes)
                .trim_end()
                .replace("\r\n", "\n"),
        );
    }
    Ok(texts)
}

fn find_licences(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        let kind = entry.file_type()?;
        if kind.is_dir() && depth > 0 {
            find_licences(&entry.path(), depth - 1, found)?;
        } else if kind.is_file() && is_licence(&name) {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// Whether a file name, in lower case, is that of a licence. `license.rs` is code.
fn is_licence(name: &str) -> bool {
    let starts = [
        "license",
        "licence",
        "copying",
        "notice",
        "unlicense",
        "copyright",
    ];
    starts.iter().any(|start| name.starts_with(start)) && !name.ends_with(".rs")
}

fn standard_text(of: &Crate) -> Result<String> {
    let licence = of.licence.as_deref().unwrap_or_default();
    if licence.contains("Apache-2.0") {
        return Ok(std::fs::read_to_string(root().join("LICENSE"))?);
    }
    let holders = match of.authors.as_slice() {
        [] => format!("the authors of {}", of.name),
        authors => authors.join(", "),
    };
    let text = if licence.contains("MIT") { MIT } else { "" };
    Ok(format!("{licence}\n\nCopyright (c) {holders}\n\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::is_licence;

    #[test]
    fn licences_are_told_from_code_by_their_names() {
        for name in [
            "license",
            "license-mit",
            "licence.md",
            "copying",
            "notice.txt",
            "license.apache-2.0",
        ] {
            assert!(is_licence(name), "{name}");
        }
        for name in ["license.rs", "readme.md", "copy.rs"] {
            assert!(!is_licence(name), "{name}");
        }
    }
}
