//! Tensors that are made of others, element by element.

use tidegate_core::{DataType, Element, GraphMerge, Shape, Tensor, TensorBuffer, TensorView};

/// Makes a tensor of others that have the same rows.
///
/// # Errors
/// What does not fit; the caller adds the name.
pub(crate) fn merge(
    kind: GraphMerge,
    weights: &[f64],
    tensors: &[Tensor],
) -> Result<Tensor, String> {
    match kind {
        GraphMerge::First => tensors
            .first()
            .cloned()
            .ok_or_else(|| "it has no tensor".to_owned()),
        GraphMerge::Concat => concat_columns(tensors),
        GraphMerge::RowMax => row_max(&tensors[0]),
        GraphMerge::Mean => with_floats(tensors, Mean(weights)),
        GraphMerge::Max => with_floats(tensors, Largest),
        GraphMerge::Min => with_floats(tensors, Smallest),
    }
}

/// How one element is made of those at its place.
trait Combine {
    fn combine(&self, values: impl Iterator<Item = f64>) -> f64;
}

/// Computed in doubles and rounded once.
struct Mean<'a>(&'a [f64]);
struct Largest;
struct Smallest;

impl Combine for Mean<'_> {
    fn combine(&self, values: impl Iterator<Item = f64>) -> f64 {
        // A weight of 0 leaves its tensor out, also where that is infinite.
        let weighted = values.zip(self.0).filter(|(_, weight)| **weight > 0.0);
        weighted.map(|(value, weight)| value * weight).sum()
    }
}

impl Combine for Largest {
    fn combine(&self, values: impl Iterator<Item = f64>) -> f64 {
        values.fold(f64::NEG_INFINITY, larger)
    }
}

impl Combine for Smallest {
    fn combine(&self, values: impl Iterator<Item = f64>) -> f64 {
        -values.map(|value| -value).fold(f64::NEG_INFINITY, larger)
    }
}

/// NaN if one of them is, as NumPy's `maximum` has it: `f64::max` would hide it.
fn larger(one: f64, other: f64) -> f64 {
    if one.is_nan() || one > other {
        one
    } else {
        other
    }
}

fn with_floats(tensors: &[Tensor], combine: impl Combine) -> Result<Tensor, String> {
    same_shape(tensors)?;
    match tensors[0].datatype() {
        DataType::Fp32 => combined::<f32>(tensors, combine, |value| value as f32),
        DataType::Fp64 => combined::<f64>(tensors, combine, |value| value),
        other => Err(format!("it takes FP32 or FP64, not {other}")),
    }
}

fn same_shape(tensors: &[Tensor]) -> Result<(), String> {
    let first = &tensors[0];
    let mut others = tensors.iter();
    let differs =
        |other: &&Tensor| other.shape() != first.shape() || other.datatype() != first.datatype();
    match others.find(differs) {
        None => Ok(()),
        Some(other) => {
            let (one, two) = (first.datatype(), other.datatype());
            let (shape, other) = (first.shape(), other.shape());
            Err(format!("it has {one} {shape} and {two} {other}"))
        }
    }
}

fn combined<T: Element + Into<f64>>(
    tensors: &[Tensor],
    combine: impl Combine,
    narrow: impl Fn(f64) -> T,
) -> Result<Tensor, String> {
    let columns: Option<Vec<Vec<T>>> = tensors.iter().map(Tensor::to_vec::<T>).collect();
    let columns = columns.ok_or("its tensors have different types")?;
    let mut merged = Vec::with_capacity(columns[0].len());
    for at in 0..columns[0].len() {
        let values = columns.iter().map(|column| column[at].into());
        merged.push(narrow(combine.combine(values)));
    }
    Tensor::from_vec(tensors[0].shape().clone(), merged).map_err(|error| error.to_string())
}

fn row_max(tensor: &Tensor) -> Result<Tensor, String> {
    match tensor.datatype() {
        DataType::Fp32 => row_max_of::<f32>(tensor, |value| value as f32),
        DataType::Fp64 => row_max_of::<f64>(tensor, |value| value),
        other => Err(format!("it takes FP32 or FP64, not {other}")),
    }
}

fn row_max_of<T: Element + Into<f64>>(
    tensor: &Tensor,
    narrow: impl Fn(f64) -> T,
) -> Result<Tensor, String> {
    let (rows, width) = (tensor.rows(), row_elements(tensor));
    if width == 0 {
        return Err(format!("shape {} has no values in a row", tensor.shape()));
    }
    let values = tensor.to_vec::<T>().ok_or("its type is another one")?;
    let mut largest = Vec::with_capacity(rows);
    for row in values.chunks(width) {
        largest.push(narrow(
            Largest.combine(row.iter().map(|value| (*value).into())),
        ));
    }
    let shape = Shape::new(&[rows]).map_err(|error| error.to_string())?;
    Tensor::from_vec(shape, largest).map_err(|error| error.to_string())
}

