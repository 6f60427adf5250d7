//! One request on its way through a graph.

use std::collections::VecDeque;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tidegate_core::{GraphMerge, Tensor};

use crate::graph::{Action, Graph, Merge};
use crate::merge::merge;
use crate::rows::{Pick, Rows, join_rows};
use crate::{Node, RunError};

/// Runs the nodes of a graph, and bounds what is kept between them.
pub trait NodeRunner: Sync {
    /// Why a node failed.
    type Error: Send;

    /// Runs a node, by its place among [`Graph::nodes`], on so many rows. Inputs and outputs are in the
    /// order of the node's own. Dropping the future gives the run up.
    fn run(
        &self,
        node: usize,
        inputs: Vec<Tensor>,
        rows: usize,
    ) -> impl Future<Output = Result<Vec<Tensor>, Self::Error>> + Send;

    /// Lets the tensors between the nodes take so many bytes.
    ///
    /// # Errors
    /// If they may not.
    fn hold(&self, bytes: usize) -> Result<(), Self::Error>;
}

impl Graph {
    /// Runs a request of so many rows; its inputs are in the order of the signature, and so are the
    /// outputs. Nodes that do not wait for each other run at the same time. If one fails, the others are
    /// given up; so are all if the future is dropped.
    ///
    /// # Errors
    /// The first failure.
    pub async fn run<R: NodeRunner>(
        &self,
        inputs: Vec<Tensor>,
        rows: usize,
        runner: &R,
    ) -> Result<Vec<Tensor>, RunError<R::Error>> {
        let mut run = Run::new(self, inputs, rows);
        let mut running = FuturesUnordered::new();
        loop {
            while let Some(step) = run.ready.pop_front() {
                match self.steps[step].action {
                    Action::Decide(condition) => run.decide(condition).map_err(RunError::Unfit)?,
                    Action::Merge(at) => run.merge(&self.merges[at]).map_err(RunError::Unfit)?,
                    Action::Run(at) => {
                        if let Some(call) = run.call(step, at).map_err(RunError::Unfit)? {
                            running.push(run_node(runner, call));
                            continue;
                        }
                    }
                }
                run.finish(step);
                runner.hold(run.held_bytes).map_err(RunError::Memory)?;
            }
            let Some((ended, outcome)) = running.next().await else {
                break;
            };
            let outputs = outcome.map_err(|error| RunError::Node {
                node: ended.node,
                error,
            })?;
            let step = ended.step;
            run.ended(ended, outputs).map_err(RunError::Unfit)?;
            run.finish(step);
            runner.hold(run.held_bytes).map_err(RunError::Memory)?;
        }
        run.outputs().map_err(RunError::Unfit)
    }
}

async fn run_node<R: NodeRunner>(
    runner: &R,
    call: Call,
) -> (Running, Result<Vec<Tensor>, R::Error>) {
    let Call {
        running,
        inputs,
        rows,
    } = call;
    let outcome = runner.run(running.node, inputs, rows).await;
    (running, outcome)
}

/// A node with its inputs.
struct Call {
    running: Running,
    inputs: Vec<Tensor>,
    rows: usize,
}

/// A node that runs.
struct Running {
    step: usize,
    node: usize,
    rows: Rows,
    /// What its inputs take that were put together for it.
    input_bytes: usize,
}

/// What a tensor is in this request.
#[derive(Clone, Debug)]
enum Value {
    /// Not made yet, or no longer needed.
    None,
    /// It has no row: its node did not run.
    Absent,
    Rows(Tensor, Rows),
}

/// The rows for which a condition was asked, and those for which it holds.
#[derive(Clone, Debug)]
struct Decision {
    asked: Rows,
    holds: Rows,
}

struct Run<'g> {
    graph: &'g Graph,
    rows: usize,
    values: Vec<Value>,
    decisions: Vec<Option<Decision>>,
    /// Steps that have not read a tensor yet, by tensor.
    readers: Vec<usize>,
    /// Steps that a step still waits for.
    waits_for: Vec<usize>,
    ready: VecDeque<usize>,
    held_bytes: usize,
}

impl<'g> Run<'g> {
    fn new(graph: &'g Graph, inputs: Vec<Tensor>, rows: usize) -> Self {
        let mut values = vec![Value::None; graph.tensors.len()];
        for (value, input) in values.iter_mut().zip(inputs) {
            *value = Value::Rows(input, Rows::All);
        }
        let waits_for: Vec<usize> = graph.steps.iter().map(|step| step.waits_for).collect();
        let ready = waits_for.iter().enumerate();
        Self {
            graph,
            // A condition without rows is asked once for the whole request.
            rows: if graph.has_rows { rows } else { 1 },
            values,
            decisions: vec![None; graph.conditions.len()],
            readers: graph.readers.clone(),
            ready: ready
                .filter_map(|(step, left)| (*left == 0).then_some(step))
                .collect(),
            waits_for,
            held_bytes: 0,
        }
    }

