//! What is sent to another server, and what comes back.

use std::sync::Arc;
use std::time::Instant;

use tidegate_core::{Dim, Shape, Signature, Tensor, TensorSpec, TraceContext};

use crate::failure::CallFailure;

/// A request as every attempt sends it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) signature: Arc<Signature>,
    /// In the order of the signature; `None` for an optional input that was left out.
    pub(crate) inputs: Vec<Option<Tensor>>,
    pub(crate) deadline: Instant,
    pub(crate) trace: Option<TraceContext>,
    /// Whether outputs must have as many rows as inputs.
    pub(crate) has_batch_axis: bool,
}

impl Call {
    /// The inputs that are given, with their names.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        let specs = self.signature.inputs.iter();
        let pairs = specs.zip(&self.inputs);
        pairs.filter_map(|(spec, tensor)| Some((spec.name.as_str(), tensor.as_ref()?)))
    }
}

/// An answer as a server sent it.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Empty where the server does not say it.
    pub(crate) version: String,
    pub(crate) outputs: Vec<(String, Tensor)>,
}

impl Answer {
    /// The outputs in the order of the signature. All of it must be as the signature says: another
    /// name, type or shape would be a wrong answer.
    pub(crate) fn check(
        self,
        call: &Call,
        version: Option<&str>,
    ) -> Result<Vec<Tensor>, CallFailure> {
        if let Some(wanted) = version.filter(|wanted| *wanted != self.version)
            && !self.version.is_empty()
        {
            let found = crate::failure::shown(&self.version);
            let problem = format!("answered with version \"{found}\", not with \"{wanted}\"");
            return Err(CallFailure::invalid(problem));
        }
        let mut found: Vec<Option<(String, Tensor)>> = self.outputs.into_iter().map(Some).collect();
        let mut outputs = Vec::with_capacity(call.signature.outputs.len());
        for spec in &call.signature.outputs {
            let place = found
                .iter_mut()
                .find(|place| place.as_ref().is_some_and(|(name, _)| *name == spec.name));
            let Some((_, tensor)) = place.and_then(Option::take) else {
                let problem = format!("answered without output \"{}\"", spec.name);
                return Err(CallFailure::invalid(problem));
            };
            check_output(spec, &tensor, call)?;
            outputs.push(tensor);
        }
        match found.into_iter().flatten().next() {
            None => Ok(outputs),
            Some((name, _)) => {
                let name = crate::failure::shown(&name);
                let problem = format!(
                    "answered with output \"{name}\", which the signature does not have once"
                );
                Err(CallFailure::invalid(problem))
            }
        }
    }
}

fn check_output(spec: &TensorSpec, tensor: &Tensor, call: &Call) -> Result<(), CallFailure> {
    let name = &spec.name;
    if tensor.datatype() != spec.datatype {
        let (found, wanted) = (tensor.datatype(), spec.datatype);
        let problem = format!("answered output \"{name}\" as {found}, the signature says {wanted}");
        return Err(CallFailure::invalid(problem));
    }
    let shape = tensor.shape();
    if !spec.dims.as_ref().is_none_or(|dims| fits(dims, shape)) {
        let wanted = spec.wire_shape();
        let problem =
            format!("answered output \"{name}\" with shape {shape}, the signature says {wanted:?}");
        return Err(CallFailure::invalid(problem));
    }
    let rows = call.inputs.iter().flatten().next().map(Tensor::rows);
    if let Some(rows) = rows.filter(|rows| call.has_batch_axis && shape.first() != Some(rows)) {
        let problem = format!("answered output \"{name}\" with shape {shape} for {rows} rows");
        return Err(CallFailure::invalid(problem));
    }
    Ok(())
}

fn fits(dims: &[Dim], shape: &Shape) -> bool {
    let mut extents = dims.iter().zip(shape.iter());
    dims.len() == shape.len()
        && extents.all(|(dim, extent)| match dim {
            Dim::Any => true,
            Dim::Fixed(fixed) => fixed == extent,
        })
}

/// In what two signatures differ; `None` if requests and answers of the one are those of the other.
/// Where `is_declared`, people wrote `known`, and may have said less or more of a shape.
pub(crate) fn difference(
    known: &Signature,
    found: &Signature,
    is_declared: bool,
) -> Option<String> {
    let sides = [
        ("input", &known.inputs, &found.inputs),
        ("output", &known.outputs, &found.outputs),
    ];
    sides.into_iter().find_map(|(side, known, found)| {
        let mut own = known.iter();
        let missing = own.find_map(|spec| spec_difference(side, spec, found, is_declared));
        missing.or_else(|| {
            let is_new = |spec: &&TensorSpec| !known.iter().any(|one| one.name == spec.name);
            let new = found.iter().find(is_new)?;
            Some(format!(
                "{side} \"{}\" is new",
                crate::failure::shown(&new.name)
            ))
        })
    })
}

