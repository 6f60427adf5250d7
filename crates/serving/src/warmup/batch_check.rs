//! Proof that requests can share a run: rows together give what each row gives alone.

use std::time::Instant;

use tidegate_core::{DataType, Signature, Tensor, bf16, f16};
use tidegate_engines::Instance;

use super::RunTime;
use super::samples::{SampleKind, byte_len, rows_that_fit, samples};

/// How far a row of a batch may be from the same row alone, relative to 1 + its size. Kernels for
/// other batch sizes add up in another order.
const TOLERANCE: f64 = 1e-3;
/// Half precision has three decimal digits.
const HALF_PRECISION_TOLERANCE: f64 = 2e-2;

/// Why requests cannot share a run.
pub(super) struct NotBatched {
    /// The input or output that does not follow the batch axis.
    pub(super) tensor: String,
    pub(super) problem: String,
}

impl NotBatched {
    fn new(tensor: &str, problem: impl Into<String>) -> Self {
        Self {
            tensor: tensor.to_owned(),
            problem: problem.into(),
        }
    }
}

/// What a proof found out.
pub(super) struct Proof {
    pub(super) run_times: Vec<RunTime>,
    /// Whether rows gave different outputs. Where all of them give the same, for example zeros, the
    /// comparison says little.
    pub(super) distinguishes_rows: bool,
}

/// Proves on samples that `rows` rows can share a run. Samples of fewer rows are used where those
/// would be too large.
pub(super) fn run(
    signature: &Signature,
    instance: &mut dyn Instance,
    rows: usize,
    kind: SampleKind,
) -> Result<Proof, NotBatched> {
    check_shapes(signature)?;
    let rows = rows_that_fit(signature, rows.max(1), kind);
    let Some(sample) = samples(signature, rows, kind).filter(|_| rows > 0) else {
        return Err(NotBatched::new("", "is too large for samples"));
    };
    let mut check = BatchCheck {
        signature,
        instance,
        rows,
        run_times: Vec::new(),
    };
    let together = check.run(&sample)?;
    check.check_row_counts(&together)?;
    // Of two rows the second one alone is enough: it is the one that could depend on the other.
    let first = usize::from(rows == 2);
    for row in first..rows {
        let alone = check.run(&slice_row(&sample, row))?;
        check.compare_row(row, &alone, &together)?;
    }
    Ok(Proof {
        run_times: check.run_times,
        distinguishes_rows: distinguishes_rows(&together),
    })
}

/// Whether some output has another value in some row than in the first.
fn distinguishes_rows(together: &[Tensor]) -> bool {
    together.iter().any(|output| {
        let first = output.slice_rows(0, 1).wire();
        (1..output.rows()).any(|row| output.slice_rows(row, 1).wire() != first)
    })
}

/// The position of an output that differs between the same rows alone and in a batch, beyond what
/// kernels for other batch sizes differ by.
pub(crate) fn differing_output(alone: &[Tensor], together: &[Tensor]) -> Option<usize> {
    // A class can change where scores are close. Where there are scores, they tell whether rows
    // depend on each other.
    let has_scores = alone.iter().any(is_float);
    let mut pairs = alone.iter().zip(together);
    pairs.position(|(alone, together)| {
        let is_compared = is_float(alone) || !has_scores;
        is_compared && !is_close(alone, together)
    })
}

struct BatchCheck<'a> {
    signature: &'a Signature,
    instance: &'a mut dyn Instance,
    rows: usize,
    run_times: Vec<RunTime>,
}

