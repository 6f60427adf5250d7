//! Graphs against a reference that asks for one value after the other.

mod compiling;
mod random;
mod running;

use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_core::{Manifest, Shape, Tensor};

use crate::{Graph, GraphError, NodeRunner, RunError, declared};

/// A graph from `x`, one number a row, to `y`.
fn graph(text: &str) -> Result<Graph, GraphError> {
    graph_of("[-1]", true, text)
}

fn graph_of(shape: &str, has_rows: bool, text: &str) -> Result<Graph, GraphError> {
    let tensor = |side: &str, name: &str| {
        format!("[[signature.{side}]]\nname = \"{name}\"\ndatatype = \"FP32\"\nshape = {shape}\n")
    };
    let text = format!("{}{}{text}", tensor("inputs", "x"), tensor("outputs", "y"));
    let manifest: Manifest = toml::from_str(&text).unwrap();
    let signature = declared(&manifest.signature)?;
    Graph::compile(&manifest.graph.unwrap_or_default(), &signature, has_rows)
}

fn node(name: &str, model: &str, from: &str, to: &str, rest: &str) -> String {
    format!(
        "[[graph.nodes]]\nname = \"{name}\"\nmodel = \"{model}\"\ninputs = {{ x = \"{from}\" }}\n\
         outputs = {{ y = \"{to}\" }}\n{rest}\n"
    )
}

fn first(tensor: &str, of: &str) -> String {
    format!("[[graph.merges]]\ntensor = \"{tensor}\"\nmerge = \"first\"\nof = {of}\n")
}

/// Runs models whose names are what they add; `double` and `half` multiply, `fail` fails. Counts rows.
#[derive(Default)]
struct Adders<'g> {
    graph: Option<&'g Graph>,
    ran_rows: AtomicUsize,
    most_held: AtomicUsize,
}

impl NodeRunner for Adders<'_> {
    type Error = String;

    async fn run(
        &self,
        at: usize,
        inputs: Vec<Tensor>,
        rows: usize,
    ) -> Result<Vec<Tensor>, String> {
        let model = self.graph.unwrap().nodes()[at].model();
        self.ran_rows.fetch_add(rows, Ordering::Relaxed);
        if model == "fail" {
            return Err("it fails".to_owned());
        }
        let mut sum = vec![0f32; inputs[0].shape().element_count()];
        for input in &inputs {
            for (sum, value) in sum.iter_mut().zip(input.to_vec::<f32>().unwrap()) {
                *sum += value;
            }
        }
        for value in &mut sum {
            match model {
                "double" => *value *= 2.0,
                "half" => *value /= 2.0,
                other => *value += other.parse::<f32>().unwrap(),
            }
        }
        // Others get their turn in between.
        tokio::task::yield_now().await;
        Ok(vec![
            Tensor::from_vec(inputs[0].shape().clone(), sum).unwrap(),
        ])
    }

    fn hold(&self, bytes: usize) -> Result<(), String> {
        self.most_held.fetch_max(bytes, Ordering::Relaxed);
        Ok(())
    }
}

fn run(graph: &Graph, x: &[f32]) -> Result<Vec<f32>, RunError<String>> {
    run_with(graph, x, &adders(graph))
}

fn adders(graph: &Graph) -> Adders<'_> {
    Adders {
        graph: Some(graph),
        ..Adders::default()
    }
}

fn run_with(graph: &Graph, x: &[f32], adders: &Adders<'_>) -> Result<Vec<f32>, RunError<String>> {
    let input = Tensor::from_vec(Shape::new(&[x.len()]).unwrap(), x.to_vec()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let outputs = runtime.block_on(graph.run(vec![input], x.len(), adders))?;
    Ok(outputs[0].to_vec().unwrap())
}
