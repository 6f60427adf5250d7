//! The Python wheel (<https://packaging.python.org/en/latest/specifications/binary-distribution-format/>).

use std::fmt::Write;
use std::io::{Cursor, Write as _};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::file::PackedFile;
use super::{Release, VERSION};
use crate::root;

/// The oldest release of ONNX Runtime with the API that the engine asks for (`api-22` of `ort`).
const OLDEST_ONNXRUNTIME: &str = "1.22";

/// Such as `tidegate-0.1.0-py3-none-manylinux_2_34_x86_64.whl`.
pub(super) fn file_name(release: &Release) -> String {
    format!("tidegate-{VERSION}-{}.whl", tag(release))
}

/// The package `tidegate` with the binary in it, and a command that starts it.
pub(super) fn wheel(release: &Release) -> Result<Vec<u8>> {
    let information = format!("tidegate-{VERSION}.dist-info");
    let mut files = vec![
        python_file("__init__.py")?,
        python_file("__main__.py")?,
        PackedFile::executable("tidegate/bin/tidegate", release.binary.contents.clone()),
        PackedFile::readable(format!("{information}/METADATA"), metadata()?),
        PackedFile::readable(format!("{information}/WHEEL"), wheel_file(release)),
        PackedFile::readable(
            format!("{information}/entry_points.txt"),
            "[console_scripts]\ntidegate = tidegate.__main__:main\n",
        ),
    ];
    for text in &release.documents.texts {
        if text.path.contains("LICENSE") {
            let path = format!("{information}/licenses/{}", text.path);
            files.push(PackedFile::readable(path, text.contents.clone()));
        }
    }
    // The list of all files comes last and lists itself without a checksum.
    let record = format!("{information}/RECORD");
    let list = record_of(&files, &record)?;
    files.push(PackedFile::readable(record, list));
    zip_files(&files, release)
}

/// Any Python 3, no ABI of Python, and a C library at least as new as the binary needs.
fn tag(release: &Release) -> String {
    let (major, minor) = release.binary.glibc;
    let processor = release.binary.processor();
    format!("py3-none-manylinux_{major}_{minor}_{processor}")
}

fn python_file(name: &str) -> Result<PackedFile> {
    let source = root().join("packaging/wheel").join(name);
    let contents = std::fs::read(&source).with_context(|| format!("cannot read {name}"))?;
    Ok(PackedFile::readable(format!("tidegate/{name}"), contents))
}

fn metadata() -> Result<String> {
    let readme = std::fs::read_to_string(root().join("README.md"))?;
    Ok(format!(
        "Metadata-Version: 2.4\n\
         Name: tidegate\n\
         Version: {VERSION}\n\
         Summary: Model server for production: one binary, Open Inference Protocol, registry, objectives, alerts\n\
         License-Expression: Apache-2.0\n\
         License-File: LICENSE\n\
         License-File: THIRD-PARTY-LICENSES\n\
         Project-URL: Source, https://github.com/tidegate/tidegate\n\
         Requires-Python: >=3.9\n\
         Requires-Dist: onnxruntime>={OLDEST_ONNXRUNTIME}\n\
         Description-Content-Type: text/markdown\n\n\
         {readme}"
    ))
}

fn wheel_file(release: &Release) -> String {
    let tag = tag(release);
    format!("Wheel-Version: 1.0\nGenerator: xtask {VERSION}\nRoot-Is-Purelib: false\nTag: {tag}\n")
}

fn record_of(files: &[PackedFile], record: &str) -> Result<String> {
    let mut list = String::new();
    for file in files {
        let digest = base64_url(&Sha256::digest(&file.contents));
        writeln!(
            list,
            "{},sha256={digest},{}",
            file.path,
            file.contents.len()
        )?;
    }
    writeln!(list, "{record},,")?;
    Ok(list)
}

/// Base64 for URLs without padding (RFC 4648, section 5).
fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        // n bytes are n + 1 characters of 6 bits.
        for position in 0..=chunk.len() {
            let index = (bits >> (18 - 6 * position)) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

/// Without times: they are 1980 for every file.
fn zip_files(files: &[PackedFile], release: &Release) -> Result<Vec<u8>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(i64::from(release.compression)));
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for file in files {
        writer.start_file(&file.path, options.unix_permissions(file.mode))?;
        writer.write_all(&file.contents)?;
    }
    Ok(writer.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::base64_url;

    #[test]
    fn base64_is_that_of_the_rfc_without_padding() {
        // RFC 4648, section 10.
        let vectors = [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in vectors {
            assert_eq!(base64_url(bytes.as_bytes()), text);
        }
        assert_eq!(base64_url(&[0xfb, 0xff]), "-_8");
    }
}
