//! A walk over all nodes of an ONNX file.

use tract_onnx::pb;

/// The nodes of a model, of its functions, and of the graphs inside its nodes.
pub(super) fn nodes(model: &pb::ModelProto) -> Vec<&pb::NodeProto> {
    let functions = model.functions.iter().flat_map(|function| &function.node);
    let mut nodes: Vec<&pb::NodeProto> = model
        .graph
        .iter()
        .flat_map(|graph| &graph.node)
        .chain(functions)
        .collect();
    // A list instead of recursion: how deep a file nests its graphs is the file's choice.
    let mut at = 0;
    while let Some(node) = nodes.get(at) {
        nodes.extend(inner_graphs(node).flat_map(|graph| &graph.node));
        at += 1;
    }
    nodes
}

/// The graphs that a node holds, such as the body of a loop.
pub(super) fn inner_graphs(node: &pb::NodeProto) -> impl Iterator<Item = &pb::GraphProto> {
    node.attribute
        .iter()
        .flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}