fn spec_difference(
    side: &str,
    known: &TensorSpec,
    found: &[TensorSpec],
    is_declared: bool,
) -> Option<String> {
    let name = &known.name;
    let Some(found) = found.iter().find(|spec| spec.name == *name) else {
        return Some(format!("{side} \"{name}\" is gone"));
    };
    if found.datatype != known.datatype {
        let (old, new) = (known.datatype, found.datatype);
        return Some(format!("{side} \"{name}\" is {new} instead of {old}"));
    }
    let same_shape = match (&known.dims, &found.dims) {
        (Some(known), Some(found)) if is_declared => are_compatible(known, found),
        (None, _) | (_, None) if is_declared => true,
        (known, found) => known == found,
    };
    let (old, new) = (known.wire_shape(), found.wire_shape());
    (!same_shape).then(|| format!("{side} \"{name}\" has shape {new:?} instead of {old:?}"))
}

fn are_compatible(one: &[Dim], two: &[Dim]) -> bool {
    let mut pairs = one.iter().zip(two);
    one.len() == two.len()
        && pairs.all(|(one, two)| one == two || *one == Dim::Any || *two == Dim::Any)
}

#[cfg(test)]
mod tests {
    use tidegate_core::DataType;

    use super::*;

    fn spec(name: &str, dims: &[i64]) -> TensorSpec {
        TensorSpec {
            name: name.to_owned(),
            datatype: DataType::Fp32,
            dims: Some(dims.iter().map(|extent| Dim::from_wire(*extent)).collect()),
            optional: false,
        }
    }

    fn tensor(extents: &[usize]) -> Tensor {
        let shape = Shape::new(extents).unwrap();
        let count = shape.element_count();
        Tensor::from_vec(shape, vec![1f32; count]).unwrap()
    }

    fn signature() -> Signature {
        Signature {
            inputs: vec![spec("x", &[-1, 2])],
            outputs: vec![spec("a", &[-1, 3]), spec("b", &[-1])],
        }
    }

    fn call(has_batch_axis: bool) -> Call {
        Call {
            signature: Arc::new(signature()),
            inputs: vec![Some(tensor(&[4, 2]))],
            deadline: Instant::now(),
            trace: None,
            has_batch_axis,
        }
    }

    fn check(outputs: Vec<(&str, Tensor)>, has_batch_axis: bool) -> Result<Vec<Tensor>, String> {
        let outputs = outputs.into_iter();
        let answer = Answer {
            version: String::new(),
            outputs: outputs
                .map(|(name, tensor)| (name.to_owned(), tensor))
                .collect(),
        };
        answer
            .check(&call(has_batch_axis), Some("1"))
            .map_err(|failure| failure.message)
    }

    #[test]
    fn outputs_come_in_the_order_of_the_signature() {
        let outputs = check(vec![("b", tensor(&[4])), ("a", tensor(&[4, 3]))], true).unwrap();
        assert_eq!(outputs[0].shape()[..], [4, 3]);
    }

    #[test]
    fn an_answer_with_another_signature_is_refused() {
        let a = || ("a", tensor(&[4, 3]));
        let ints = Tensor::from_vec(Shape::new(&[4]).unwrap(), vec![1i64; 4]).unwrap();
        for (outputs, problem) in [
            (vec![a()], "without output \"b\""),
            (
                vec![a(), ("b", tensor(&[4])), ("c", tensor(&[4]))],
                "output \"c\"",
            ),
            (
                vec![a(), ("b", tensor(&[4])), ("b", tensor(&[4]))],
                "output \"b\"",
            ),
            (vec![a(), ("b", ints)], "as INT64"),
            (vec![a(), ("b", tensor(&[4, 1]))], "with shape [4, 1]"),
            (vec![a(), ("b", tensor(&[3]))], "for 4 rows"),
        ] {
            let found = check(outputs, true).unwrap_err();
            assert!(found.contains(problem), "{found}");
        }
        // Where rows are not declared to be the first axis, another number of them may be right.
        check(vec![a(), ("b", tensor(&[3]))], false).unwrap();
    }

    #[test]
    fn a_changed_signature_is_noticed() {
        let known = signature();
        assert_eq!(difference(&known, &known, false), None);
        let mut wider = signature();
        wider.outputs[0] = spec("a", &[-1, 4]);
        assert!(
            difference(&known, &wider, false)
                .unwrap()
                .contains("[-1, 4] instead of [-1, 3]")
        );
        let mut renamed = signature();
        renamed.inputs[0].name = "y".to_owned();
        assert!(
            difference(&known, &renamed, true)
                .unwrap()
                .contains("is gone")
        );
        let mut more = signature();
        more.inputs.push(spec("y", &[1]));
        assert!(difference(&known, &more, true).unwrap().contains("is new"));
        // A declaration may fix what the server leaves open.
        let mut open = signature();
        open.outputs[0] = spec("a", &[-1, -1]);
        assert_eq!(difference(&known, &open, true), None);
        assert!(difference(&known, &open, false).is_some());
    }
}
