//! The hashing trick (Weinberger et al. 2009), as scikit-learn's `FeatureHasher`.

use tidegate_core::murmur3_32;

use crate::program::{Inputs, Kind, Op};
use crate::{Column, RowError};

/// Adds each value to a column that its name is hashed to.
#[derive(Debug)]
pub(crate) struct FeatureHash {
    pub(crate) buckets: usize,
    pub(crate) alternate_sign: bool,
    /// The name of each input, as it is hashed.
    pub(crate) names: Vec<String>,
}

impl Op for FeatureHash {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let mut values = inputs.block(self.buckets);
        for (input, name) in self.names.iter().enumerate() {
            if inputs.source(input).kind == Kind::Text {
                self.add_texts(inputs, input, name, &mut values);
            } else {
                self.add_numbers(inputs, input, name, &mut values);
            }
        }
        Ok(Column::Numbers(values))
    }
}

impl FeatureHash {
    fn add_texts(&self, inputs: &Inputs<'_>, input: usize, name: &str, values: &mut [f64]) {
        let mut key = Vec::with_capacity(64);
        let fill = inputs.source(input).fill.as_deref();
        for (row, text) in inputs.text(input).iter().enumerate() {
            let Some(text) = text.or(fill) else { continue };
            key.clear();
            key.extend_from_slice(name.as_bytes());
            key.push(b'=');
            key.extend_from_slice(text.as_bytes());
            let (bucket, sign) = self.place(&key);
            values[bucket * inputs.rows() + row] += sign;
        }
    }

    fn add_numbers(&self, inputs: &Inputs<'_>, input: usize, name: &str, values: &mut [f64]) {
        let (bucket, sign) = self.place(name.as_bytes());
        for (row, number) in inputs.numbers(input).iter().enumerate() {
            if !number.is_nan() {
                values[bucket * inputs.rows() + row] += sign * number;
            }
        }
    }

    /// The column of a name, and whether its values are added or subtracted.
    fn place(&self, name: &[u8]) -> (usize, f64) {
        let hash = murmur3_32(name).cast_signed();
        let bucket = hash.unsigned_abs() as usize % self.buckets;
        let is_negative = self.alternate_sign && hash < 0;
        (bucket, if is_negative { -1.0 } else { 1.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sklearn_utils_murmurhash3_32() {
        // From `sklearn.utils.murmurhash3_32(text, seed=0)`.
        for (text, hash) in [
            ("", 0),
            ("a", 1_009_084_850),
            ("dog", -1_312_749_093),
            ("country=DE", -1_982_437_435),
        ] {
            let found = murmur3_32(text.as_bytes()).cast_signed();
            assert_eq!(found, hash, "{text}");
        }
    }
}
