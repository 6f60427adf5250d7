//! Running a version before it answers: warm caches, measured run times, and proof that its
//! requests can share a run.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use tidegate_core::{
    DataType, Dim, Shape, Signature, StringArray, Tensor, TensorSpec, f16, with_element,
};
use tidegate_engines::{Instance, LoadError, RunError};
use tracing::debug;

/// Warming stops before a batch size that would take it beyond this, however many are left:
/// requests teach the rest.
const BUDGET: Duration = Duration::from_secs(1);
/// Where a row takes longer, warming does no more than prove that rows can share a run: a swap
/// waits for it, such a row keeps the cores busy by itself, and requests teach the rest.
const SLOW: Duration = Duration::from_millis(30);
/// Runs of each size; the shortest counts.
const REPEATS: u32 = 3;
/// Larger inputs are not tried: whoever sets a batch size beyond that has not asked for their
/// memory at the start.
const MAX_SAMPLE_BYTES: usize = 64 << 20;
/// Extents to try for open dimensions other than the batch: some models need at least this much.
const OPEN_EXTENTS: [usize; 4] = [8, 1, 32, 224];
/// How far a row of a batch may be from the same row alone: kernels for other batch sizes add up in
/// another order.
const TOLERANCE: f64 = 1e-3;

/// What warming found out.
#[derive(Debug, Default)]
pub(crate) struct Warm {
    /// Most rows in one run; `None` where requests cannot share a run.
    pub(crate) max_batch_rows: Option<NonZeroUsize>,
    /// Why requests cannot share a run, where that was not asked for.
    pub(crate) not_batched: Option<String>,
    /// How long runs over inputs of so many bytes took.
    pub(crate) run_times: Vec<(usize, Duration)>,
}

/// Warms all instances. `asked` is the configured largest batch: `Some(0)` for none; if it is set
/// and the artifact does not bear it, the version is refused, naming the output that does not
/// follow the batch axis.
pub(crate) fn run(
    signature: &Signature,
    instances: &mut [Box<dyn Instance>],
    asked: Option<usize>,
    default: NonZeroUsize,
) -> Result<Warm, LoadError> {
    let Some((first, others)) = instances.split_first_mut() else {
        return Ok(Warm::default());
    };
    let Some((open, one_row)) = single(signature, &mut **first) else {
        // Synthetic values are not for every model, for example where an input is an index with a
        // meaning.
        let rows = asked.and_then(NonZeroUsize::new);
        let reason = rows
            .is_none()
            .then(|| "the model does not take synthetic samples".to_owned());
        return Ok(Warm {
            max_batch_rows: rows,
            not_batched: reason,
            run_times: Vec::new(),
        });
    };
    let most = match asked {
        Some(0) => None,
        Some(rows) => NonZeroUsize::new(rows),
        None => Some(default),
    };
    let is_slow = one_row > SLOW;
    let mut not_batched = None;
    let mut run_times = Vec::new();
    let proof = |most: NonZeroUsize| {
        (
            most,
            verify(
                signature,
                &mut **first,
                most.get().min(if is_slow { 2 } else { 5 }),
                open,
            ),
        )
    };
    let max_batch_rows = match most.map(proof) {
        None => None,
        Some((most, Ok(took))) => {
            run_times.extend(took.into_iter().filter(|_| is_slow));
            Some(most)
        }
        Some((_, Err((name, problem)))) if asked.is_some() => {
            return Err(LoadError::Unsupported {
                side: "tensor",
                name,
                problem,
            });
        }
        Some((_, Err((name, problem)))) => {
            not_batched = Some(format!("\"{name}\" {problem}"));
            None
        }
    };
    if is_slow {
        if run_times.is_empty() {
            run_times.push((byte_len(&samples(signature, 1, open)), one_row));
        }
        for instance in others {
            timed(&mut **instance, &samples(signature, 1, open));
        }
        return Ok(Warm {
            max_batch_rows,
            not_batched,
            run_times,
        });
    }
    let started = Instant::now();
    let sizes = std::iter::successors(Some(1usize), |rows| Some(rows * 2));
    let most_rows = max_batch_rows.map_or(1, NonZeroUsize::get);
    let row_bytes = byte_len(&samples(signature, 1, open)).max(1);
    let (mut largest, mut last) = (1, one_row);
    for rows in sizes
        .take_while(|rows| *rows / 2 < most_rows)
        .map(|rows| rows.min(most_rows))
    {
        let foreseen = last.saturating_mul(2 * REPEATS);
        if rows > 1
            && (started.elapsed() + foreseen > BUDGET || rows > MAX_SAMPLE_BYTES / row_bytes)
        {
            break;
        }
        largest = rows;
        let sample = samples(signature, rows, open);
        let took = (0..REPEATS)
            .filter_map(|_| timed(&mut **first, &sample))
            .min();
        last = took.unwrap_or(last);
        run_times.extend(took.map(|took| (byte_len(&sample), took)));
    }
    for instance in others {
        for rows in [1, largest] {
            timed(&mut **instance, &samples(signature, rows, open));
        }
    }
    Ok(Warm {
        max_batch_rows,
        not_batched,
        run_times,
    })
}

