use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use tidegate_core::{Dim, Element, Signature, StringArrayBuilder, TensorSpec};

use super::*;

fn call(tensor: Tensor) -> Call {
    let spec = TensorSpec {
        name: "x".to_owned(),
        datatype: tensor.datatype(),
        dims: Some(vec![Dim::Any]),
        optional: false,
    };
    Call {
        signature: Arc::new(Signature {
            inputs: vec![spec],
            outputs: Vec::new(),
        }),
        inputs: vec![Some(tensor)],
        deadline: Instant::now(),
        trace: None,
        has_batch_axis: false,
    }
}

/// What a server answers that gives its inputs back.
fn echoed(tensor: Tensor, is_binary: bool) -> Tensor {
    let encoded = encode(&call(tensor), is_binary).unwrap();
    let json_bytes = encoded.json_bytes.unwrap_or(encoded.body.len());
    let text = std::str::from_utf8(&encoded.body[..json_bytes]).unwrap();
    let text = text.replace("\"inputs\"", "\"outputs\"").replace(
        "\"parameters\":{\"binary_data_output\":true}",
        "\"id\":\"7\"",
    );
    let body = [text.as_bytes(), &encoded.body[json_bytes..]].concat();
    let mut answer = decode(&body.into(), text.len()).unwrap();
    answer.outputs.remove(0).1
}

fn one<T: Element>(values: Vec<T>) -> Tensor {
    Tensor::from_vec(Shape::new(&[values.len()]).unwrap(), values).unwrap()
}

proptest! {
    #[test]
    fn floats_are_exact(values in proptest::collection::vec(any::<f64>(), 1..20)) {
        let finite: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let single: Vec<f32> = finite.iter().map(|value| *value as f32).filter(|x| x.is_finite()).collect();
        for is_binary in [false, true] {
            prop_assert_eq!(echoed(one(finite.clone()), is_binary).to_vec::<f64>().unwrap(), finite.clone());
            prop_assert_eq!(echoed(one(single.clone()), is_binary).to_vec::<f32>().unwrap(), single.clone());
        }
    }

    #[test]
    fn whole_numbers_are_exact(values in proptest::collection::vec(any::<i64>(), 1..20)) {
        prop_assert_eq!(echoed(one(values.clone()), false).to_vec::<i64>().unwrap(), values.clone());
        let unsigned: Vec<u64> = values.iter().map(|value| *value as u64).collect();
        prop_assert_eq!(echoed(one(unsigned.clone()), false).to_vec::<u64>().unwrap(), unsigned);
    }

    #[test]
    fn no_answer_breaks_it(body in "[\\[\\]{}:,0-9a-z\" ]{0,60}", json_bytes in 0usize..80) {
        let _ = decode(&Bytes::from(body), json_bytes);
    }
}

#[test]
fn texts_with_quotes_and_line_breaks_are_exact() {
    let mut strings = StringArrayBuilder::default();
    let texts = ["", "\"quoted\"\n", "größer ☃", "\\u0041\t"];
    texts.iter().for_each(|text| strings.push(text.as_bytes()));
    let tensor = Tensor::from_strings(Shape::new(&[4]).unwrap(), strings.finish()).unwrap();
    for is_binary in [false, true] {
        let back = echoed(tensor.clone(), is_binary);
        assert_eq!(back.wire(), tensor.wire());
    }
}

#[test]
fn what_json_cannot_say_is_refused_and_not_changed() {
    let mut strings = StringArrayBuilder::default();
    strings.push(b"\xff");
    let bytes = Tensor::from_strings(Shape::new(&[1]).unwrap(), strings.finish()).unwrap();
    for tensor in [one(vec![1.0, f64::NAN]), one(vec![f32::INFINITY]), bytes] {
        assert!(encode(&call(tensor.clone()), false).is_err());
        let back = echoed(tensor.clone(), true);
        assert_eq!(back.wire(), tensor.wire());
    }
}

fn decoded(output: &str) -> Result<Tensor, String> {
    let body = format!("{{\"model_name\":\"m\",\"outputs\":[{output}]}}");
    let length = body.len();
    let mut answer = decode(&Bytes::from(body), length).map_err(|failure| failure.message)?;
    Ok(answer.outputs.remove(0).1)
}

#[test]
fn data_may_stand_before_its_type_and_be_nested_as_the_shape_is() {
    for data in ["[1,2,3,4]", "[[1,2],[3,4]]", "[1e0,2.0,3,4]"] {
        let output = format!(
            "{{\"data\":{data},\"parameters\":{{\"content_type\":\"np\"}},\"name\":\"y\",\
             \"datatype\":\"FP32\",\"shape\":[2,2]}}"
        );
        let tensor = decoded(&output).unwrap();
        assert_eq!(tensor.to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    }
    let not_finite =
        r#"{"name":"y","datatype":"FP64","shape":[4],"data":[null,"-Infinity",NaN,2]}"#;
    let values = decoded(not_finite).unwrap().to_vec::<f64>().unwrap();
    assert!(values[0].is_nan() && values[2].is_nan());
    assert_eq!((values[1], values[3]), (f64::NEG_INFINITY, 2.0));
}

#[test]
fn data_that_does_not_fit_is_refused() {
    for (datatype, shape, data) in [
        ("FP32", "[2,2]", "[1,2,3]"),
        ("FP32", "[2,2]", "[[1,2,3],[4]]"),
        ("FP32", "[2,2]", "[[1],[2],[3],[4]]"),
        ("FP32", "[2,2]", "[[[1,2],[3,4]]]"),
        ("FP32", "[4]", "[1,[2],3,4]"),
        ("FP32", "[1]", "[\"1\"]"),
        ("FP32", "[-1]", "[1]"),
        ("FP32", "[1.5]", "[1]"),
        ("INT8", "[1]", "[128]"),
        ("INT64", "[1]", "[1.5]"),
        ("INT64", "[1]", "[null]"),
        ("BOOL", "[1]", "[2]"),
        ("BYTES", "[1]", "[1]"),
        ("FP128", "[1]", "[1]"),
        ("FP32", "[1]", "{}"),
        ("FP32", "[99999999999,99999999999]", "[1]"),
    ] {
        let output =
            format!(r#"{{"name":"y","datatype":"{datatype}","shape":{shape},"data":{data}}}"#);
        let found = decoded(&output);
        assert!(found.is_err(), "{output}: {found:?}");
    }
    assert!(decoded(r#"{"name":"y","datatype":"FP32","shape":[1]}"#).is_err());
}

#[test]
fn binary_data_must_be_there_and_belong_to_an_output() {
    let head = |bytes: usize| {
        format!(
            r#"{{"outputs":[{{"name":"y","datatype":"FP32","shape":[1],"parameters":{{"binary_data_size":{bytes}}}}}]}}"#
        )
    };
    let decoded = |bytes: usize, data: &[u8]| {
        let text = head(bytes);
        decode(&[text.as_bytes(), data].concat().into(), text.len())
    };
    decoded(4, &[0; 4]).unwrap();
    for (bytes, data) in [(4, 3usize), (4, 5), (8, 8), (usize::MAX, 4)] {
        decoded(bytes, &vec![0; data]).unwrap_err();
    }
}