    /// Lets go of the tensors that nothing needs any more, and lets those steps begin that waited.
    fn finish(&mut self, step: usize) {
        let step = &self.graph.steps[step];
        for tensor in &step.reads {
            self.readers[*tensor] -= 1;
            self.release(*tensor);
        }
        for dependent in &step.dependents {
            self.waits_for[*dependent] -= 1;
            if self.waits_for[*dependent] == 0 {
                self.ready.push_back(*dependent);
            }
        }
    }

    fn release(&mut self, tensor: usize) {
        let is_needed = self.readers[tensor] > 0 || self.graph.output_tensors.contains(&tensor);
        if is_needed {
            return;
        }
        let value = std::mem::replace(&mut self.values[tensor], Value::None);
        if let Value::Rows(value, _) = value
            && tensor >= self.graph.inputs.len()
        {
            self.held_bytes -= value.byte_len();
        }
    }

    fn set(&mut self, tensor: usize, value: Value) {
        if let Value::Rows(value, _) = &value {
            self.held_bytes += value.byte_len();
        }
        self.values[tensor] = value;
        // Nobody may need it: an output of a node that is mapped and not read.
        self.release(tensor);
    }

    fn rows_of(&self, tensor: usize) -> Rows {
        match &self.values[tensor] {
            Value::Rows(_, rows) => rows.clone(),
            Value::None | Value::Absent => Rows::Some([].into()),
        }
    }

    /// The rows that all of these tensors have.
    fn common_rows(&self, tensors: impl Iterator<Item = usize>) -> Rows {
        tensors.fold(Rows::All, |rows, tensor| rows.and(&self.rows_of(tensor)))
    }

    /// A tensor with these rows alone, all of which it has.
    fn restricted(&self, tensor: usize, wanted: &Rows) -> Result<Tensor, String> {
        let Value::Rows(value, own) = &self.values[tensor] else {
            let name = self.graph.tensor(tensor);
            return Err(format!("tensor \"{name}\" has no value"));
        };
        let is_part = matches!(wanted, Rows::Some(_));
        if is_part && matches!(own, Rows::All) {
            self.check_rows(tensor, value, self.rows)?;
        }
        let part = own.restrict(value, wanted);
        part.map_err(|error| format!("tensor \"{}\": {error}", self.graph.tensor(tensor)))
    }

    fn check_rows(&self, tensor: usize, value: &Tensor, wanted: usize) -> Result<(), String> {
        let shape = value.shape();
        if shape.is_empty() || value.rows() != wanted {
            let name = self.graph.tensor(tensor);
            return Err(format!(
                "tensor \"{name}\" has shape {shape} for {wanted} rows"
            ));
        }
        Ok(())
    }

    /// Finds the rows for which a condition holds.
    fn decide(&mut self, at: usize) -> Result<(), String> {
        let condition = &self.graph.conditions[at];
        let mut asked = self.common_rows(condition.variables().map(|(_, tensor)| tensor));
        if let Some(parent) = condition.parent() {
            asked = asked.and(&self.side(parent, false));
        }
        let mut holds = Rows::Some([].into());
        if !asked.is_none() {
            let mut tensors = Vec::new();
            for (_, tensor) in condition.variables() {
                tensors.push(self.restricted(tensor, &asked)?);
            }
            let found = condition.holds(asked.count(self.rows), &tensors)?;
            let numbers = asked.numbers(self.rows).into_iter().zip(found);
            let numbers = numbers.filter_map(|(row, holds)| holds.then_some(row));
            holds = Rows::of(numbers.collect(), self.rows);
        }
        self.decisions[at] = Some(Decision { asked, holds });
        Ok(())
    }

    /// The rows on one side of a condition.
    fn side(&self, condition: usize, holds: bool) -> Rows {
        match &self.decisions[condition] {
            Some(decision) if holds => decision.holds.clone(),
            Some(Decision { asked, holds }) => asked.without(holds, self.rows),
            None => Rows::Some([].into()),
        }
    }