fn byte_len(sample: &[Option<Tensor>]) -> usize {
    sample.iter().flatten().map(Tensor::byte_len).sum()
}

/// Synthetic inputs of one row that the artifact runs, with its outputs; none where it runs none.
pub(crate) fn synthetic(
    signature: &Signature,
    instance: &mut dyn Instance,
) -> Option<(Vec<Option<Tensor>>, Vec<Tensor>)> {
    OPEN_EXTENTS.into_iter().find_map(|open| {
        let sample = samples(signature, 1, open);
        let outputs = instance.run(&sample).ok()?;
        Some((sample, outputs))
    })
}

/// Finds extents for open dimensions with which one row runs, and how long it took.
fn single(signature: &Signature, instance: &mut dyn Instance) -> Option<(usize, Duration)> {
    OPEN_EXTENTS.into_iter().find_map(|open| {
        let started = Instant::now();
        match instance.run(&samples(signature, 1, open)) {
            Ok(_) => Some((open, started.elapsed())),
            Err(error) => {
                debug!(%error, open, "a synthetic sample does not run");
                None
            }
        }
    })
}

fn timed(instance: &mut dyn Instance, sample: &[Option<Tensor>]) -> Option<Duration> {
    let started = Instant::now();
    instance.run(sample).ok().map(|_| started.elapsed())
}

/// Proves on samples that `rows` rows together give what each row gives alone; else the name of the
/// tensor that does not follow the batch axis, and how. Gives how long runs over inputs of so many
/// bytes took.
fn verify(
    signature: &Signature,
    instance: &mut dyn Instance,
    rows: usize,
    open: usize,
) -> Result<Vec<(usize, Duration)>, (String, String)> {
    let fixed_input = signature
        .inputs
        .iter()
        .find(|spec| !spec.has_dynamic_first_axis());
    let fixed_output = signature
        .outputs
        .iter()
        .find(|spec| spec.dims.is_some() && !spec.has_dynamic_first_axis());
    if let Some(spec) = fixed_input.or(fixed_output) {
        let shape = spec.wire_shape();
        return Err((
            spec.name.clone(),
            format!("has shape {shape:?}, whose first extent is not open for a batch"),
        ));
    }
    let rows = rows.max(1);
    let sample = samples(signature, rows, open);
    let mut took = Vec::new();
    let mut run = |instance: &mut dyn Instance,
                   sample: &[Option<Tensor>]|
     -> Result<Vec<Tensor>, (String, String)> {
        let started = Instant::now();
        let outputs = instance.run(sample).map_err(|error: RunError| {
            let name = signature
                .inputs
                .first()
                .map_or_else(String::new, |input| input.name.clone());
            (name, format!("cannot run {rows} rows together: {error}"))
        })?;
        took.push((byte_len(sample), started.elapsed()));
        Ok(outputs)
    };
    let together = run(instance, &sample)?;
    for (spec, output) in signature.outputs.iter().zip(&together) {
        if output.shape().first() != Some(&rows) {
            let problem = format!(
                "has shape {} for {rows} rows: it does not follow the batch axis",
                output.shape()
            );
            return Err((spec.name.clone(), problem));
        }
    }
    // Of two rows the second is the one that could depend on the other.
    for row in if rows == 2 { 1..2 } else { 0..rows } {
        let one: Vec<Option<Tensor>> = sample
            .iter()
            .map(|tensor| tensor.as_ref().map(|tensor| tensor.slice_rows(row, 1)))
            .collect();
        let alone = run(instance, &one)?;
        // Classes may tip over where scores are close; scores tell whether rows depend on one
        // another.
        let has_scores = alone.iter().any(is_float);
        for ((spec, alone), together) in signature.outputs.iter().zip(&alone).zip(&together) {
            if has_scores && !is_float(alone) {
                continue;
            }
            if alone.shape().first() != Some(&1) || !close(alone, &together.slice_rows(row, 1)) {
                return Err((
                    spec.name.clone(),
                    "gives other values for a row in a batch than alone".to_owned(),
                ));
            }
        }
    }
    Ok(took)
}

