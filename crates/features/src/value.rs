//! Values and times as Feast writes them: protobuf.

use prost::{Message, Oneof};
use tidegate_core::FeatureValue;

/// `feast.types.Value`, without its lists, sets and maps.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    #[prost(oneof = "Scalar", tags = "1, 2, 3, 4, 5, 6, 7, 8, 19, 30, 31")]
    pub(crate) scalar: Option<Scalar>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Scalar {
    #[prost(bytes = "vec", tag = "1")]
    Bytes(Vec<u8>),
    #[prost(string, tag = "2")]
    Text(String),
    #[prost(int32, tag = "3")]
    Int32(i32),
    #[prost(int64, tag = "4")]
    Int64(i64),
    #[prost(double, tag = "5")]
    Double(f64),
    #[prost(float, tag = "6")]
    Float(f32),
    #[prost(bool, tag = "7")]
    Boolean(bool),
    #[prost(int64, tag = "8")]
    Seconds(i64),
    #[prost(int32, tag = "19")]
    Null(i32),
    #[prost(string, tag = "30")]
    Uuid(String),
    #[prost(string, tag = "31")]
    TimeUuid(String),
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Reads a value. Whatever the bytes are, this does not fail.
pub(crate) fn decode(bytes: &[u8], max_bytes: usize) -> FeatureValue {
    if bytes.len() > max_bytes {
        let problem = format!(
            "has {} bytes in the store, the most is {max_bytes} (features.max_value_bytes)",
            bytes.len()
        );
        return FeatureValue::Unreadable(problem);
    }
    let Ok(value) = Value::decode(bytes) else {
        return FeatureValue::Unreadable("cannot be decoded".to_owned());
    };
    match value.scalar {
        Some(scalar) => scalar.into(),
        None if bytes.is_empty() => FeatureValue::Missing,
        None => {
            let problem = "is a list, set or map in the store, which no column can have";
            FeatureValue::Unreadable(problem.to_owned())
        }
    }
}

/// Writes a value; nothing for a missing one.
pub(crate) fn encode(value: &FeatureValue) -> Vec<u8> {
    let scalar = match value {
        FeatureValue::Missing | FeatureValue::Unreadable(_) => return Vec::new(),
        FeatureValue::Number(number) => Scalar::Double(*number),
        FeatureValue::Single(number) => Scalar::Float(*number),
        FeatureValue::Integer(number) => Scalar::Int64(*number),
        FeatureValue::Boolean(boolean) => Scalar::Boolean(*boolean),
        FeatureValue::Text(text) => Scalar::Text(text.clone()),
        FeatureValue::Bytes(bytes) => Scalar::Bytes(bytes.clone()),
        FeatureValue::Seconds(seconds) => Scalar::Seconds(*seconds),
    };
    let scalar = Some(scalar);
    Value { scalar }.encode_to_vec()
}

/// Reads a time, in milliseconds since 1970; `None` if it cannot be read.
pub(crate) fn decode_time(bytes: &[u8]) -> Option<i64> {
    let time = Timestamp::decode(bytes).ok()?;
    let millis = i64::from(time.nanos / 1_000_000);
    time.seconds.checked_mul(1000)?.checked_add(millis)
}

impl From<Scalar> for FeatureValue {
    fn from(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Bytes(bytes) => Self::Bytes(bytes),
            Scalar::Text(text) | Scalar::Uuid(text) | Scalar::TimeUuid(text) => Self::Text(text),
            Scalar::Int32(number) => Self::Integer(number.into()),
            Scalar::Int64(number) => Self::Integer(number),
            Scalar::Double(number) => Self::Number(number),
            Scalar::Float(number) => Self::Single(number),
            Scalar::Boolean(boolean) => Self::Boolean(boolean),
            Scalar::Seconds(seconds) => Self::Seconds(seconds),
            Scalar::Null(_) => Self::Missing,
        }
    }
}

#[cfg(test)]
mod tests;