impl BatchCheck<'_> {
    fn run(&mut self, sample: &[Option<Tensor>]) -> Result<Vec<Tensor>, NotBatched> {
        let started = Instant::now();
        let outputs = self.instance.run(sample).map_err(|error| {
            let first_input = self.signature.inputs.first();
            let name = first_input.map_or("", |input| input.name.as_str());
            let rows = self.rows;
            NotBatched::new(name, format!("cannot run {rows} rows together: {error}"))
        })?;
        self.run_times.push((byte_len(sample), started.elapsed()));
        Ok(outputs)
    }

    fn check_row_counts(&self, together: &[Tensor]) -> Result<(), NotBatched> {
        for (spec, output) in self.signature.outputs.iter().zip(together) {
            if output.shape().first() != Some(&self.rows) {
                let (shape, rows) = (output.shape(), self.rows);
                let problem =
                    format!("has shape {shape} for {rows} rows: it does not follow the batch axis");
                return Err(NotBatched::new(&spec.name, problem));
            }
        }
        Ok(())
    }

    fn compare_row(
        &self,
        row: usize,
        alone: &[Tensor],
        together: &[Tensor],
    ) -> Result<(), NotBatched> {
        let own_rows: Vec<Tensor> = together
            .iter()
            .map(|output| output.slice_rows(row, 1))
            .collect();
        let outputs = alone.iter().zip(&own_rows);
        let other_shape = outputs
            .into_iter()
            .position(|(one, two)| one.shape() != two.shape());
        match other_shape.or_else(|| differing_output(alone, &own_rows)) {
            None => Ok(()),
            Some(at) => Err(NotBatched::new(
                &self.signature.outputs[at].name,
                "gives different values for a row in a batch and alone",
            )),
        }
    }
}

/// Every input that a request must give, and every output with a known shape, must be open in its
/// first dimension. Requests that give an input with a default run alone.
fn check_shapes(signature: &Signature) -> Result<(), NotBatched> {
    let fixed_input = signature
        .inputs
        .iter()
        .find(|spec| !spec.optional && !spec.has_dynamic_first_axis());
    let fixed_output = signature
        .outputs
        .iter()
        .find(|spec| spec.dims.is_some() && !spec.has_dynamic_first_axis());
    let Some(spec) = fixed_input.or(fixed_output) else {
        return Ok(());
    };
    let shape = spec.wire_shape();
    let problem = format!("has shape {shape:?}, whose first dimension is fixed");
    Err(NotBatched::new(&spec.name, problem))
}

fn slice_row(sample: &[Option<Tensor>], row: usize) -> Vec<Option<Tensor>> {
    let tensors = sample.iter();
    tensors
        .map(|tensor| tensor.as_ref().map(|tensor| tensor.slice_rows(row, 1)))
        .collect()
}

pub(crate) fn is_float(tensor: &Tensor) -> bool {
    matches!(
        tensor.datatype(),
        DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64
    )
}

fn is_close(one: &Tensor, two: &Tensor) -> bool {
    if one.shape() != two.shape() {
        return false;
    }
    if !is_float(one) {
        return one.wire() == two.wire();
    }
    let tolerance = match one.datatype() {
        DataType::Fp32 | DataType::Fp64 => TOLERANCE,
        _ => HALF_PRECISION_TOLERANCE,
    };
    floats(one)
        .into_iter()
        .zip(floats(two))
        .all(|(a, b)| agree(a, b, tolerance))
}

fn agree(a: f64, b: f64, tolerance: f64) -> bool {
    // `==` for infinities, whose difference is NaN.
    (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= tolerance * (1.0 + a.abs())
}

/// The elements of a floating-point tensor; none of another one.
fn floats(tensor: &Tensor) -> Vec<f64> {
    let floats = match tensor.datatype() {
        DataType::Fp16 => tensor.to_vec::<f16>().map(widen),
        DataType::Bf16 => tensor.to_vec::<bf16>().map(widen),
        DataType::Fp32 => tensor.to_vec::<f32>().map(widen),
        _ => tensor.to_vec::<f64>(),
    };
    floats.unwrap_or_default()
}

fn widen<T: Into<f64>>(elements: Vec<T>) -> Vec<f64> {
    elements.into_iter().map(Into::into).collect()
}
