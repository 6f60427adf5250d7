//! What shadows have answered, beside what clients got.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::{DataType, Tensor, TensorView};
use tidegate_delivery::compare::{Agreement, WorstPairs};

/// The worst disagreements that are kept.
const WORST: usize = 10;
/// The values of an output that are kept of a disagreement.
const SHOWN_VALUES: usize = 8;
/// Outputs with more elements are compared up to this many.
const MAX_COMPARED: usize = 65_536;

/// What differs by less is the same answer: engines add up in different orders.
const CLOSE: Agreement = Agreement::Tolerance {
    absolute: 1e-5,
    relative: 1e-3,
};

/// What one shadow has answered since the policy with it came into force on this server.
#[derive(Clone, Debug)]
pub struct ShadowReport {
    /// Answers that were compared.
    pub compared: u64,
    /// Those that were the same as the client's.
    pub agreed: u64,
    /// Copies that the shadow could not answer.
    pub failed: u64,
    /// Copies that were dropped: too many waited, or for too long.
    pub dropped: u64,
    /// Copies that could not be run: the versions read records differently.
    pub skipped: u64,
    /// The last error, by its code.
    pub last_error: Option<String>,
    /// The time of all answers of the shadow, from when each began.
    pub took: Duration,
    /// The disagreements that are farthest apart, the worst first.
    pub worst: WorstPairs<WorstDisagreement>,
}

/// A pair of answers that differ.
#[derive(Clone, Debug, PartialEq)]
pub struct WorstDisagreement {
    /// The output, by name.
    pub output: Arc<str>,
    /// The first numbers that the client got; none of texts, which may be personal.
    pub primary: Vec<f64>,
    /// Those of the shadow.
    pub shadow: Vec<f64>,
}

impl Default for ShadowReport {
    fn default() -> Self {
        Self {
            compared: 0,
            agreed: 0,
            failed: 0,
            dropped: 0,
            skipped: 0,
            last_error: None,
            took: Duration::ZERO,
            worst: WorstPairs::new(WORST),
        }
    }
}

/// The difference of one output.
pub(super) struct Difference {
    distance: f64,
    sample: WorstDisagreement,
}

impl ShadowReport {
    /// Adds a compared answer. Whether it was the same.
    pub(super) fn add(&mut self, difference: Option<Difference>, took: Duration) -> bool {
        self.compared += 1;
        self.took += took;
        match difference {
            None => {
                self.agreed += 1;
                true
            }
            Some(Difference { distance, sample }) => {
                self.worst.add(distance, || sample);
                false
            }
        }
    }
}

/// The output that differs most; `None` if all outputs are the same.
pub(super) fn difference(
    primary: &[(String, Tensor)],
    shadow: &[(String, Tensor)],
) -> Option<Difference> {
    let mut worst: Option<Difference> = None;
    for (name, tensor) in primary {
        let other = shadow.iter().find(|(other, _)| other == name);
        let Some(difference) = output_difference(name, tensor, other.map(|(_, other)| other))
        else {
            continue;
        };
        if worst
            .as_ref()
            .is_none_or(|worst| difference.distance > worst.distance)
        {
            worst = Some(difference);
        }
    }
    worst
}

fn output_difference(name: &str, primary: &Tensor, shadow: Option<&Tensor>) -> Option<Difference> {
    let same_form = shadow.filter(|shadow| {
        shadow.shape()[..] == primary.shape()[..] && shadow.datatype() == primary.datatype()
    });
    let Some(shadow) = same_form else {
        return Some(Difference::of(name, f64::INFINITY, &[], &[]));
    };
    let (Some(ours), Some(theirs)) = (numbers(primary), numbers(shadow)) else {
        return match primary.wire() == shadow.wire() {
            true => None,
            false => Some(Difference::of(name, f64::INFINITY, &[], &[])),
        };
    };
    let agreement = match primary.datatype() {
        DataType::Fp32 | DataType::Fp64 => CLOSE,
        _ => Agreement::Exact,
    };
    if agreement.agrees(&theirs, &ours) {
        return None;
    }
    let distance = agreement.distance(&theirs, &ours);
    Some(Difference::of(name, distance, &ours, &theirs))
}

