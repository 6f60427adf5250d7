//! What a manifest declares of inputs and outputs, compared with the artifact's.

use tidegate_core::{DeclaredSignature, DeclaredTensor, Dim, Signature, TensorSpec};

/// In what the artifact differs from the declaration, if it does.
pub(crate) fn check(declared: &DeclaredSignature, found: &Signature) -> Result<(), String> {
    for tensor in &declared.inputs {
        compare("input", tensor, &found.inputs)?;
    }
    for tensor in &declared.outputs {
        compare("output", tensor, &found.outputs)?;
    }
    Ok(())
}

fn compare(side: &str, declared: &DeclaredTensor, found: &[TensorSpec]) -> Result<(), String> {
    let spec = counterpart(side, declared, found)?;
    difference(declared, spec).map_or(Ok(()), |difference| {
        let name = &spec.name;
        Err(format!("{side} \"{name}\" is declared {difference}"))
    })
}

/// The tensor of the artifact that a declaration is about. Only a tensor that is the only one of
/// its side can be declared without a name.
fn counterpart<'a>(
    side: &str,
    declared: &DeclaredTensor,
    found: &'a [TensorSpec],
) -> Result<&'a TensorSpec, String> {
    match (declared.name.as_str(), found) {
        ("", [only]) => Ok(only),
        ("", _) => Err(format!(
            "an {side} without a name is declared, the model has {}",
            names(found)
        )),
        (name, _) => found.iter().find(|spec| spec.name == name).ok_or_else(|| {
            format!(
                "{side} \"{name}\" is declared but not in the model, which has {}",
                names(found)
            )
        }),
    }
}

fn names(specs: &[TensorSpec]) -> String {
    let names: Vec<String> = specs
        .iter()
        .map(|spec| format!("\"{}\"", spec.name))
        .collect();
    names.join(", ")
}

/// What is declared and what the model has instead.
fn difference(declared: &DeclaredTensor, spec: &TensorSpec) -> Option<String> {
    if let Some(datatype) = declared.datatype
        && datatype != spec.datatype
    {
        let found = spec.datatype;
        return Some(format!("as {datatype}, the model has {found}"));
    }
    // Some artifacts do not say the shape of an output. Then there is nothing to compare with.
    let dims = spec.dims.as_ref()?;
    if let Some(shape) = &declared.shape
        && !fits(shape, dims)
    {
        let found = spec.wire_shape();
        return Some(format!("with shape {shape:?}, the model has {found:?}"));
    }
    let columns = declared.columns.len();
    match dims.last() {
        // An open dimension takes any number of columns.
        Some(Dim::Fixed(extent)) if columns > 0 && *extent != columns => {
            Some(format!("with {columns} columns, the model has {extent}"))
        }
        _ => None,
    }
}

/// Whether a declared shape is one that the model takes: it may fix an open dimension.
fn fits(declared: &[i64], dims: &[Dim]) -> bool {
    let wanted = declared.iter().map(|extent| Dim::from_wire(*extent));
    declared.len() == dims.len()
        && dims
            .iter()
            .zip(wanted)
            .all(|(own, wanted)| *own == wanted || *own == Dim::Any)
}

#[cfg(test)]
mod tests {
    use tidegate_core::{Column, DataType};

    use super::*;

    #[test]
    fn each_difference_is_named() {
        let dims = Some(vec![Dim::Any, Dim::Fixed(2)]);
        let spec = TensorSpec {
            name: "x".to_owned(),
            datatype: DataType::Fp32,
            dims,
            optional: false,
        };
        let found = Signature {
            inputs: vec![spec],
            outputs: Vec::new(),
        };
        let check = |tensor: DeclaredTensor| {
            check(
                &DeclaredSignature {
                    inputs: vec![tensor],
                    outputs: Vec::new(),
                },
                &found,
            )
        };
        let named = |name: &str| DeclaredTensor {
            name: name.to_owned(),
            ..DeclaredTensor::default()
        };
        let right = DeclaredTensor {
            datatype: Some(DataType::Fp32),
            shape: Some(vec![-1, 2]),
            columns: vec![Column::default(); 2],
            ..named("")
        };
        check(right.clone()).unwrap();
        check(DeclaredTensor {
            shape: Some(vec![8, 2]),
            ..right
        })
        .unwrap();
        let problem = |tensor| check(tensor).unwrap_err();
        assert_eq!(
            problem(named("y")),
            "input \"y\" is declared but not in the model, which has \"x\""
        );
        let datatype = DeclaredTensor {
            datatype: Some(DataType::Fp64),
            ..named("x")
        };
        assert_eq!(
            problem(datatype),
            "input \"x\" is declared as FP64, the model has FP32"
        );
        let shape = DeclaredTensor {
            shape: Some(vec![-1, 3]),
            ..named("x")
        };
        assert_eq!(
            problem(shape),
            "input \"x\" is declared with shape [-1, 3], the model has [-1, 2]"
        );
        let columns = DeclaredTensor {
            columns: vec![Column::default(); 3],
            ..named("x")
        };
        assert_eq!(
            problem(columns),
            "input \"x\" is declared with 3 columns, the model has 2"
        );
    }
}
