//! What capture and drift cost: requests beside the same requests to a server without them.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Effort;
use super::gateway::{Contestant, case, compare};
use super::report::Section;
use crate::server::Server;
use crate::{root, succeed, target};

/// Measures servers that capture one of a hundred requests, and all of them, beside one that captures
/// none. Both watch the 30 columns of `fraud` for drift.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Quality",
        &[
            "requests",
            "requests/s",
            "rate to that of the plain server",
            "p99 to that of the plain server",
        ],
    );
    let folder =
        std::env::temp_dir().join(format!("tidegate-bench-quality-{}", std::process::id()));
    let outcome = measure(&folder, effort, &mut section);
    let _ = std::fs::remove_dir_all(&folder);
    outcome.map(|()| section)
}

fn measure(folder: &Path, effort: Effort, section: &mut Section) -> Result<()> {
    let binary = target().join("release/tidegate");
    let bundle = bundle_with_baseline(&binary, folder)?;
    let start = |rate: Option<f64>| {
        let name = rate.map_or_else(|| "plain".to_owned(), |rate| format!("rate-{rate}"));
        let config = folder.join(format!("{name}.toml"));
        let settings = rate.map(|rate| {
            format!(
                "[capture]\ndrift_window_s = 10\n\n[[capture.endpoint]]\nname = \"fraud\"\nrate = {rate}\n"
            )
        });
        std::fs::write(&config, settings.unwrap_or_default())?;
        let arguments = ["--config".as_ref(), config.as_os_str()];
        Server::start_with(&binary, &[&bundle], &folder.join(name), &arguments)
    };
    let (plain, hundredth, all) = (start(None)?, start(Some(0.01))?, start(Some(1.0))?);
    let load = case("fraud, 1 JSON row", "fraud").load()?;
    let contestant = |name, server| Contestant {
        name,
        server,
        load: load.clone(),
        baseline: 0,
    };
    let contestants = [
        contestant("fraud", &plain),
        contestant("fraud, 1 % captured, drift", &hundredth),
        contestant("fraud, all captured, drift", &all),
    ];
    compare(&contestants, effort, section)?;
    for server in [plain, hundredth, all] {
        server.stop()?;
    }
    Ok(())
}

/// The model `fraud` with the profile of its held-out rows.
fn bundle_with_baseline(binary: &Path, folder: &Path) -> Result<std::path::PathBuf> {
    let (source, bundle) = (root().join("examples/models/fraud"), folder.join("fraud"));
    std::fs::create_dir_all(&bundle)?;
    for file in ["model.onnx", "labels.txt"] {
        std::fs::copy(source.join(file), bundle.join(file))?;
    }
    let manifest = std::fs::read_to_string(source.join("model.toml"))?;
    let artifact = "artifact = \"model.onnx\"\n";
    let with_baseline = format!("{artifact}baseline = \"baseline.json\"\n");
    let manifest = manifest.replacen(artifact, &with_baseline, 1);
    std::fs::write(bundle.join("model.toml"), manifest)?;
    succeed(
        Command::new(binary)
            .arg("baseline")
            .arg(source.join("heldout/inputs.csv"))
            .arg("--output")
            .arg(bundle.join("baseline.json")),
    )?;
    Ok(bundle)
}
