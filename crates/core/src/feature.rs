//! Features of entities, as an online store has them.

use std::sync::Arc;

/// A part of the key of an entity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyValue {
    /// Text.
    Text(Arc<str>),
    /// A whole number of 32 bits.
    Int32(i32),
    /// A whole number of 64 bits.
    Int64(i64),
}

/// The features of one view that are wanted of some entities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureQuery {
    /// The view.
    pub view: Arc<str>,
    /// The names of the join keys, in ascending order.
    pub join_keys: Arc<[Arc<str>]>,
    /// The names of the features in the view.
    pub features: Arc<[Arc<str>]>,
    /// The entities, each once; each has a value for each join key, in their order.
    pub entities: Vec<Vec<KeyValue>>,
}

impl FeatureQuery {
    /// How many values an answer has: all features of the first entity, then those of the next…
    pub fn values(&self) -> usize {
        self.entities.len() * self.features.len()
    }
}

/// A value of a feature, as a store has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum FeatureValue {
    /// There is none.
    #[default]
    Missing,
    /// A number.
    Number(f64),
    /// A number of single precision.
    Single(f32),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// Text.
    Text(String),
    /// Any bytes.
    Bytes(Vec<u8>),
    /// A time, in seconds since 1970.
    Seconds(i64),
    /// What the store has cannot be read, or is of a type that no column has.
    Unreadable(String),
}

/// A value and the time that it is of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feature {
    /// The value.
    pub value: FeatureValue,
    /// When it was true, in milliseconds since 1970; `None` if the store does not say.
    pub event_ms: Option<i64>,
}

/// MurmurHash3_x86_32 with the seed 0 (Appleby, <https://github.com/aappleby/smhasher>).
pub fn murmur3_32(bytes: &[u8]) -> u32 {
    let (words, tail) = bytes.as_chunks::<4>();
    let mut hash = 0u32;
    for word in words {
        hash ^= scrambled(u32::from_le_bytes(*word));
        hash = hash
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    let mut last = 0u32;
    for (at, byte) in tail.iter().enumerate() {
        last |= u32::from(*byte) << (8 * at);
    }
    hash ^= scrambled(last);
    // The length is a part of the hash, modulo 2^32.
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

fn scrambled(word: u32) -> u32 {
    word.wrapping_mul(0xcc9e_2d51)
        .rotate_left(15)
        .wrapping_mul(0x1b87_3593)
}
