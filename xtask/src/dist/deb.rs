//! The package for Debian and Ubuntu: deb(5), deb-control(5).

use std::fmt::Write;

use anyhow::{Context, Result, bail};

use super::archive::{gzip, pack};
use super::file::PackedFile;
use super::{Release, VERSION};
use crate::root;

/// Files that an administrator changes and that updates keep.
const CONFIGURATION: [(&str, &str); 2] = [
    ("etc/tidegate/tidegate.toml", "packaging/deb/tidegate.toml"),
    ("etc/default/tidegate", "packaging/deb/default"),
];

/// Such as `tidegate_0.1.0_amd64.deb`.
pub(super) fn file_name(release: &Release) -> Result<String> {
    Ok(format!("tidegate_{VERSION}_{}.deb", architecture(release)?))
}

/// The package: an `ar` archive of the format's version, the control files, and the data.
pub(super) fn deb(release: &Release) -> Result<Vec<u8>> {
    let data = data_files(release)?;
    let control = control_files(release, &data)?;
    let mut deb = b"!<arch>\n".to_vec();
    append_member(&mut deb, "debian-binary", b"2.0\n", release)?;
    append_member(
        &mut deb,
        "control.tar.gz",
        &pack(&control, "./", release)?,
        release,
    )?;
    append_member(
        &mut deb,
        "data.tar.gz",
        &pack(&data, "./", release)?,
        release,
    )?;
    Ok(deb)
}

/// Debian's name of the processor.
fn architecture(release: &Release) -> Result<&'static str> {
    match release.binary.processor() {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no name of Debian for the processor {other} is known"),
    }
}

fn data_files(release: &Release) -> Result<Vec<PackedFile>> {
    let unit = read("packaging/tidegate.service")?;
    let mut files = vec![
        PackedFile::executable("usr/bin/tidegate", release.binary.contents.clone()),
        PackedFile::readable("usr/lib/systemd/system/tidegate.service", unit),
        PackedFile::readable("usr/share/doc/tidegate/copyright", copyright()),
    ];
    for (path, source) in CONFIGURATION {
        files.push(PackedFile::readable(path, read(source)?));
    }
    let documents = &release.documents;
    for text in &documents.texts {
        // Debian has licences in the file `copyright`, and compresses long texts.
        if text.path == "LICENSE" {
            continue;
        }
        let path = format!("usr/share/doc/tidegate/{}.gz", text.path);
        files.push(PackedFile::readable(path, gzip(&text.contents, release)?));
    }
    for page in &documents.man_pages {
        let path = format!("usr/share/man/man1/{}.gz", page.path);
        files.push(PackedFile::readable(path, gzip(&page.contents, release)?));
    }
    for completion in &documents.completions {
        let path = format!("usr/share/{}", completion.path);
        files.push(PackedFile::readable(path, completion.contents.clone()));
    }
    Ok(files)
}

fn copyright() -> String {
    "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
     Upstream-Name: tidegate\n\
     Source: https://github.com/tidegate/tidegate\n\n\
     Files: *\n\
     Copyright: the contributors of Tidegate\n\
     License: Apache-2.0\n \
     On Debian systems the text is in /usr/share/common-licenses/Apache-2.0. The licences of the\n \
     libraries in the program are in THIRD-PARTY-LICENSES.gz in this folder.\n"
        .to_owned()
}

fn control_files(release: &Release, data: &[PackedFile]) -> Result<Vec<PackedFile>> {
    let mut conffiles = String::new();
    for (path, _) in CONFIGURATION {
        writeln!(conffiles, "/{path}")?;
    }
    let mut files = vec![
        PackedFile::readable("control", control(release, data)?),
        PackedFile::readable("conffiles", conffiles),
    ];
    for script in ["postinst", "prerm", "postrm"] {
        let source = read(&format!("packaging/deb/{script}"))?;
        files.push(PackedFile::executable(script, source));
    }
    Ok(files)
}

fn control(release: &Release, data: &[PackedFile]) -> Result<String> {
    let bytes: usize = data.iter().map(|file| file.contents.len()).sum();
    Ok(format!(
        "Package: tidegate\n\
         Version: {VERSION}\n\
         Architecture: {}\n\
         Maintainer: Tidegate <https://github.com/tidegate/tidegate>\n\
         Installed-Size: {}\n\
         Depends: {}\n\
         Section: net\n\
         Priority: optional\n\
         Homepage: https://github.com/tidegate/tidegate\n\
         Description: model server for production\n \
         Serves trained models over the Open Inference Protocol (REST and gRPC), with a\n \
         registry, objectives, alerts and a console. Models run on ONNX Runtime where its\n \
         shared library is installed, and on a portable engine elsewhere.\n",
        architecture(release)?,
        bytes.div_ceil(1024),
        depends(release)?,
    ))
}

/// The packages of the libraries that the binary is linked with.
fn depends(release: &Release) -> Result<String> {
    let (major, minor) = release.binary.glibc;
    let mut packages = vec!["adduser".to_owned(), format!("libc6 (>= {major}.{minor})")];
    for library in &release.binary.libraries {
        let name = library.split(".so").next().unwrap_or_default();
        match name {
            "libc" | "libm" | "libdl" | "libpthread" | "librt" => {}
            name if name.starts_with("ld-linux") => {}
            "libgcc_s" => packages.push("libgcc-s1".to_owned()),
            "libstdc++" => packages.push("libstdc++6".to_owned()),
            _ => bail!("no package of Debian for {library} is known"),
        }
    }
    Ok(packages.join(", "))
}

fn read(path: &str) -> Result<Vec<u8>> {
    std::fs::read(root().join(path)).with_context(|| format!("cannot read {path}"))
}

/// Appends a file to an archive of `ar`: a header of 60 bytes, the contents, and a byte that makes the length even.
fn append_member(ar: &mut Vec<u8>, name: &str, contents: &[u8], release: &Release) -> Result<()> {
    use std::io::Write;
    let (time_s, size) = (release.time_s, contents.len());
    writeln!(
        ar,
        "{name:<16}{time_s:<12}{:<6}{:<6}{:<8}{size:<10}`",
        0, 0, "100644"
    )?;
    ar.extend_from_slice(contents);
    if size % 2 == 1 {
        ar.push(b'\n');
    }
    Ok(())
}
