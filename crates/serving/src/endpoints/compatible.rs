//! Whether a version can answer in place of another.

use tidegate_core::{Dim, Signature, TensorSpec};

/// Why the version of one signature cannot answer the requests that are made for another: it must take
/// every input that the other takes, and give every output as the other does. `None` if it can. What it
/// has besides, optional inputs and further outputs, is not used.
pub(crate) fn difference(first: &Signature, other: &Signature) -> Option<String> {
    let inputs = first.inputs.iter();
    let mut inputs = inputs.map(|spec| input_difference(spec, find(&other.inputs, spec)));
    if let Some(difference) = inputs.find_map(|difference| difference) {
        return Some(difference);
    }
    let mut needed = other.inputs.iter().filter(|spec| !spec.optional);
    if let Some(spec) = needed.find(|spec| find(&first.inputs, spec).is_none()) {
        return Some(format!("it needs an input \"{}\"", spec.name));
    }
    let outputs = first.outputs.iter();
    let mut outputs = outputs.map(|spec| output_difference(spec, find(&other.outputs, spec)));
    outputs.find_map(|difference| difference)
}

fn find<'a>(specs: &'a [TensorSpec], wanted: &TensorSpec) -> Option<&'a TensorSpec> {
    specs.iter().find(|spec| spec.name == wanted.name)
}

fn input_difference(first: &TensorSpec, other: Option<&TensorSpec>) -> Option<String> {
    let name = &first.name;
    let Some(other) = other else {
        return Some(format!("it has no input \"{name}\""));
    };
    if first.optional && !other.optional {
        return Some(format!("it needs the input \"{name}\""));
    }
    let fits = first.datatype == other.datatype && covers(other, first);
    (!fits).then(|| format!("input \"{name}\" is {}, not {}", text(other), text(first)))
}

fn output_difference(first: &TensorSpec, other: Option<&TensorSpec>) -> Option<String> {
    let name = &first.name;
    let Some(other) = other else {
        return Some(format!("it has no output \"{name}\""));
    };
    let fits = first.datatype == other.datatype && covers(first, other);
    (!fits).then(|| format!("output \"{name}\" is {}, not {}", text(other), text(first)))
}

/// Whether every shape of one is a shape of the other.
fn covers(wide: &TensorSpec, narrow: &TensorSpec) -> bool {
    let (wide, narrow) = match (&wide.dims, &narrow.dims) {
        (None, _) => return true,
        (Some(_), None) => return false,
        (Some(wide), Some(narrow)) => (wide, narrow),
    };
    let mut dims = wide.iter().zip(narrow);
    wide.len() == narrow.len() && dims.all(|(wide, narrow)| *wide == Dim::Any || wide == narrow)
}

fn text(spec: &TensorSpec) -> String {
    match spec.dims {
        None => format!("{} of any shape", spec.datatype),
        Some(_) => format!("{} {:?}", spec.datatype, spec.wire_shape()),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::DataType;

    use super::*;

    fn spec(name: &str, datatype: DataType, dims: &[i64]) -> TensorSpec {
        TensorSpec {
            name: name.to_owned(),
            datatype,
            dims: Some(dims.iter().map(|extent| Dim::from_wire(*extent)).collect()),
            optional: false,
        }
    }

    fn signature(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> Signature {
        Signature { inputs, outputs }
    }

    #[test]
    fn a_signature_that_takes_and_gives_the_same_fits() {
        let x = spec("x", DataType::Fp32, &[-1, 4]);
        let y = spec("y", DataType::Fp32, &[-1, 2]);
        let first = signature(vec![x.clone()], vec![y.clone()]);
        assert_eq!(difference(&first, &first), None);
        let mut extra = spec("extra", DataType::Int64, &[1]);
        extra.optional = true;
        let wider = spec("x", DataType::Fp32, &[-1, -1]);
        let other = signature(vec![wider, extra.clone()], vec![extra, y]);
        assert_eq!(difference(&first, &other), None);
    }

    #[test]
    fn each_difference_is_named() {
        let x = spec("x", DataType::Fp32, &[-1, 4]);
        let y = spec("y", DataType::Fp32, &[-1, 2]);
        let first = signature(vec![x.clone()], vec![y.clone()]);
        let check = |inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>, expected: &str| {
            let found = difference(&first, &signature(inputs, outputs)).unwrap();
            assert_eq!(found, expected);
        };
        check(vec![], vec![y.clone()], "it has no input \"x\"");
        let narrow = spec("x", DataType::Fp32, &[1, 4]);
        let expected = "input \"x\" is FP32 [1, 4], not FP32 [-1, 4]";
        check(vec![narrow], vec![y.clone()], expected);
        let more = vec![x.clone(), spec("z", DataType::Bool, &[])];
        check(more, vec![y.clone()], "it needs an input \"z\"");
        check(vec![x.clone()], vec![], "it has no output \"y\"");
        let double = spec("y", DataType::Fp64, &[-1, 2]);
        let expected = "output \"y\" is FP64 [-1, 2], not FP32 [-1, 2]";
        check(vec![x.clone()], vec![double], expected);
        let wide = spec("y", DataType::Fp32, &[-1, -1]);
        let expected = "output \"y\" is FP32 [-1, -1], not FP32 [-1, 2]";
        check(vec![x], vec![wide], expected);
    }
}
