//! The weights of an ONNX file: where they are, and whether they are numbers.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use tidegate_core::{bf16, f16, is_in_content_store};
use tract_onnx::pb;

use super::nodes::{inner_graphs, nodes};
use crate::LoadError;

/// Refuses weights in files outside of the model's own folder: a model could read any file of the
/// machine through them.
pub(super) fn check_external_files(model: &pb::ModelProto, path: &Path) -> Result<(), LoadError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    for tensor in tensors(model) {
        let Some(location) = location(tensor) else {
            continue;
        };
        if let Err(problem) = check_external_file(folder, location) {
            // Cut and escaped: the file is not trusted, and the message is printed to a terminal.
            let shown: String = location.chars().take(200).collect();
            return Err(LoadError::Unsupported {
                side: "tensor",
                name: tensor.name.clone(),
                problem: format!(
                    "has its weights in \"{}\", which {problem}",
                    shown.escape_default()
                ),
            });
        }
    }
    Ok(())
}

/// The file that a tensor's weights are in, if they are not in the model's own file.
fn location(tensor: &pb::TensorProto) -> Option<&str> {
    let mut entries = tensor.external_data.iter();
    let location = entries.find(|entry| entry.key == "location")?;
    Some(&location.value)
}

fn check_external_file(folder: &Path, location: &str) -> Result<(), &'static str> {
    const OUTSIDE: &str = "is outside of the model's folder";
    let is_below = Path::new(location)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if location.is_empty() || !is_below {
        return Err(OUTSIDE);
    }
    if !folder.join(location).exists() {
        return Err("does not exist");
    }
    if !has_link(folder, location) {
        return Ok(());
    }
    // Links are followed, so that none of them leads out of the folder, but into a store that the
    // model itself may be a link to.
    let real_folder = folder.canonicalize();
    let real_file = folder.join(location).canonicalize();
    let (Ok(folder), Ok(file)) = (real_folder, real_file) else {
        return Err(OUTSIDE);
    };
    if file.starts_with(&folder) || is_in_content_store(&file) {
        return Ok(());
    }
    Err(OUTSIDE)
}

/// Whether a file below a folder is reached through a symbolic link. The folder itself may be one,
/// and one whose real path means nothing here, such as `/proc/PID/root` of another container.
fn has_link(folder: &Path, location: &str) -> bool {
    let mut path = folder.to_owned();
    Path::new(location).components().any(|part| {
        path.push(part);
        path.is_symlink()
    })
}

/// The files beside a model that its weights are in, sorted.
pub(super) fn external_files(model: &pb::ModelProto) -> Vec<String> {
    let files: BTreeSet<String> = tensors(model)
        .filter_map(location)
        .map(str::to_owned)
        .collect();
    files.into_iter().collect()
}

/// The path to open a model by: the path itself, or what it is a link to where the files of its
/// weights lie beside that and not beside the link.
pub(super) fn beside_weights(model: &pb::ModelProto, path: &Path) -> PathBuf {
    const MOST_LINKS: usize = 16;
    let files = external_files(model);
    let mut candidate = path.to_owned();
    for _ in 0..MOST_LINKS {
        let folder = candidate.parent().unwrap_or(Path::new("")).to_owned();
        let has_weights = files.iter().all(|file| folder.join(file).exists());
        if has_weights && !files.is_empty() {
            return candidate;
        }
        match candidate.read_link() {
            Ok(target) => candidate = folder.join(target),
            Err(_) => break,
        }
    }
    path.to_owned()
}

/// The names of the tensors that hold a value that is not a number. Weights in other files are not
/// read.
pub(super) fn not_a_number(model: &pb::ModelProto) -> Vec<String> {
    let mut names = Vec::new();
    for tensor in tensors(model).filter(|tensor| holds_nan(tensor)) {
        names.push(match tensor.name.as_str() {
            "" => "a constant".to_owned(),
            name => name.to_owned(),
        });
    }
    // Trees and linear models keep their weights in lists of numbers at their nodes.
    for node in nodes(model) {
        let mut weights = node.attribute.iter().flat_map(|list| &list.floats);
        if weights.any(|weight| weight.is_nan()) {
            names.push(format!("{} \"{}\"", node.op_type, node.name));
        }
    }
    names
}

/// The numbers of the types are those of ONNX's `TensorProto.DataType`.
fn holds_nan(tensor: &pb::TensorProto) -> bool {
    let raw = &tensor.raw_data;
    match tensor.data_type {
        1 => {
            let listed = tensor.float_data.iter().any(|value| value.is_nan());
            let mut raw = raw.as_chunks().0.iter();
            listed || raw.any(|bytes| f32::from_le_bytes(*bytes).is_nan())
        }
        10 => halves(tensor).any(|bytes| f16::from_le_bytes(bytes).is_nan()),
        11 => {
            let listed = tensor.double_data.iter().any(|value| value.is_nan());
            let mut raw = raw.as_chunks().0.iter();
            listed || raw.any(|bytes| f64::from_le_bytes(*bytes).is_nan())
        }
        16 => halves(tensor).any(|bytes| bf16::from_le_bytes(bytes).is_nan()),
        _ => false,
    }
}

