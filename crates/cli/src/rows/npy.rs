//! Arrays that NumPy saved.

use std::io::Read;
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;
use tidegate_core::{Shape, Signature, Tensor};

use super::cells::Cells;

/// Longer headers are those of record arrays, which are not for models.
const MAX_HEADER_BYTES: usize = 4096;

/// One array for a model with one input.
pub(super) fn read(path: &Path, signature: &Signature) -> Result<Vec<(String, Tensor)>> {
    let [spec] = signature.inputs.as_slice() else {
        bail!("an .npy file has one input, but the model has several")
    };
    check_header(path)?;
    let file = npyz::NpyFile::new(std::io::BufReader::new(std::fs::File::open(path)?))?;
    if file.order() != npyz::Order::C {
        bail!("the array is in Fortran order: save it with numpy.ascontiguousarray");
    }
    let shape: Vec<usize> = file
        .shape()
        .iter()
        .map(|extent| usize::try_from(*extent))
        .collect::<Result<_, _>>()?;
    let shape = Shape::new(&shape)?;
    let descr = file.dtype().descr().trim_matches('\'').to_owned();
    macro_rules! texts {
        ($rust:ty) => {
            file.into_vec::<$rust>()?
                .iter()
                .map(|value| Value::from(value.to_string()))
                .collect::<Vec<_>>()
        };
    }
    let texts = match descr.trim_start_matches(['<', '|', '=']) {
        "f4" => texts!(f32),
        "f8" => texts!(f64),
        "i1" => texts!(i8),
        "i2" => texts!(i16),
        "i4" => texts!(i32),
        "i8" => texts!(i64),
        "u1" => texts!(u8),
        "u2" => texts!(u16),
        "u4" => texts!(u32),
        "u8" => texts!(u64),
        "b1" => texts!(bool),
        other => bail!("arrays of data type {other:?} are not supported"),
    };
    let cells = Cells {
        spec,
        values: texts.iter().collect(),
        is_text: true,
        width: shape.iter().skip(1).product(),
        columns: Vec::new(),
    };
    Ok(vec![(spec.name.clone(), cells.tensor(shape)?)])
}

/// Refuses a header that is nested, which a plain array's is not but for its shape: the time that the
/// reader takes doubles with each level.
fn check_header(path: &Path) -> Result<()> {
    let mut start = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(12 + MAX_HEADER_BYTES as u64)
        .read_to_end(&mut start)?;
    // The magic string, the version, and the length in two or four bytes (NEP 1).
    let (length, begins) = match start.as_slice() {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, low, high, ..] => {
            (u32::from(u16::from_le_bytes([*low, *high])), 10)
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', _, _, a, b, c, d, ..] => {
            (u32::from_le_bytes([*a, *b, *c, *d]), 12)
        }
        _ => bail!("the file does not begin like a file from numpy.save"),
    };
    let length = usize::try_from(length)?;
    if length > MAX_HEADER_BYTES {
        bail!("its header has {length} bytes, the maximum is {MAX_HEADER_BYTES}");
    }
    let header = start[begins..].iter().take(length);
    let brackets = header.filter(|letter| b"([{".contains(letter)).count();
    // One of the dictionary, and one of the shape.
    if brackets > 2 {
        bail!("it has an array of records: save plain numbers");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend_from_slice(&u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        std::fs::write(file.path(), bytes).unwrap();
        check_header(file.path())
    }

    #[test]
    fn a_nested_header_is_refused_before_it_is_read() {
        check("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }").unwrap();
        assert!(check(&format!("{{'descr': {}", "[".repeat(100))).is_err());
        assert!(check(&"[".repeat(MAX_HEADER_BYTES + 1)).is_err());
    }
}
