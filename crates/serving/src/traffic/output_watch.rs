//! What the versions of an endpoint answer, for whoever compares them.
//!
//! Invariants:
//! - One value of each output is noted for a request, that of its first row: rows of one request are not
//!   independent of each other.
//! - Values that nobody takes are bounded; those beyond are not noted.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tidegate_core::{DataType, Tensor, TensorView};
use tidegate_delivery::assign::FirstSeen;

use super::shadow_report::leading_numbers;

/// Values of an output that are noted until somebody takes them.
const MAX_VALUES: usize = 256;
/// Outputs of a version that are noted.
const MAX_OUTPUTS: usize = 16;
/// Elements of a row that are looked at.
const MAX_ELEMENTS: usize = 1024;

/// Bits by which sticky keys are remembered: some 100,000 users of a rollout are told apart.
const KEY_BITS: usize = 1 << 20;

/// The outputs of the versions of an endpoint, until they are taken.
#[derive(Debug)]
pub struct OutputWatch {
    versions: Mutex<BTreeMap<String, WatchedVersion>>,
    keys: FirstSeen,
}

impl Default for OutputWatch {
    fn default() -> Self {
        Self {
            versions: Mutex::default(),
            keys: FirstSeen::with_bits(KEY_BITS),
        }
    }
}

/// What a version has answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WatchedVersion {
    /// Answers with any output.
    pub answers: u64,
    /// Those with an output that is empty, or has numbers that are infinite or NaN, in their first row.
    pub invalid: u64,
    /// Its outputs.
    pub outputs: Vec<WatchedOutput>,
}

/// The values of one output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WatchedOutput {
    /// Its name.
    pub name: String,
    /// A value of each answer; of more than are kept, each has the same chance.
    pub values: Vec<OutputValue>,
    /// How many values there were.
    pub count: usize,
}

/// The first row of an output, in two numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputValue {
    /// Its size: the last of up to two numbers, which is the probability of the second class, or the
    /// largest of more, which is that of the likeliest one. None of a text.
    pub score: Option<f64>,
    /// Its kind: the place of the largest number, an integer itself, or a hash of a text.
    pub class: u64,
}

impl OutputWatch {
    /// Whether a request is the first one of its sticky key; one without a key always is.
    pub(crate) fn is_first(&self, key_hash: Option<u64>) -> bool {
        key_hash.is_none_or(|hash| self.keys.is_first(hash))
    }

    /// Notes an answer: its outputs by name.
    pub(crate) fn add<'a>(
        &self,
        version: &str,
        outputs: impl Iterator<Item = (&'a str, &'a Tensor)>,
    ) {
        // Before the lock.
        let values = outputs.take(MAX_OUTPUTS);
        let values: Vec<(&str, Option<OutputValue>)> = values
            .map(|(name, tensor)| (name, first_row(tensor)))
            .collect();
        if values.is_empty() {
            return;
        }
        let mut versions = self.versions.lock();
        if !versions.contains_key(version) {
            versions.insert(version.to_owned(), WatchedVersion::default());
        }
        if let Some(watched) = versions.get_mut(version) {
            watched.add(&values);
        }
    }

    /// Takes what was noted, by version.
    pub fn take(&self) -> BTreeMap<String, WatchedVersion> {
        std::mem::take(&mut self.versions.lock())
    }
}

impl WatchedVersion {
    fn add(&mut self, values: &[(&str, Option<OutputValue>)]) {
        self.answers += 1;
        self.invalid += u64::from(values.iter().any(|(_, value)| value.is_none()));
        for (name, value) in values {
            if let Some(value) = value {
                self.output(name).add(*value);
            }
        }
    }

    fn output(&mut self, name: &str) -> &mut WatchedOutput {
        let place = self.outputs.iter().position(|output| output.name == name);
        let place = place.unwrap_or_else(|| {
            self.outputs.push(WatchedOutput {
                name: name.to_owned(),
                ..WatchedOutput::default()
            });
            self.outputs.len() - 1
        });
        &mut self.outputs[place]
    }
}

impl WatchedOutput {
    /// Vitter's algorithm R: a sample of all values, however unevenly they come.
    fn add(&mut self, value: OutputValue) {
        self.count += 1;
        if self.values.len() < MAX_VALUES {
            self.values.push(value);
            return;
        }
        let place = fastrand::usize(..self.count);
        if let Some(kept) = self.values.get_mut(place) {
            *kept = value;
        }
    }
}

