//! The check of a graph against the signatures of its nodes.

use tidegate_core::{DataType, Dim, GraphMerge, Signature, TensorSpec};

use crate::GraphError;
use crate::graph::{Action, Graph, Merge, Node};

/// What is known of a tensor; nothing if the signature of its node is not.
type Known = Option<TensorSpec>;

impl Graph {
    /// Checks types and shapes, as far as the signatures of the nodes are known, in the order of
    /// [`Graph::nodes`].
    ///
    /// # Errors
    /// The first difference, with the names of the node and the tensor.
    pub fn check(&self, signatures: &[Option<&Signature>]) -> Result<(), GraphError> {
        let mut known: Vec<Known> = vec![None; self.tensors.len()];
        for (known, input) in known.iter_mut().zip(&self.inputs) {
            *known = Some(input.clone());
        }
        for step in &self.steps {
            match step.action {
                Action::Decide(condition) => self.check_condition(condition, &known)?,
                Action::Run(at) => {
                    if let Some(Some(signature)) = signatures.get(at) {
                        self.check_node(&self.nodes[at], signature, &mut known)?;
                    }
                }
                Action::Merge(at) => {
                    let merge = &self.merges[at];
                    known[merge.tensor] = self.merged(merge, &known)?;
                }
            }
        }
        for (tensor, output) in self.output_tensors.iter().zip(&self.outputs) {
            if let Some(found) = &known[*tensor]
                && let Some(difference) = difference(found, output)
            {
                let name = &output.name;
                let problem = format!("output \"{name}\" {difference} in its signature");
                return Err(GraphError::new(problem));
            }
        }
        Ok(())
    }

    fn check_node(
        &self,
        node: &Node,
        signature: &Signature,
        known: &mut [Known],
    ) -> Result<(), GraphError> {
        let who = format!("node \"{}\" ({})", node.name(), node.model_text());
        for (input, tensor) in &node.inputs {
            let Some(spec) = signature.inputs.iter().find(|spec| spec.name == *input) else {
                let problem = format!("{who}: the model has no input \"{input}\"");
                return Err(GraphError::new(problem));
            };
            if let Some(found) = &known[*tensor]
                && let Some(difference) = difference(found, spec)
            {
                let name = self.tensor(*tensor);
                let problem = format!(
                    "{who}, input \"{input}\": tensor \"{name}\" {difference} in the model"
                );
                return Err(GraphError::new(problem));
            }
        }
        let is_given =
            |spec: &&TensorSpec| node.inputs.iter().any(|(input, _)| *input == spec.name);
        let mut missing = signature.inputs.iter().filter(|spec| !spec.optional);
        if let Some(missing) = missing.find(|spec| !is_given(spec)) {
            let problem = format!(
                "{who}: input \"{}\" of the model gets no tensor",
                missing.name
            );
            return Err(GraphError::new(problem));
        }
        for (output, tensor) in &node.outputs {
            let place = signature.output(output);
            let place = place.map_err(|error| GraphError::new(format!("{who}: {error}")))?;
            known[*tensor] = Some(signature.outputs[place].clone());
        }
        Ok(())
    }

    fn check_condition(&self, at: usize, known: &[Known]) -> Result<(), GraphError> {
        let condition = &self.conditions[at];
        let mut datatypes = Vec::new();
        for (name, tensor) in condition.variables() {
            let Some(found) = &known[tensor] else {
                return Ok(());
            };
            if !self.has_one_value(found) {
                let (node, shape) = (condition.node(), found.wire_shape());
                let problem = format!(
                    "node \"{node}\", when {:?}: tensor \"{name}\" has shape {shape:?}, a condition takes \
                     one value of each {}",
                    condition.text(),
                    if self.has_rows { "row" } else { "request" }
                );
                return Err(GraphError::new(problem));
            }
            datatypes.push(found.datatype);
        }
        condition.check(&datatypes).map_err(GraphError::new)
    }

    /// Whether a tensor has one value for each row, or for the request where there are no rows.
    fn has_one_value(&self, spec: &TensorSpec) -> bool {
        let Some(dims) = &spec.dims else { return true };
        let is_one = |dim: &Dim| matches!(dim, Dim::Fixed(1) | Dim::Any);
        match self.has_rows {
            false => dims.iter().all(is_one),
            true => dims.first() == Some(&Dim::Any) && dims[1..].iter().all(is_one),
        }
    }

