//! The weights of an ONNX file: where they are, and whether they are numbers.

use std::path::{Component, Path};

use tidegate_core::{bf16, f16};
use tract_onnx::pb;

use crate::LoadError;

/// Refuses weights in files that are not below the model's own folder: such a model reads what it
/// likes.
pub(super) fn stay_inside(model: &pb::ModelProto, path: &Path) -> Result<(), LoadError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    for tensor in tensors(model) {
        let Some(location) = tensor
            .external_data
            .iter()
            .find(|entry| entry.key == "location")
        else {
            continue;
        };
        let refuse = |problem: &str| {
            let shown: String = location.value.chars().take(200).collect();
            let problem = format!(
                "has its weights in \"{}\", which {problem}",
                shown.escape_default()
            );
            Err(LoadError::Unsupported {
                side: "tensor",
                name: tensor.name.clone(),
                problem,
            })
        };
        let below = Path::new(&location.value)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if location.value.is_empty() || !below {
            return refuse("is outside of the model's folder");
        }
        let (Ok(root), Ok(file)) = (
            folder.canonicalize(),
            folder.join(&location.value).canonicalize(),
        ) else {
            return refuse("is not there");
        };
        if !file.starts_with(&root) {
            return refuse("is outside of the model's folder");
        }
    }
    Ok(())
}

/// The names of the tensors that hold a value that is not a number. Weights in other files are not
/// read.
pub(super) fn not_a_number(model: &pb::ModelProto) -> Vec<String> {
    let holds = |tensor: &&pb::TensorProto| {
        let raw = &tensor.raw_data;
        let halves = || {
            raw.as_chunks::<2>().0.iter().copied().chain(
                tensor
                    .int32_data
                    .iter()
                    .map(|bits| (*bits as u16).to_le_bytes()),
            )
        };
        match tensor.data_type {
            1 => tensor
                .float_data
                .iter()
                .copied()
                .chain(raw.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)))
                .any(f32::is_nan),
            10 => halves().any(|bytes| f16::from_le_bytes(bytes).is_nan()),
            11 => tensor
                .double_data
                .iter()
                .copied()
                .chain(raw.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)))
                .any(f64::is_nan),
            16 => halves().any(|bytes| bf16::from_le_bytes(bytes).is_nan()),
            _ => false,
        }
    };
    let named = |tensor: &pb::TensorProto| {
        if tensor.name.is_empty() {
            "a constant".to_owned()
        } else {
            tensor.name.clone()
        }
    };
    let mut names: Vec<String> = tensors(model).filter(holds).map(named).collect();
    names.extend(attributes_not_a_number(model));
    names
}

/// Trees and linear models keep their weights in lists of numbers at their nodes.
fn attributes_not_a_number(model: &pb::ModelProto) -> impl Iterator<Item = String> {
    let holds = |node: &&pb::NodeProto| {
        node.attribute
            .iter()
            .any(|attribute| attribute.floats.iter().any(|f| f.is_nan()))
    };
    nodes(model)
        .into_iter()
        .filter(holds)
        .map(|node| format!("{} \"{}\"", node.op_type, node.name))
}

/// Every tensor of the graph, of those inside it, and of its functions.
fn tensors(model: &pb::ModelProto) -> impl Iterator<Item = &pb::TensorProto> {
    let all = nodes(model);
    let inner = all
        .iter()
        .flat_map(|node| &node.attribute)
        .flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
    let graphs: Vec<&pb::GraphProto> = model.graph.iter().chain(inner).collect();
    let constants: Vec<&pb::TensorProto> = all
        .into_iter()
        .flat_map(|node| &node.attribute)
        .flat_map(|attribute| attribute.t.iter().chain(&attribute.tensors))
        .collect();
    graphs
        .into_iter()
        .flat_map(|graph| &graph.initializer)
        .chain(constants)
}

fn nodes(model: &pb::ModelProto) -> Vec<&pb::NodeProto> {
    let functions = model.functions.iter().flat_map(|function| &function.node);
    let mut open: Vec<&pb::NodeProto> = model
        .graph
        .iter()
        .flat_map(|graph| &graph.node)
        .chain(functions)
        .collect();
    let mut all = Vec::with_capacity(open.len());
    while let Some(node) = open.pop() {
        all.push(node);
        let graphs = node
            .attribute
            .iter()
            .flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
        open.extend(graphs.flat_map(|graph| &graph.node));
    }
    all
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
        let check = |location: &str| stay_inside(&external(location), &inside.join("model.onnx"));
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
                .contains("is not there")
        );
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