fn is_float(tensor: &Tensor) -> bool {
    matches!(
        tensor.datatype(),
        DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64
    )
}

fn close(one: &Tensor, two: &Tensor) -> bool {
    if one.shape() != two.shape() {
        return false;
    }
    if !is_float(one) {
        return one.wire() == two.wire();
    }
    let floats = |tensor: &Tensor| -> Vec<f64> {
        match tensor.datatype() {
            DataType::Fp32 => tensor
                .to_vec::<f32>()
                .into_iter()
                .flatten()
                .map(f64::from)
                .collect(),
            DataType::Fp64 => tensor.to_vec::<f64>().unwrap_or_default(),
            DataType::Fp16 => tensor
                .to_vec::<f16>()
                .into_iter()
                .flatten()
                .map(f64::from)
                .collect(),
            _ => tensor
                .to_vec::<tidegate_core::bf16>()
                .into_iter()
                .flatten()
                .map(f64::from)
                .collect(),
        }
    };
    // Half precision has three decimal digits.
    let tolerance = if matches!(one.datatype(), DataType::Fp32 | DataType::Fp64) {
        TOLERANCE
    } else {
        20.0 * TOLERANCE
    };
    let agrees = |a: f64, b: f64| {
        (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= tolerance * (1.0 + a.abs())
    };
    floats(one)
        .into_iter()
        .zip(floats(two))
        .all(|(a, b)| agrees(a, b))
}

/// Synthetic inputs: the same every time, different in every row.
fn samples(signature: &Signature, rows: usize, open: usize) -> Vec<Option<Tensor>> {
    signature
        .inputs
        .iter()
        .map(|spec| {
            if spec.optional {
                None
            } else {
                sample(spec, rows, open)
            }
        })
        .collect()
}

fn sample(spec: &TensorSpec, rows: usize, open: usize) -> Option<Tensor> {
    let extent = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Fixed(extent) => *extent,
        Dim::Any if axis == 0 => rows,
        Dim::Any => open,
    };
    let dims = spec.dims.as_deref().unwrap_or_default();
    let shape = Shape::new(&dims.iter().enumerate().map(extent).collect::<Vec<_>>()).ok()?;
    let count = shape.element_count();
    let noise = (0..count).map(|at| (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40);
    let tensor = match spec.datatype {
        DataType::Bytes => {
            let texts: StringArray = noise
                .map(|noise| format!("warm up {}", noise % 97))
                .collect();
            Tensor::from_strings(shape, texts)
        }
        DataType::Bool => {
            let bytes: Vec<u8> = noise.map(|noise| (noise & 1) as u8).collect();
            Tensor::from_wire(DataType::Bool, shape, bytes.into())
        }
        DataType::Fp16 => Tensor::from_vec(shape, noise.map(|n| f16::from_f32(unit(n))).collect()),
        DataType::Bf16 => Tensor::from_vec(
            shape,
            noise
                .map(|n| tidegate_core::bf16::from_f32(unit(n)))
                .collect(),
        ),
        DataType::Fp32 => Tensor::from_vec(shape, noise.map(unit).collect()),
        DataType::Fp64 => Tensor::from_vec(shape, noise.map(|n| f64::from(unit(n))).collect()),
        // Small integers: most often they are indices, and every vocabulary has an entry 0 and 1.
        integer => with_element!(integer, T => {
            let elements: Vec<T> = noise.map(|noise| bytemuck::cast_slice(&[noise & 1])[0]).collect();
            Tensor::from_vec(shape, elements)
        }, else => return None),
    };
    tensor.ok()
}

/// 24 bits of noise as a number in [0, 1).
fn unit(noise: u64) -> f32 {
    noise as f32 / (1 << 24) as f32
}
