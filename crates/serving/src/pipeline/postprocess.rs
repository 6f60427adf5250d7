//! From the engine's outputs to those that the client asked for.

use std::cmp::Ordering;

use tidegate_core::{StringArray, Tensor, with_element};

use crate::{ErrorCode, InferError, OutputTensor, Version};

/// Picks the outputs that were asked for and classifies where classes were asked for.
pub(super) fn postprocess(
    version: &Version,
    mut tensors: Vec<Tensor>,
    wanted: &[(usize, usize)],
) -> Result<Vec<OutputTensor>, InferError> {
    version.reshapes().outputs(&mut tensors)?;
    let is_batched = version.is_batched();
    let mut tensors: Vec<Option<Tensor>> = tensors.into_iter().map(Some).collect();
    let mut outputs = Vec::with_capacity(wanted.len());
    for &(index, classes) in wanted {
        let missing = || {
            InferError::new(
                ErrorCode::ExecutionFailed,
                format!("the model gave no output {index}"),
            )
        };
        let tensor = tensors
            .get_mut(index)
            // Moved, not copied: `prepare` refuses a request that names an output twice.
            .and_then(Option::take)
            .ok_or_else(missing)?;
        let tensor = match classes {
            0 => tensor,
            classes => {
                let name = &version.signature().outputs[index].name;
                classify(&tensor, classes, is_batched, version.labels(name)).ok_or_else(|| {
                    let datatype = tensor.datatype();
                    let message =
                        format!("output \"{name}\" is {datatype} and cannot be classified");
                    InferError::new(ErrorCode::InvalidParameter, message)
                })?
            }
        };
        outputs.push(OutputTensor { index, tensor });
    }
    Ok(outputs)
}

/// The highest `classes` values of each row, each as `value:index` or `value:index:label`, as the
/// classification extension of the protocol writes them. `None` for data types without an order.
///
/// A row is an entry of the batch axis with all its elements, as Triton has it, so that an output of
/// any rank can be classified. Without a batch axis it is the last axis: such outputs may still have
/// one row for each row of the input.
fn classify(
    tensor: &Tensor,
    classes: usize,
    is_batched: bool,
    labels: Option<&[String]>,
) -> Option<Tensor> {
    let shape = tensor.shape();
    let outer = match (is_batched, shape.len()) {
        (_, 0) => &shape[..0],
        (true, _) => &shape[..1],
        (false, rank) => &shape[..rank - 1],
    };
    let width = shape[outer.len()..].iter().product();
    let kept = classes.min(width);
    let texts: StringArray = with_element!(tensor.datatype(), T => {
        let values = tensor.to_vec::<T>()?;
        let mut texts = Vec::with_capacity(values.len());
        // `chunks` panics at 0, and an axis may have no elements.
        for row in values.chunks(width.max(1)) {
            let mut order: Vec<usize> = (0..row.len()).collect();
            // A stable sort: of equal values the lower index comes first, every time.
            order.sort_by(|a, b| descending(&row[*a], &row[*b]));
            texts.extend(order.into_iter().take(kept).map(|index| match labels.and_then(|labels| labels.get(index)) {
                Some(label) => format!("{}:{index}:{label}", row[index]),
                None => format!("{}:{index}", row[index]),
            }));
        }
        texts.into_iter().collect()
    }, else => return None);
    let mut extents = outer.to_vec();
    extents.push(kept);
    Tensor::from_strings(tidegate_core::Shape::new(&extents).ok()?, texts).ok()
}

/// The higher value first; NaN, which has no order of its own, behind every number.
fn descending<T: PartialOrd>(one: &T, two: &T) -> Ordering {
    let is_nan = |value: &T| value.partial_cmp(value).is_none();
    two.partial_cmp(one)
        .unwrap_or_else(|| is_nan(one).cmp(&is_nan(two)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_the_highest_values_with_their_labels() {
        let shape = tidegate_core::Shape::new(&[2, 3]).unwrap();
        let tensor = Tensor::from_vec(shape, vec![0.1f32, 0.7, 0.2, 0.5, 0.25, 0.25]).unwrap();
        let labels = ["cat".to_owned(), "dog".to_owned()];
        let classes = classify(&tensor, 2, true, Some(&labels)).unwrap();
        assert_eq!(&classes.shape()[..], [2, 2]);
        let tidegate_core::TensorView::Strings(texts) = classes.view() else {
            panic!("classes are strings")
        };
        let texts: Vec<&str> = texts
            .iter()
            .map(|text| std::str::from_utf8(text).unwrap())
            .collect();
        assert_eq!(texts, ["0.7:1:dog", "0.2:2", "0.5:0:cat", "0.25:1:dog"]);
    }

    #[test]
    fn outputs_of_every_rank_are_classified_row_by_row() {
        let shape = |extents: &[usize], is_batched| {
            let shape = tidegate_core::Shape::new(extents).unwrap();
            let tensor = Tensor::from_vec(shape.clone(), vec![0f32; shape.element_count()]);
            let classes = classify(&tensor.unwrap(), 3, is_batched, None).unwrap();
            classes.shape().to_vec()
        };
        assert_eq!(shape(&[], true), [1]);
        assert_eq!(shape(&[5], true), [5, 1], "a row has one value");
        assert_eq!(shape(&[5, 10], true), [5, 3]);
        assert_eq!(shape(&[5, 10, 1, 1], true), [5, 3]);
        assert_eq!(shape(&[5, 0], true), [5, 0]);
        assert_eq!(shape(&[10], false), [3]);
        assert_eq!(shape(&[2, 10], false), [2, 3]);
    }

    #[test]
    fn values_that_are_no_number_come_last_and_break_no_sort() {
        let value = |at: u16| {
            if at.is_multiple_of(3) {
                f32::NAN
            } else {
                f32::from(at * 7 % 64)
            }
        };
        let row: Vec<f32> = (0..64).map(value).collect();
        let shape = tidegate_core::Shape::new(&[1, row.len()]).unwrap();
        let numbers = row.iter().filter(|value| !value.is_nan()).count();
        let classes = classify(
            &Tensor::from_vec(shape, row.clone()).unwrap(),
            row.len(),
            true,
            None,
        )
        .unwrap();
        let tidegate_core::TensorView::Strings(texts) = classes.view() else {
            panic!("classes are strings")
        };
        let value = |text: &[u8]| -> f32 {
            std::str::from_utf8(text)
                .unwrap()
                .split(':')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        };
        let values: Vec<f32> = texts.iter().map(value).collect();
        assert!(
            values[..numbers].is_sorted_by(|a, b| a >= b)
                && values[numbers..].iter().all(|value| value.is_nan())
        );
    }
}
