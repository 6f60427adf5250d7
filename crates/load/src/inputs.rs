//! The inputs of requests: rows of the user, or values generated from the signature.

use bytes::Bytes;
use tidegate_core::{
    DataType, Dim, Shape, Signature, StringArray, Tensor, TensorError, TensorSpec, bf16, f16,
};

use crate::error::LoadError;

/// Most different requests per model.
// A bound for memory: every request is rendered before the load begins.
const MAX_REQUESTS: usize = 512;

/// The named inputs of one request.
pub type Inputs = Vec<(String, Tensor)>;

/// Cuts a table into requests of `rows` rows each. The last request takes its missing rows from the
/// beginning of the table.
///
/// # Errors
/// If the table has no rows, or an input has no axis of rows.
pub fn cut(model: &str, table: &[(String, Tensor)], rows: usize) -> Result<Vec<Inputs>, LoadError> {
    let total = table.first().map_or(0, |(_, tensor)| tensor.rows());
    if total == 0 || rows == 0 {
        return Err(inputs_error(model, "there are no rows to send"));
    }
    if let Some((name, _)) = table
        .iter()
        .find(|(_, tensor)| tensor.shape().is_empty() || tensor.rows() != total)
    {
        let problem =
            format!("input \"{name}\" does not have {total} rows, as the first input has");
        return Err(inputs_error(model, problem));
    }
    let requests = total.div_ceil(rows).min(MAX_REQUESTS);
    (0..requests)
        .map(|at| slice(table, at * rows, rows).map_err(|error| inputs_error(model, error)))
        .collect()
}

fn inputs_error(model: &str, problem: impl ToString) -> LoadError {
    LoadError::Inputs {
        model: model.to_owned(),
        problem: problem.to_string(),
    }
}

fn slice(table: &[(String, Tensor)], first: usize, rows: usize) -> Result<Inputs, TensorError> {
    table
        .iter()
        .map(|(name, tensor)| Ok((name.clone(), slice_cyclic(tensor, first, rows)?)))
        .collect()
}

/// `rows` rows from `first` on; after the last row come those from the beginning.
fn slice_cyclic(tensor: &Tensor, first: usize, rows: usize) -> Result<Tensor, TensorError> {
    let total = tensor.rows();
    let mut parts = Vec::new();
    let mut missing = rows;
    let mut at = first % total;
    while missing > 0 {
        let count = missing.min(total - at);
        parts.push(tensor.slice_rows(at, count));
        missing -= count;
        at = 0;
    }
    Tensor::concat_rows(&parts.iter().collect::<Vec<_>>())
}

/// Generates requests: floats in [0, 1), short texts, and for integers 0 and 1, because most integers
/// are indices and every vocabulary has these two. The same seed gives the same requests. Dynamic
/// dimensions other than the first get `open_extent`.
///
/// # Errors
/// If an input would be too large to address.
pub fn generate(
    model: &str,
    signature: &Signature,
    rows: usize,
    open_extent: usize,
    seed: u64,
) -> Result<Vec<Inputs>, LoadError> {
    // Few, as all of them are rendered beforehand and stay in memory.
    const REQUESTS: usize = 64;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut requests = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let mut inputs = Inputs::new();
        for spec in signature.inputs.iter().filter(|spec| !spec.optional) {
            let tensor = random_tensor(spec, rows, open_extent, &mut rng)
                .map_err(|error| inputs_error(model, error))?;
            inputs.push((spec.name.clone(), tensor));
        }
        requests.push(inputs);
    }
    Ok(requests)
}

fn random_tensor(
    spec: &TensorSpec,
    rows: usize,
    open_extent: usize,
    rng: &mut fastrand::Rng,
) -> Result<Tensor, TensorError> {
    let mut extents = Vec::new();
    for (axis, dim) in spec.dims.iter().flatten().enumerate() {
        extents.push(match dim {
            Dim::Fixed(extent) => *extent,
            Dim::Any if axis == 0 => rows,
            Dim::Any => open_extent,
        });
    }
    let shape = Shape::new(&extents)?;
    let count = shape.element_count();
    if spec.datatype == DataType::Bytes {
        let texts: StringArray = (0..count)
            .map(|_| format!("text {}", rng.u32(0..1000)))
            .collect();
        return Tensor::from_strings(shape, texts);
    }
    let bytes: Vec<u8> = (0..count)
        .flat_map(|_| random_element(spec.datatype, rng))
        .collect();
    Tensor::from_wire(spec.datatype, shape, Bytes::from(bytes))
}

/// The little-endian bytes of a number.
fn random_element(datatype: DataType, rng: &mut fastrand::Rng) -> Vec<u8> {
    match datatype {
        DataType::Fp16 => f16::from_f32(rng.f32()).to_le_bytes().to_vec(),
        DataType::Bf16 => bf16::from_f32(rng.f32()).to_le_bytes().to_vec(),
        DataType::Fp32 => rng.f32().to_le_bytes().to_vec(),
        DataType::Fp64 => rng.f64().to_le_bytes().to_vec(),
        integer => {
            let mut bytes = vec![0; integer.element_bytes().unwrap_or(1)];
            // Little-endian: the first byte is the lowest.
            bytes[0] = rng.u8(0..2);
            bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature() -> Signature {
        let inputs = DataType::ALL.into_iter().map(|datatype| TensorSpec {
            name: datatype.name().to_owned(),
            datatype,
            dims: Some(vec![Dim::Any, Dim::Fixed(2), Dim::Any]),
            optional: false,
        });
        Signature {
            inputs: inputs.collect(),
            outputs: Vec::new(),
        }
    }

    #[test]
    fn generated_inputs_fit_the_signature_and_follow_the_seed() {
        let signature = signature();
        let requests = generate("m", &signature, 3, 5, 7).unwrap();
        let wires = |requests: &[Inputs]| -> Vec<Bytes> {
            requests
                .iter()
                .flatten()
                .map(|(_, tensor)| tensor.wire())
                .collect()
        };
        assert_eq!(
            wires(&requests),
            wires(&generate("m", &signature, 3, 5, 7).unwrap())
        );
        assert_ne!(
            wires(&requests),
            wires(&generate("m", &signature, 3, 5, 8).unwrap())
        );
        for inputs in requests {
            for (_, tensor) in &inputs {
                assert_eq!(tensor.shape()[..], [3, 2, 5]);
            }
            assert!(signature.bind(inputs).is_ok());
        }
    }

    #[test]
    fn a_table_is_cut_into_requests_that_start_over_at_its_end() {
        let column = |rows: i32| {
            let shape = Shape::new(&[rows as usize, 1]).unwrap();
            Tensor::from_vec(shape, (0..rows).collect::<Vec<i32>>()).unwrap()
        };
        let table = vec![("x".to_owned(), column(5))];
        let values = |rows| -> Vec<Vec<i32>> {
            let requests = cut("m", &table, rows).unwrap();
            requests
                .iter()
                .map(|inputs| inputs[0].1.to_vec::<i32>().unwrap())
                .collect()
        };
        assert_eq!(values(2), [[0, 1], [2, 3], [4, 0]]);
        assert_eq!(values(12), [[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]]);
        let uneven = vec![("x".to_owned(), column(5)), ("y".to_owned(), column(4))];
        assert!(cut("m", &uneven, 1).is_err());
        assert!(cut("m", &[], 1).is_err());
    }
}