/// The elements of a row, whatever its rank; 1 for a tensor of rows alone.
fn row_elements(tensor: &Tensor) -> usize {
    tensor.shape().get(1..).unwrap_or_default().iter().product()
}

fn concat_columns(tensors: &[Tensor]) -> Result<Tensor, String> {
    let (datatype, rows) = (tensors[0].datatype(), tensors[0].rows());
    let Some(bytes) = datatype.element_bytes() else {
        return Err("it cannot join texts".to_owned());
    };
    let fits = |tensor: &&Tensor| {
        tensor.datatype() == datatype
            && tensor.rows() == rows
            && matches!(tensor.shape().len(), 1 | 2)
    };
    if !tensors.iter().all(|tensor| fits(&tensor)) {
        let shapes: Vec<String> = tensors
            .iter()
            .map(|tensor| format!("{} {}", tensor.datatype(), tensor.shape()))
            .collect();
        return Err(format!(
            "columns cannot be joined of {}",
            shapes.join(" and ")
        ));
    }
    let width = tensors.iter().map(row_elements).sum();
    let shape = Shape::new(&[rows, width]).map_err(|error| error.to_string())?;
    let mut joined = TensorBuffer::new(datatype, shape).ok_or("it takes too much memory")?;
    let mut first = 0;
    for tensor in tensors {
        let own = row_elements(tensor) * bytes;
        let TensorView::Fixed(values) = tensor.view() else {
            continue;
        };
        let targets = joined.bytes_mut().chunks_mut((width * bytes).max(1));
        for (target, row) in targets.zip(values.chunks(own.max(1))) {
            target[first..first + own].copy_from_slice(row);
        }
        first += own;
    }
    Ok(joined.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(extents: &[usize], values: &[f32]) -> Tensor {
        Tensor::from_vec(Shape::new(extents).unwrap(), values.to_vec()).unwrap()
    }

    fn merged(kind: GraphMerge, weights: &[f64], tensors: &[Tensor]) -> Vec<f32> {
        merge(kind, weights, tensors).unwrap().to_vec().unwrap()
    }

    // Expected values: numpy.average, numpy.maximum, numpy.concatenate(axis=1), numpy.max(axis=1).
    #[test]
    fn elements_are_merged_as_numpy_does() {
        let (one, two) = (
            floats(&[2, 2], &[1.0, 2.0, 3.0, f32::NAN]),
            floats(&[2, 2], &[5.0, 0.0, 3.0, 1.0]),
        );
        let both = [one.clone(), two.clone()];
        assert_eq!(
            merged(GraphMerge::Mean, &[0.75, 0.25], &both)[..3],
            [2.0, 1.5, 3.0]
        );
        let largest = merged(GraphMerge::Max, &[], &both);
        assert!(largest[..3] == [5.0, 2.0, 3.0] && largest[3].is_nan());
        assert_eq!(merged(GraphMerge::Min, &[], &both)[..3], [1.0, 0.0, 3.0]);
        let joined = merge(
            GraphMerge::Concat,
            &[],
            &[two.clone(), floats(&[2], &[7.0, 8.0])],
        )
        .unwrap();
        assert_eq!(joined.shape()[..], [2, 3]);
        assert_eq!(
            joined.to_vec::<f32>().unwrap(),
            [5.0, 0.0, 7.0, 3.0, 1.0, 8.0]
        );
        assert_eq!(merged(GraphMerge::RowMax, &[], &[two]), [5.0, 3.0]);
        assert!(merged(GraphMerge::RowMax, &[], &[one])[1].is_nan());
    }

    #[test]
    fn tensors_that_do_not_fit_are_named() {
        let two = [floats(&[2], &[1.0, 2.0]), floats(&[1], &[1.0])];
        assert_eq!(
            merge(GraphMerge::Max, &[], &two).unwrap_err(),
            "it has FP32 [2] and FP32 [1]"
        );
        assert!(merge(GraphMerge::Concat, &[], &two).is_err());
        let whole = Tensor::from_vec(Shape::new(&[1]).unwrap(), vec![1i64]).unwrap();
        assert!(
            merge(GraphMerge::Mean, &[1.0], &[whole])
                .unwrap_err()
                .contains("not INT64")
        );
    }
}
