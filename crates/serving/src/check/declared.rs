//! What a manifest declares of inputs and outputs, held against the artifact's.

use tidegate_core::{DeclaredSignature, DeclaredTensor, Dim, Signature, TensorSpec};

pub(super) fn check(declared: &DeclaredSignature, found: &Signature) -> Result<(), String> {
    for tensor in &declared.inputs {
        one("input", tensor, &found.inputs)?;
    }
    for tensor in &declared.outputs {
        one("output", tensor, &found.outputs)?;
    }
    Ok(())
}

fn one(side: &str, declared: &DeclaredTensor, found: &[TensorSpec]) -> Result<(), String> {
    let names = || {
        found
            .iter()
            .map(|spec| format!("\"{}\"", spec.name))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let spec = match (declared.name.as_str(), found) {
        ("", [only]) => only,
        ("", _) => {
            return Err(format!(
                "an {side} without a name is declared, the model has {}",
                names()
            ));
        }
        (name, _) => found.iter().find(|spec| spec.name == name).ok_or_else(|| {
            format!(
                "{side} \"{name}\" is declared and not in the model, which has {}",
                names()
            )
        })?,
    };
    if let Some(datatype) = declared
        .datatype
        .filter(|datatype| *datatype != spec.datatype)
    {
        return Err(format!(
            "{side} \"{}\" is declared as {datatype}, the model has {}",
            spec.name, spec.datatype
        ));
    }
    let Some(dims) = &spec.dims else {
        return Ok(());
    };
    if let Some(shape) = &declared.shape {
        let wanted: Vec<Dim> = shape.iter().map(|extent| Dim::from_wire(*extent)).collect();
        let fits = |(own, said): (&Dim, &Dim)| own == said || *own == Dim::Any;
        if wanted.len() != dims.len() || !dims.iter().zip(&wanted).all(fits) {
            return Err(format!(
                "{side} \"{}\" is declared with shape {shape:?}, the model has {:?}",
                spec.name,
                spec.wire_shape()
            ));
        }
    }
    let columns = declared.columns.len();
    match dims.last() {
        Some(Dim::Fixed(extent)) if columns > 0 && *extent != columns => Err(format!(
            "{side} \"{}\" is declared with {columns} columns, the model has {extent}",
            spec.name
        )),
        _ => Ok(()),
    }
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
            "input \"y\" is declared and not in the model, which has \"x\""
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