    fn merged(&self, merge: &Merge, known: &[Known]) -> Result<Known, GraphError> {
        let mut specs = Vec::with_capacity(merge.of.len());
        for tensor in &merge.of {
            let Some(spec) = &known[*tensor] else {
                return Ok(None);
            };
            specs.push(spec);
        }
        let name = self.tensor(merge.tensor);
        let spec = match merge.kind {
            GraphMerge::First => same(&specs),
            GraphMerge::Mean | GraphMerge::Max | GraphMerge::Min => {
                floats(&specs).and_then(|()| same(&specs))
            }
            GraphMerge::Concat => columns(&specs),
            GraphMerge::RowMax => floats(&specs).map(|()| row_max(specs[0])),
        };
        let spec =
            spec.map_err(|problem| GraphError::new(format!("merge \"{name}\": {problem}")))?;
        Ok(Some(TensorSpec {
            name: name.to_owned(),
            ..spec
        }))
    }
}

/// In what a tensor differs from what is wanted, if it never fits: `is FP32, and INT64`, to be followed by
/// where that is wanted.
fn difference(found: &TensorSpec, wanted: &TensorSpec) -> Option<String> {
    if found.datatype != wanted.datatype {
        return Some(format!("is {}, and {}", found.datatype, wanted.datatype));
    }
    let (Some(dims), Some(wanted_dims)) = (&found.dims, &wanted.dims) else {
        return None;
    };
    let agree = |(one, other): (&Dim, &Dim)| one == other || *one == Dim::Any || *other == Dim::Any;
    let fits = dims.len() == wanted_dims.len() && dims.iter().zip(wanted_dims).all(agree);
    let (shape, wanted) = (found.wire_shape(), wanted.wire_shape());
    (!fits).then(|| format!("has shape {shape:?}, and {wanted:?}"))
}

/// What all of them are.
fn same(specs: &[&TensorSpec]) -> Result<TensorSpec, String> {
    let mut all = specs[0].clone();
    for spec in &specs[1..] {
        if let Some(difference) = difference(spec, &all) {
            let (one, other) = (&spec.name, &specs[0].name);
            return Err(format!("\"{one}\" {difference} in \"{other}\""));
        }
        if let (Some(dims), Some(others)) = (&mut all.dims, &spec.dims) {
            for (dim, other) in dims.iter_mut().zip(others) {
                if dim != other {
                    *dim = Dim::Any;
                }
            }
        }
    }
    Ok(all)
}

fn floats(specs: &[&TensorSpec]) -> Result<(), String> {
    let is_float = |spec: &&&TensorSpec| matches!(spec.datatype, DataType::Fp32 | DataType::Fp64);
    match specs.iter().find(|spec| !is_float(spec)) {
        None => Ok(()),
        Some(other) => Err(format!("it takes FP32 or FP64, not {}", other.datatype)),
    }
}

fn columns(specs: &[&TensorSpec]) -> Result<TensorSpec, String> {
    let first = specs[0];
    let mut width = Some(0usize);
    for spec in specs {
        if spec.datatype != first.datatype || spec.datatype == DataType::Bytes {
            let (one, other) = (first.datatype, spec.datatype);
            return Err(format!("it cannot join {one} and {other}"));
        }
        let own = match spec.dims.as_deref() {
            Some([_]) => Some(1),
            Some([_, Dim::Fixed(columns)]) => Some(*columns),
            Some([_, Dim::Any]) | None => None,
            Some(_) => {
                let shape = spec.wire_shape();
                return Err(format!(
                    "it joins columns, and a tensor has shape {shape:?}"
                ));
            }
        };
        width = width.zip(own).map(|(width, own)| width + own);
    }
    let rows = first.dims.as_ref().and_then(|dims| dims.first()).cloned();
    Ok(TensorSpec {
        dims: Some(vec![
            rows.unwrap_or(Dim::Any),
            width.map_or(Dim::Any, Dim::Fixed),
        ]),
        ..first.clone()
    })
}

fn row_max(spec: &TensorSpec) -> TensorSpec {
    let rows = spec.dims.as_ref().and_then(|dims| dims.first()).cloned();
    TensorSpec {
        dims: Some(vec![rows.unwrap_or(Dim::Any)]),
        ..spec.clone()
    }
}
