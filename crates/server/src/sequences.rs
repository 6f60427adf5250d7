//! The place of a request in a sequence, as clients say it: by parameters, or by header fields where a
//! request has no parameters.

use http::{HeaderMap, HeaderName};
use tidegate_serving::{ErrorCode, InferError, SequenceId, SequenceRequest};

use crate::parameters::{Parameters, Value, wrong};

const ID: &str = "sequence_id";
const START: &str = "sequence_start";
const END: &str = "sequence_end";

const ID_HEADER: HeaderName = HeaderName::from_static("sequence-id");
const START_HEADER: HeaderName = HeaderName::from_static("sequence-start");
const END_HEADER: HeaderName = HeaderName::from_static("sequence-end");

/// The sequence by Triton's parameters; `None` without an id, and for the ids 0 and `""`.
pub(crate) fn of_parameters(
    parameters: &Parameters,
) -> Result<Option<Box<SequenceRequest>>, InferError> {
    let id = match parameters.find(ID) {
        None => return Ok(None),
        Some(value) => id(value)?,
    };
    let (start, end) = (parameters.flag(START)?, parameters.flag(END)?);
    Ok(id.map(|id| request(id, start, end)))
}

/// The sequence by header fields. Digits are a number.
pub(crate) fn of_headers(headers: &HeaderMap) -> Result<Option<Box<SequenceRequest>>, InferError> {
    let Some(value) = headers.get(ID_HEADER) else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| not_visible())?;
    let value = match text.parse() {
        Ok(number) => Value::Large(number),
        Err(_) => Value::Text(text.to_owned()),
    };
    let id = id(&value)?;
    let (start, end) = (flag(headers, START_HEADER)?, flag(headers, END_HEADER)?);
    Ok(id.map(|id| request(id, start, end)))
}

fn request(id: SequenceId, start: Option<bool>, end: Option<bool>) -> Box<SequenceRequest> {
    Box::new(SequenceRequest {
        id,
        start: start.unwrap_or(false),
        end: end.unwrap_or(false),
    })
}

fn id(value: &Value) -> Result<Option<SequenceId>, InferError> {
    let number = match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::Large(number) => Some(*number),
        Value::Text(text) if text.is_empty() => return Ok(None),
        Value::Text(text) if text.len() <= SequenceId::MAX_BYTES => {
            return Ok(Some(SequenceId::Text(text.as_str().into())));
        }
        _ => None,
    };
    match number {
        Some(0) => Ok(None),
        Some(number) => Ok(Some(SequenceId::Number(number))),
        None => {
            let most = SequenceId::MAX_BYTES;
            let wanted = format!("a whole number from 0 to 2^64 - 1, or a text of {most} bytes");
            Err(wrong(ID, &wanted, value))
        }
    }
}

fn flag(headers: &HeaderMap, name: HeaderName) -> Result<Option<bool>, InferError> {
    let Some(value) = headers.get(&name) else {
        return Ok(None);
    };
    match value.as_bytes() {
        b"true" => Ok(Some(true)),
        b"false" => Ok(Some(false)),
        _ => {
            let message = format!("header {name} must be true or false");
            Err(InferError::new(ErrorCode::InvalidParameter, message))
        }
    }
}

fn not_visible() -> InferError {
    let message = format!("header {ID_HEADER} must be visible ASCII");
    InferError::new(ErrorCode::InvalidParameter, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: Value) -> Result<Option<Box<SequenceRequest>>, InferError> {
        let mut parameters = Parameters::default();
        parameters.insert(ID, Some(value))?;
        parameters.insert(START, Some(Value::Bool(true)))?;
        of_parameters(&parameters)
    }

    #[test]
    fn zero_and_the_empty_text_are_no_sequence() {
        assert_eq!(of(Value::Int(0)).unwrap(), None);
        assert_eq!(of(Value::Text(String::new())).unwrap(), None);
        assert_eq!(of_parameters(&Parameters::default()).unwrap(), None);
    }

    #[test]
    fn ids_are_numbers_up_to_64_bits_and_short_texts() {
        let id = |value| of(value).unwrap().unwrap().id;
        assert_eq!(id(Value::Int(7)), SequenceId::Number(7));
        assert_eq!(id(Value::Large(u64::MAX)), SequenceId::Number(u64::MAX));
        assert_eq!(
            id(Value::Text("7".to_owned())),
            SequenceId::Text("7".into())
        );
        let long = "x".repeat(129);
        for wrong in [
            Value::Int(-1),
            Value::Float(1.5),
            Value::Bool(true),
            Value::Text(long),
        ] {
            assert_eq!(of(wrong).unwrap_err().code, ErrorCode::InvalidParameter);
        }
    }

    #[test]
    fn header_fields_say_the_same() {
        let mut headers = HeaderMap::new();
        assert_eq!(of_headers(&headers).unwrap(), None);
        headers.insert(ID_HEADER, "18446744073709551615".parse().unwrap());
        headers.insert(START_HEADER, "true".parse().unwrap());
        let found = of_headers(&headers).unwrap().unwrap();
        assert_eq!(
            *found,
            *request(SequenceId::Number(u64::MAX), Some(true), None)
        );
        headers.insert(ID_HEADER, "call-7".parse().unwrap());
        let found = of_headers(&headers).unwrap().unwrap();
        assert_eq!(found.id, SequenceId::Text("call-7".into()));
        headers.insert(END_HEADER, "yes".parse().unwrap());
        assert!(of_headers(&headers).is_err());
    }
}