/// The first row of an output; `None` if it has no elements, or numbers that are none.
fn first_row(tensor: &Tensor) -> Option<OutputValue> {
    if let TensorView::Strings(texts) = tensor.view() {
        let text = texts.iter().next()?;
        return Some(OutputValue {
            score: None,
            class: hash(text),
        });
    }
    let elements = row_elements(tensor);
    let Some(numbers) = leading_numbers(tensor, elements) else {
        // Half precision: its bytes tell answers apart, and their order does not.
        let bytes = tensor.wire();
        return Some(OutputValue {
            score: None,
            class: hash(bytes.get(..elements * tensor.datatype().element_bytes()?)?),
        });
    };
    let (last, largest) = (numbers.last()?, largest(&numbers)?);
    if !numbers.iter().all(|number| number.is_finite()) {
        return None;
    }
    let score = if numbers.len() <= 2 { *last } else { largest.1 };
    let is_float = matches!(tensor.datatype(), DataType::Fp32 | DataType::Fp64);
    let class = match numbers.len() {
        1 if !is_float => *last as i64 as u64,
        _ => largest.0 as u64,
    };
    Some(OutputValue {
        score: Some(score),
        class,
    })
}

/// The elements of the first row that are looked at. An output of one dimension has one for each row.
fn row_elements(tensor: &Tensor) -> usize {
    let row = tensor.shape().get(1..).unwrap_or_default();
    row.iter().product::<usize>().clamp(1, MAX_ELEMENTS)
}

/// The largest number and its place.
fn largest(numbers: &[f64]) -> Option<(usize, f64)> {
    let mut largest = (0, *numbers.first()?);
    for (place, number) in numbers.iter().enumerate() {
        if *number > largest.1 {
            largest = (place, *number);
        }
    }
    Some(largest)
}

/// FNV-1a, which every build and server computes alike.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use tidegate_core::Shape;

    use super::*;

    fn output(shape: &[usize], values: Vec<f32>) -> Tensor {
        Tensor::from_vec(Shape::new(shape).unwrap(), values).unwrap()
    }

    fn add(watch: &OutputWatch, tensor: &Tensor) {
        watch.add("2", std::iter::once(("y", tensor)));
    }

    fn value(tensor: &Tensor) -> (Option<f64>, u64) {
        let value = first_row(tensor).unwrap();
        (value.score, value.class)
    }

    #[test]
    fn the_first_row_says_what_was_answered() {
        let of = |shape: &[usize], values: Vec<f32>| value(&output(shape, values));
        assert_eq!(of(&[2], vec![0.25, 0.5]), (Some(0.25), 0), "a score a row");
        assert_eq!(of(&[2, 2], vec![0.75, 0.25, 0.0, 1.0]), (Some(0.25), 0));
        assert_eq!(of(&[1, 4], vec![0.0, 3.0, 9.0, 1.0]), (Some(9.0), 2));
        let classes = Tensor::from_vec(Shape::new(&[2]).unwrap(), vec![7i64, 3]).unwrap();
        assert_eq!(value(&classes), (Some(7.0), 7));
    }

    #[test]
    fn numbers_that_are_none_make_an_answer_invalid() {
        let watch = OutputWatch::default();
        add(&watch, &output(&[1], vec![f32::NAN]));
        add(&watch, &output(&[0], Vec::new()));
        add(&watch, &output(&[1], vec![0.5]));
        let taken = watch.take();
        assert_eq!((taken["2"].answers, taken["2"].invalid), (3, 2));
        assert_eq!(taken["2"].outputs[0].values.len(), 1);
        assert!(watch.take().is_empty());
    }

    #[test]
    fn a_sticky_key_is_first_once() {
        let watch = OutputWatch::default();
        assert!(watch.is_first(Some(7)) && !watch.is_first(Some(7)));
        assert!(watch.is_first(None) && watch.is_first(None));
    }

    #[test]
    fn values_that_nobody_takes_are_bounded() {
        let watch = OutputWatch::default();
        for at in 0..10 * MAX_VALUES {
            add(&watch, &output(&[1], vec![at as f32]));
        }
        let taken = watch.take();
        assert_eq!(taken["2"].answers, 10 * MAX_VALUES as u64);
        let values = &taken["2"].outputs[0].values;
        assert_eq!(values.len(), MAX_VALUES);
        let late = values
            .iter()
            .filter(|value| value.score >= Some(9.0 * MAX_VALUES as f64));
        assert!(
            (1..MAX_VALUES / 2).contains(&late.count()),
            "late ones have a chance too"
        );
    }
}