impl Difference {
    fn of(name: &str, distance: f64, primary: &[f64], shadow: &[f64]) -> Self {
        let sample = WorstDisagreement {
            output: name.into(),
            primary: primary.iter().copied().take(SHOWN_VALUES).collect(),
            shadow: shadow.iter().copied().take(SHOWN_VALUES).collect(),
        };
        Self { distance, sample }
    }
}

/// The elements as numbers, as far as they are compared; `None` for texts and half precision, which
/// are compared as they are.
fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    leading_numbers(tensor, MAX_COMPARED)
}

/// Up to so many elements as numbers; `None` for texts and half precision.
pub(super) fn leading_numbers(tensor: &Tensor, count: usize) -> Option<Vec<f64>> {
    let TensorView::Fixed(bytes) = tensor.view() else {
        return None;
    };
    let size = tensor.datatype().element_bytes()?;
    let bytes = &bytes[..bytes.len().min(count.saturating_mul(size))];
    let number: fn(&[u8]) -> f64 = match tensor.datatype() {
        DataType::Fp32 => |bytes| f64::from(f32::from_le_bytes(fixed(bytes))),
        DataType::Fp64 => |bytes| f64::from_le_bytes(fixed(bytes)),
        DataType::Bool | DataType::Uint8 => |bytes| f64::from(bytes[0]),
        DataType::Int8 => |bytes| f64::from(bytes[0] as i8),
        DataType::Int16 => |bytes| f64::from(i16::from_le_bytes(fixed(bytes))),
        DataType::Uint16 => |bytes| f64::from(u16::from_le_bytes(fixed(bytes))),
        DataType::Int32 => |bytes| f64::from(i32::from_le_bytes(fixed(bytes))),
        DataType::Uint32 => |bytes| f64::from(u32::from_le_bytes(fixed(bytes))),
        DataType::Int64 => |bytes| i64::from_le_bytes(fixed(bytes)) as f64,
        DataType::Uint64 => |bytes| u64::from_le_bytes(fixed(bytes)) as f64,
        _ => return None,
    };
    Some(bytes.chunks_exact(size).map(number).collect())
}

/// The bytes of one element; zeros could only come from a size that is wrong.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use tidegate_core::Shape;

    use super::*;

    fn output(values: Vec<f32>) -> Vec<(String, Tensor)> {
        let shape = Shape::new(&[values.len()]).unwrap();
        vec![("y".to_owned(), Tensor::from_vec(shape, values).unwrap())]
    }

    #[test]
    fn rounding_is_no_disagreement() {
        let primary = output(vec![1.0, 1000.0]);
        assert!(difference(&primary, &output(vec![1.000_001, 1000.5])).is_none());
        let worse = difference(&primary, &output(vec![1.0, 1002.0])).unwrap();
        assert_eq!(worse.distance, 2.0);
        assert_eq!(worse.sample.shadow, [1.0, 1002.0]);
    }

    #[test]
    fn another_form_is_a_disagreement() {
        let primary = output(vec![1.0]);
        for other in [output(vec![1.0, 1.0]), Vec::new()] {
            assert_eq!(
                difference(&primary, &other).unwrap().distance,
                f64::INFINITY
            );
        }
    }

    #[test]
    fn classes_must_be_equal() {
        let class = |value: i64| {
            let tensor = Tensor::from_vec(Shape::new(&[1]).unwrap(), vec![value]).unwrap();
            vec![("label".to_owned(), tensor)]
        };
        assert!(difference(&class(100_000), &class(100_000)).is_none());
        assert!(difference(&class(100_000), &class(100_001)).is_some());
    }

    #[test]
    fn a_report_counts_what_it_gets() {
        let mut report = ShadowReport::default();
        let primary = output(vec![1.0]);
        assert!(report.add(difference(&primary, &primary), Duration::ZERO));
        assert!(!report.add(difference(&primary, &output(vec![3.0])), Duration::ZERO));
        assert_eq!((report.compared, report.agreed), (2, 1));
        assert_eq!(report.worst.as_slice().len(), 1);
    }
}
