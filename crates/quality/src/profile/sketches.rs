//! Sketches as text in base64, in the formats that all implementations of Apache DataSketches read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use datasketches::frequencies::FrequentItemsSketch;
use datasketches::hll::{HllSketch, HllType, HllUnion};
use datasketches::kll::{KllFloat, KllSketch};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// 2^8 registers: a relative standard error of `1.04 / sqrt(256)`, which is 6.5 %, in 256 bytes.
const LG_REGISTERS: u8 = 8;
/// The first byte of a sketch that has registers, and where they begin.
const ARRAY_PREAMBLE: u8 = 10;
const REGISTERS_AT: usize = 40;
/// Registers count zeros in hashes of 64 bits.
const MAX_REGISTER: u8 = 63;

/// Where a sketch of frequent items says how large it may become: 2^10 is the largest that is made.
const LG_MAP_SIZE_AT: usize = 3;
const MAX_LG_MAP_SIZE: u8 = 10;
/// More values than any stream has: sums of this do not overflow, at which the library would panic.
const MAX_WEIGHT: u64 = 1 << 56;

/// A sketch of how many distinct values there are.
pub(super) fn new_distinct() -> HllSketch {
    HllSketch::new(LG_REGISTERS, HllType::Hll8).expect("the size is a valid one")
}

/// Adds one sketch of distinct values to another.
pub(super) fn merge_distinct(into: &mut HllSketch, other: &HllSketch) {
    let mut union = HllUnion::new(LG_REGISTERS).expect("the size is a valid one");
    union.update(into);
    union.update(other);
    *into = union.to_sketch(HllType::Hll8);
}

/// The most frequent of texts.
pub(super) fn new_frequent(map_size: usize) -> FrequentItemsSketch<String> {
    FrequentItemsSketch::new(map_size).expect("the size is a power of two")
}

/// Adds one sketch of frequent texts to another. Counts stay as they are where the sum would
/// overflow: those of no real stream do.
pub(super) fn merge_frequent(
    into: &mut FrequentItemsSketch<String>,
    other: &FrequentItemsSketch<String>,
) {
    if into
        .total_weight()
        .checked_add(other.total_weight())
        .is_some()
    {
        into.merge(other);
    }
}

/// What serde needs of a sketch.
pub(super) trait Sketch: Sized {
    fn to_bytes(&self) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Result<Self, String>;
}

impl Sketch for HllSketch {
    fn to_bytes(&self) -> Vec<u8> {
        self.serialize()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let sketch = Self::deserialize(bytes).map_err(|error| error.to_string())?;
        let same = sketch.lg_config_k() == LG_REGISTERS && sketch.target_type() == HllType::Hll8;
        // The library does not look at these, and computes `2^-register` with a shift.
        let registers = bytes.get(REGISTERS_AT..).unwrap_or_default();
        let is_array = bytes.first() == Some(&ARRAY_PREAMBLE);
        let valid = !is_array || registers.iter().all(|&register| register <= MAX_REGISTER);
        if !same || !valid || !sketch.composite_estimate().is_finite() {
            return Err("it is no sketch of distinct values".to_owned());
        }
        Ok(sketch)
    }
}

impl Sketch for FrequentItemsSketch<String> {
    fn to_bytes(&self) -> Vec<u8> {
        self.serialize()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        // The library allocates what the header says, before it looks at the rest.
        if bytes
            .get(LG_MAP_SIZE_AT)
            .is_none_or(|&lg_size| lg_size > MAX_LG_MAP_SIZE)
        {
            return Err("a sketch of frequent values has another size".to_owned());
        }
        let sketch = Self::deserialize(bytes).map_err(|error| error.to_string())?;
        let weight = sketch.total_weight();
        if weight > MAX_WEIGHT || sketch.maximum_error() > weight {
            return Err("it is no sketch of frequent values".to_owned());
        }
        Ok(sketch)
    }
}

impl Sketch for KllSketch<KllFloat<f64>> {
    fn to_bytes(&self) -> Vec<u8> {
        self.serialize()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let sketch = Self::deserialize(bytes).map_err(|error| error.to_string())?;
        if sketch.n() > MAX_WEIGHT {
            return Err("it is no sketch of quantiles".to_owned());
        }
        Ok(sketch)
    }
}

pub(super) fn serialize<T: Sketch, S: Serializer>(
    sketch: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD_NO_PAD.encode(sketch.to_bytes()))
}

pub(super) fn deserialize<'de, T: Sketch, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = STANDARD_NO_PAD.decode(text).map_err(D::Error::custom)?;
    T::from_bytes(&bytes).map_err(D::Error::custom)
}
