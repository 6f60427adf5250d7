//! Requests and answers as CSV.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use proptest::prelude::*;
use tidegate_core::{DataType, Dim, PipelineSpec, Shape, Signature, Tensor, TensorSpec};
use tidegate_pipeline::{BadRows, BundleFiles, Pipeline, RecordForm};

fn pipeline() -> Pipeline {
    let spec: PipelineSpec = toml::from_str(
        r#"
        fields = [
            { name = "amount", type = "number", min = 0 },
            { name = "count", type = "integer", optional = true },
            { name = "note", type = "string", optional = true },
            { name = "vip", type = "boolean", optional = true },
            { name = "at", type = "time", optional = true },
            { name = "photo", type = "bytes", optional = true },
        ]
        inputs = [{ name = "x", columns = ["amount"] }]
        response = [{ name = "score" }, { name = "note" }, { name = "vip" }, { name = "at" }, { name = "photo" }]
        "#,
    )
    .unwrap();
    let tensor = |name: &str, dims: &[i64]| TensorSpec {
        name: name.to_owned(),
        datatype: DataType::Fp32,
        dims: Some(dims.iter().map(|dim| Dim::from_wire(*dim)).collect()),
        optional: false,
    };
    let signature = Signature {
        inputs: vec![tensor("x", &[-1, 1])],
        outputs: vec![tensor("score", &[-1, 2])],
    };
    Pipeline::compile(&spec, &BundleFiles::new(), &signature).unwrap()
}

fn answer(body: &str, bad_rows: BadRows) -> Result<String, String> {
    let pipeline = pipeline();
    let records = pipeline.read_csv(body.as_bytes(), bad_rows);
    let records = records.map_err(|error| error.to_string())?;
    assert_eq!(records.form, RecordForm::Csv);
    let mut run = pipeline
        .before(records)
        .map_err(|error| error.to_string())?;
    let amounts = run.take_inputs()[0].1.to_vec::<f32>().unwrap();
    let scores: Vec<f32> = amounts.iter().flat_map(|amount| [*amount, 0.5]).collect();
    let scores = Tensor::from_vec(Shape::new(&[amounts.len(), 2]).unwrap(), scores).unwrap();
    let answer = pipeline.after(run, &[(0, scores)]).unwrap();
    let mut csv = Vec::new();
    answer.encode(&mut csv);
    Ok(String::from_utf8(csv).unwrap())
}

#[test]
fn rows_of_a_file_are_answered_as_rows() {
    let body = "note,amount,vip,at,photo\n\"a, \"\"b\"\"\",1.5,true,1970-01-01,aGk=\r\n,2,False,,\n=1+1,3,,,\n";
    assert_eq!(
        answer(body, BadRows::FailRequest).unwrap(),
        "score,note,vip,at,photo\r\n\
         \"[1.5,0.5]\",\"a, \"\"b\"\"\",true,0,aGk=\r\n\
         \"[2.0,0.5]\",,false,,\r\n\
         \"[3.0,0.5]\",\"'=1+1\",,,\r\n"
    );
}

#[test]
fn each_problem_names_its_row_and_field() {
    let cases = [
        (
            "amount\nx\n",
            r#"row 0: field "amount" is "x", its type is number"#,
        ),
        (
            "amount\n1\n-2\n",
            r#"row 1: field "amount" is -2, its range is 0 and above"#,
        ),
        (
            "amount\n1e999\n",
            r#"row 0: field "amount" is beyond the range of a double"#,
        ),
        (
            "amount\ninfinity\n",
            r#"row 0: field "amount" is "infinity", its type is number"#,
        ),
        (
            "amount,count\n1,1.5\n",
            r#"row 0: field "count" is no whole number"#,
        ),
        (
            "amount,vip\n1,yes\n",
            r#"row 0: field "vip" is "yes", its type is boolean"#,
        ),
        (
            "amount,at\n1,today\n",
            r#"row 0: field "at" is "today", its type is time"#,
        ),
        (
            "amount,photo\n1,*\n",
            r#"row 0: field "photo" is not base64"#,
        ),
        (
            "amount,note\n1,a\0b\n",
            r#"row 0: field "note" contains the character NUL"#,
        ),
        ("note\nx\n", r#"row 0: field "amount" is missing"#),
        (
            "amount,amuont\n1,2\n",
            r#"row 0: field "amuont" is unknown"#,
        ),
        (
            "amount,amount\n1,2\n",
            r#"the header has the field "amount" twice"#,
        ),
        ("amount,note\n1\n", "the body is no CSV"),
        ("amount\n", "the request has no rows"),
        ("", "the request has no rows"),
    ];
    for (body, problem) in cases {
        let error = answer(body, BadRows::FailRequest).unwrap_err();
        assert!(error.contains(problem), "{body:?}: {error}");
    }
}

#[test]
fn bad_rows_may_fail_alone() {
    let body = "\u{feff}amount,note\n1,a\n-1,b\n\n3,c\n";
    assert_eq!(
        answer(body, BadRows::FailAlone).unwrap(),
        "score,note,vip,at,photo,error\r\n\
         \"[1.0,0.5]\",a,,,,\r\n\
         ,,,,,\"row 1: field \"\"amount\"\" is -1, its range is 0 and above\"\r\n\
         \"[3.0,0.5]\",c,,,,\r\n"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_rows_or_an_error(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let pipeline = pipeline();
        for bad_rows in [BadRows::FailRequest, BadRows::FailAlone] {
            let body = [b"amount,note,vip\n", body.as_slice()].concat();
            if let Ok(records) = pipeline.read_csv(&body, bad_rows) {
                prop_assert!(pipeline.csv_bytes_at_most(&body, bad_rows) >= records.table.bytes());
                let _ = pipeline.before(records);
            }
        }
    }

    #[test]
    fn numbers_are_read_to_the_last_bit(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
        let number = number.abs();
        let pipeline = pipeline();
        let body = format!("amount\n{number:?}\n");
        let records = pipeline.read_csv(body.as_bytes(), BadRows::FailRequest).unwrap();
        let tidegate_pipeline::Column::Numbers(found) = &records.table.columns()[0] else { unreachable!() };
        prop_assert_eq!(found[0].to_bits(), number.to_bits());
    }
}