    /// A node with its inputs; `None` if it has no row to run on, and so makes nothing.
    fn call(&mut self, step: usize, at: usize) -> Result<Option<Call>, String> {
        let graph = self.graph;
        let node = &graph.nodes[at];
        let mut rows = self.common_rows(node.inputs.iter().map(|(_, tensor)| *tensor));
        if let Some(gate) = node.gate {
            rows = rows.and(&self.side(gate.condition, gate.holds));
        }
        if rows.is_none() {
            for (_, tensor) in &node.outputs {
                self.set(*tensor, Value::Absent);
            }
            return Ok(None);
        }
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (_, tensor) in &node.inputs {
            let input = self.restricted(*tensor, &rows);
            inputs.push(input.map_err(|problem| in_node(node, &problem))?);
        }
        let input_bytes = match rows {
            Rows::All => 0,
            Rows::Some(_) => inputs.iter().map(Tensor::byte_len).sum(),
        };
        self.held_bytes += input_bytes;
        let count = rows.count(self.rows);
        let running = Running {
            step,
            node: at,
            rows,
            input_bytes,
        };
        Ok(Some(Call {
            running,
            inputs,
            rows: count,
        }))
    }

    /// Takes over what a node gave.
    fn ended(&mut self, ended: Running, outputs: Vec<Tensor>) -> Result<(), String> {
        let node = &self.graph.nodes[ended.node];
        self.held_bytes -= ended.input_bytes;
        if outputs.len() != node.outputs.len() {
            let (found, wanted) = (outputs.len(), node.outputs.len());
            return Err(in_node(
                node,
                &format!("it gave {found} outputs instead of {wanted}"),
            ));
        }
        for ((_, tensor), output) in node.outputs.iter().zip(outputs) {
            if let Rows::Some(numbers) = &ended.rows {
                let checked = self.check_rows(*tensor, &output, numbers.len());
                checked.map_err(|problem| in_node(node, &problem))?;
            }
            self.set(*tensor, Value::Rows(output, ended.rows.clone()));
        }
        Ok(())
    }

    fn merge(&mut self, spec: &Merge) -> Result<(), String> {
        let value = match spec.kind {
            GraphMerge::First => self.first(spec),
            _ => self.merged(spec),
        };
        let name = self.graph.tensor(spec.tensor);
        let value = value.map_err(|problem| format!("merge \"{name}\": {problem}"))?;
        self.set(spec.tensor, value);
        Ok(())
    }

    fn merged(&self, spec: &Merge) -> Result<Value, String> {
        let rows = self.common_rows(spec.of.iter().copied());
        if rows.is_none() {
            return Ok(Value::Absent);
        }
        let mut tensors = Vec::with_capacity(spec.of.len());
        for tensor in &spec.of {
            tensors.push(self.restricted(*tensor, &rows)?);
        }
        Ok(Value::Rows(
            merge(spec.kind, &spec.weights, &tensors)?,
            rows,
        ))
    }

    /// Each row of the first tensor that has it.
    fn first(&self, spec: &Merge) -> Result<Value, String> {
        let mut sources: Vec<Option<Pick>> = vec![None; self.rows];
        let mut parts: Vec<&Tensor> = Vec::with_capacity(spec.of.len());
        for tensor in &spec.of {
            let Value::Rows(value, own) = &self.values[*tensor] else {
                continue;
            };
            // One tensor has them all, as where no row or every row takes a branch.
            if matches!(own, Rows::All) && parts.is_empty() {
                return Ok(Value::Rows(value.clone(), Rows::All));
            }
            self.check_rows(*tensor, value, own.count(self.rows))?;
            let part = parts.len();
            parts.push(value);
            for (row, number) in own.numbers(self.rows).into_iter().enumerate() {
                sources[number].get_or_insert(Pick { part, row });
            }
        }
        let mut numbers = Vec::with_capacity(self.rows);
        let mut picks = Vec::with_capacity(self.rows);
        for (number, pick) in sources.into_iter().enumerate() {
            let Some(pick) = pick else { continue };
            numbers.push(number);
            picks.push(pick);
        }
        if picks.is_empty() {
            return Ok(Value::Absent);
        }
        let joined = join_rows(&parts, &picks).map_err(|error| error.to_string())?;
        Ok(Value::Rows(joined, Rows::of(numbers, self.rows)))
    }

    fn outputs(&self) -> Result<Vec<Tensor>, String> {
        let mut outputs = Vec::with_capacity(self.graph.outputs.len());
        for (tensor, spec) in self.graph.output_tensors.iter().zip(&self.graph.outputs) {
            let name = &spec.name;
            let Value::Rows(value, Rows::All) = &self.values[*tensor] else {
                return Err(format!("output \"{name}\" has no value for some rows"));
            };
            spec.accepts(name, value)
                .map_err(|error| format!("output \"{name}\" of the graph: {error}"))?;
            if self.graph.has_rows {
                self.check_rows(*tensor, value, self.rows)?;
            }
            outputs.push(value.clone());
        }
        Ok(outputs)
    }
}

fn in_node(node: &Node, problem: &str) -> String {
    format!("node \"{}\" ({}): {problem}", node.name, node.model_text())
}