/// The elements of a 16-bit type: ONNX writes them as raw bytes or as the low half of 32-bit
/// integers.
fn halves(tensor: &pb::TensorProto) -> impl Iterator<Item = [u8; 2]> {
    let raw = tensor.raw_data.as_chunks::<2>().0.iter().copied();
    let listed = tensor
        .int32_data
        .iter()
        .map(|bits| (*bits as u16).to_le_bytes());
    raw.chain(listed)
}

/// Every tensor of the graph, of the graphs inside it, and of its functions.
fn tensors(model: &pb::ModelProto) -> impl Iterator<Item = &pb::TensorProto> {
    let nodes = nodes(model);
    let inner = nodes.iter().copied().flat_map(inner_graphs);
    let graphs: Vec<&pb::GraphProto> = model.graph.iter().chain(inner).collect();
    let constants = nodes
        .into_iter()
        .flat_map(|node| &node.attribute)
        .flat_map(|attribute| attribute.t.iter().chain(&attribute.tensors));
    graphs
        .into_iter()
        .flat_map(|graph| &graph.initializer)
        .chain(constants)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(tensor: pb::TensorProto) -> pb::ModelProto {
        let graph = pb::GraphProto {
            initializer: vec![tensor],
            ..pb::GraphProto::default()
        };
        pb::ModelProto {
            graph: Some(graph),
            ..pb::ModelProto::default()
        }
    }

    fn external(location: &str) -> pb::ModelProto {
        let entry = pb::StringStringEntryProto {
            key: "location".to_owned(),
            value: location.to_owned(),
        };
        model(pb::TensorProto {
            name: "w".to_owned(),
            external_data: vec![entry],
            ..pb::TensorProto::default()
        })
    }

    #[test]
    fn weights_outside_of_the_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("model");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(inside.join("w.bin"), "x").unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret"), inside.join("link")).unwrap();
        let check =
            |location: &str| check_external_files(&external(location), &inside.join("model.onnx"));
        check("w.bin").unwrap();
        for location in [
            "../secret",
            "/etc/passwd",
            "a/../../secret",
            "",
            "link",
            "./w.bin/../../secret",
        ] {
            let message = check(location).unwrap_err().to_string();
            assert!(
                message.contains("tensor \"w\"") && message.contains("outside"),
                "{location}: {message}"
            );
        }
        assert!(
            check("missing")
                .unwrap_err()
                .to_string()
                .contains("does not exist")
        );
    }

    #[test]
    fn weights_are_found_in_the_store_that_a_hub_cache_links_to() {
        let cache = tempfile::tempdir().unwrap();
        let (blobs, snapshot) = (cache.path().join("blobs"), cache.path().join("snapshots/1"));
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::create_dir_all(&snapshot).unwrap();
        for name in ["aaa", "bbb"] {
            std::fs::write(blobs.join(name), "x").unwrap();
        }
        let link = |to: &str, from: &str| {
            std::os::unix::fs::symlink(to, snapshot.join(from)).unwrap();
        };
        link("../../blobs/aaa", "model.onnx");
        link("../../blobs/bbb", "w.bin");
        let path = snapshot.join("model.onnx");
        check_external_files(&external("w.bin"), &path).unwrap();
        assert_eq!(beside_weights(&external("w.bin"), &path), path);
    }

    #[test]
    fn weights_may_lie_beside_the_file_that_a_model_is_a_link_to() {
        let folder = tempfile::tempdir().unwrap();
        let (real, links) = (folder.path().join("real"), folder.path().join("links"));
        std::fs::create_dir(&real).unwrap();
        std::fs::create_dir(&links).unwrap();
        std::fs::write(real.join("w.bin"), "x").unwrap();
        std::fs::write(real.join("m.onnx"), "x").unwrap();
        std::os::unix::fs::symlink("../real/m.onnx", links.join("model.onnx")).unwrap();
        let found = beside_weights(&external("w.bin"), &links.join("model.onnx"));
        assert_eq!(found, links.join("../real/m.onnx"));
    }

    #[test]
    fn tensors_with_nan_are_named_in_every_type() {
        let named = |tensor| not_a_number(&model(tensor));
        let raw = |data_type, raw_data: Vec<u8>| pb::TensorProto {
            name: "w".to_owned(),
            data_type,
            raw_data,
            ..pb::TensorProto::default()
        };
        assert_eq!(named(raw(1, f32::NAN.to_le_bytes().to_vec())), ["w"]);
        assert_eq!(named(raw(11, f64::NAN.to_le_bytes().to_vec())), ["w"]);
        assert_eq!(named(raw(10, f16::NAN.to_le_bytes().to_vec())), ["w"]);
        assert_eq!(named(raw(16, bf16::NAN.to_le_bytes().to_vec())), ["w"]);
        assert!(
            named(raw(1, f32::INFINITY.to_le_bytes().to_vec())).is_empty(),
            "masks are infinite"
        );
        assert!(
            named(raw(6, vec![0xff; 8])).is_empty(),
            "whole numbers always are numbers"
        );
        let listed = pb::TensorProto {
            float_data: vec![1.0, f32::NAN],
            ..raw(1, Vec::new())
        };
        assert_eq!(named(listed), ["w"]);
    }
}
