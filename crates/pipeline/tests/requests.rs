//! What a pipeline makes of requests: rules of fields, hostile bodies, answers.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use proptest::prelude::*;
use tidegate_core::{DataType, Dim, PipelineSpec, Shape, Signature, Tensor, TensorSpec};
use tidegate_pipeline::{BadRows, BundleFiles, Pipeline, PipelineError, Reason};

const FIELDS: &str = r#"
    fields = [
        { name = "age", type = "integer", min = 0, max = 130, optional = true },
        { name = "country", type = "string", categories = ["DE", "FR"], optional = true },
        { name = "code", type = "string", pattern = "[A-Z]{2}[0-9]+", max_length = 6, optional = true },
        { name = "amount", type = "number" },
        { name = "vip", type = "boolean", optional = true },
        { name = "opened", type = "time", optional = true },
    ]
"#;

const STEPS: &str = r#"
    before = [
        { step = "one_hot", input = "country", categories = ["DE", "FR"], unknown = "zeros" },
        { step = "hash", inputs = ["code"], buckets = 4, output = "hashed" },
        { step = "date_parts", input = "opened", parts = ["year"] },
        { step = "impute", input = "vip", value = 0 },
    ]
    inputs = [{ name = "x", columns = ["age", "country", "hashed", "amount", "vip", "opened_year"] }]
    response = [{ name = "score" }]
"#;

fn tensor(name: &str, datatype: DataType, dims: &[i64]) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        datatype,
        dims: Some(dims.iter().map(|dim| Dim::from_wire(*dim)).collect()),
        optional: false,
    }
}

fn signature() -> Signature {
    Signature {
        inputs: vec![tensor("x", DataType::Fp32, &[-1, -1])],
        outputs: vec![
            tensor("score", DataType::Fp32, &[-1]),
            tensor("probabilities", DataType::Fp32, &[-1, 3]),
        ],
    }
}

fn compile(text: &str) -> Result<Pipeline, String> {
    let spec: PipelineSpec = toml::from_str(text).map_err(|error| error.to_string())?;
    Pipeline::compile(&spec, &BundleFiles::new(), &signature()).map_err(|error| error.to_string())
}

fn pipeline(head: &str) -> Pipeline {
    compile(&format!("{head}\n{FIELDS}\n{STEPS}")).unwrap()
}

fn read_error(pipeline: &Pipeline, body: &str) -> String {
    pipeline.read(body.as_bytes()).unwrap_err().to_string()
}

#[test]
fn each_broken_rule_names_the_row_and_the_field() {
    let pipeline = pipeline("");
    let row = |record: &str| {
        let body = format!(r#"{{"instances": [{{"amount": 1}}, {record}]}}"#);
        read_error(&pipeline, &body)
    };
    let cases = [
        (
            r#"{"amount": "1"}"#,
            r#"row 1: field "amount" is "1", its type is number"#,
        ),
        (r#"{"amount": null}"#, r#"row 1: field "amount" is missing"#),
        (r#"{}"#, r#"row 1: field "amount" is missing"#),
        (
            r#"{"amount": [1]}"#,
            r#"row 1: field "amount" is [1], its type is number"#,
        ),
        (
            r#"{"amount": 1e400}"#,
            r#"row 1: field "amount" is beyond the range of a double"#,
        ),
        (
            r#"{"amount": 1, "age": 1.5}"#,
            r#"row 1: field "age" is no whole number"#,
        ),
        (
            r#"{"amount": 1, "age": 131}"#,
            r#"row 1: field "age" is 131, its range is 0 to 130"#,
        ),
        (
            r#"{"amount": 1, "age": 9007199254740993000}"#,
            r#"row 1: field "age" is above 2^53, where doubles skip numbers"#,
        ),
        (
            r#"{"amount": 1, "country": "IT"}"#,
            r#"row 1: field "country" is "IT", which is none of its categories"#,
        ),
        (
            r#"{"amount": 1, "code": "ab1"}"#,
            r#"row 1: field "code" is "ab1", which does not match its pattern"#,
        ),
        (
            r#"{"amount": 1, "code": "AB1\nAB1"}"#,
            r#"row 1: field "code" has 7 characters, there may be 0 to 6"#,
        ),
        (
            r#"{"amount": 1, "vip": 1}"#,
            r#"row 1: field "vip" is 1, its type is boolean"#,
        ),
        (
            r#"{"amount": 1, "opened": "31.12.2024"}"#,
            r#"row 1: field "opened" is "31.12.2024", which is no date or time of ISO 8601"#,
        ),
        (
            r#"{"amount": 1, "amount": 2}"#,
            r#"row 1: field "amount" is given twice"#,
        ),
        (
            r#"{"amount": 1, "code": "AB\u0000"}"#,
            r#"row 1: field "code" contains the character NUL"#,
        ),
    ];
    for (record, message) in cases {
        assert_eq!(row(record), message, "{record}");
    }
    assert!(
        row(r#"{"amuont": 1}"#).starts_with(r#"row 1: field "amuont" is unknown, there are "age""#)
    );
}

#[test]
fn violations_are_counted_by_field_and_reason() {
    let pipeline = pipeline("");
    for body in [
        r#"{"instances": [{"amount": null}]}"#,
        r#"{"instances": [{"amount": 1, "age": -1}]}"#,
        r#"{"instances": [{"amount": 1, "age": -2}]}"#,
        r#"{"instances": [{"amount": 1, "nobody knows this": -2}]}"#,
    ] {
        pipeline.read(body.as_bytes()).unwrap_err();
    }
    let counted: Vec<_> = pipeline.violations().counted().collect();
    assert_eq!(
        counted,
        [
            ("age", Reason::Range, 2),
            ("amount", Reason::Required, 1),
            ("(other)", Reason::Unknown, 1),
        ]
    );
}

#[test]
fn clipped_fields_take_the_nearest_value() {
    let pipeline = pipeline("on_violation = \"clip\"");
    let body = r#"{"instances": [{"amount": 1, "age": 500, "code": "AB12345678"}]}"#;
    let records = pipeline.read(body.as_bytes()).unwrap();
    let columns = records.table.columns();
    let tidegate_pipeline::Column::Numbers(ages) = &columns[0] else {
        panic!("ages are numbers")
    };
    let tidegate_pipeline::Column::Text(codes) = &columns[2] else {
        panic!("codes are text")
    };
    assert_eq!((ages[0], codes.get(0)), (130.0, Some("AB1234")));
    // What has no nearest value is still refused.
    let body = r#"{"instances": [{"amount": 1, "country": "IT"}]}"#;
    assert!(read_error(&pipeline, body).contains("none of its categories"));
}

#[test]
fn flagged_values_are_used_and_listed_in_the_answer() {
    let pipeline = pipeline("on_violation = \"flag\"");
    let body = r#"{"instances": [{"amount": 1, "age": 500, "country": 7}, {"amount": 2}]}"#;
    let records = pipeline.read(body.as_bytes()).unwrap();
    let mut run = pipeline.before(records).unwrap();
    let inputs = run.take_inputs();
    let row = &inputs[0].1.to_vec::<f32>().unwrap()[..3];
    assert_eq!(
        row,
        [500.0, 0.0, 0.0],
        "the age is used, the country is missing"
    );
    let score = Tensor::from_vec(Shape::new(&[2]).unwrap(), vec![0.5f32, 0.25]).unwrap();
    let answer = pipeline.after(run, &[(0, score)]).unwrap();
    let (mut json, mut flagged) = (Vec::new(), Vec::new());
    answer.encode(&mut json);
    answer.encode_flagged(&mut flagged);
    assert_eq!(json, br#"[{"score":0.5},{"score":0.25}]"#);
    assert_eq!(
        String::from_utf8(flagged).unwrap(),
        r#"[{"row":0,"field":"country","reason":"type"},{"row":0,"field":"age","reason":"range"}]"#
    );
}

#[test]
fn hostile_bodies_are_refused_with_a_place() {
    let pipeline = pipeline("");
    for (body, part) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("[1, 2]", "expected object but found array"),
        (r#"{"rows": []}"#, "the body must be"),
        (r#"{"instances": [], "columns": {}}"#, "the body must be"),
        (r#"{"instances": []}"#, "the request has no rows"),
        (r#"{"columns": {}}"#, "the request has no rows"),
        (
            r#"{"instances": [1]}"#,
            "row 0: expected object but found int",
        ),
        (r#"{"instances": [{"amount": 1}]} x"#, "trailing characters"),
        (r#"{"instances": [{"amount": 1, }]}"#, "trailing comma"),
        (
            r#"{"instances": [{"amount": 01}]}"#,
            "row 0: field \"amount\": invalid number",
        ),
        (
            r#"{"instances": [{"code": "\ud800"}]}"#,
            "row 0: field \"code\": unexpected end of hex",
        ),
        (
            r#"{"instances": [{"code": "\ud800\ud800"}]}"#,
            "row 0: field \"code\": lone leading surrogate",
        ),
        (
            "{\"instances\": [{\"code\": \"\u{0}\"}]}",
            "row 0: field \"code\": control character",
        ),
        (
            r#"{"columns": {"amount": [1, 2], "age": [1]}}"#,
            "field \"age\" has 1 values",
        ),
        (
            r#"{"columns": {"amount": [1], "amount": [1]}}"#,
            "field \"amount\" is given twice",
        ),
    ] {
        let error = read_error(&pipeline, body);
        assert!(error.contains(part), "{body}: {error}");
    }
}

#[test]
fn a_record_with_a_hundred_thousand_fields_fails_at_the_first_one() {
    let pipeline = pipeline("");
    let fields: Vec<String> = (0..100_000).map(|at| format!("\"f{at}\": {at}")).collect();
    let body = format!(
        r#"{{"instances": [{{"amount": 1, {}}}]}}"#,
        fields.join(", ")
    );
    let error = read_error(&pipeline, &body);
    assert!(
        error.starts_with("row 0: field \"f0\" is unknown"),
        "{error}"
    );

    let lenient = self::pipeline("unknown_fields = \"ignore\"");
    assert_eq!(lenient.read(body.as_bytes()).unwrap().table.rows(), 1);
}

#[test]
fn columns_and_instances_give_the_same_inputs() {
    let pipeline = pipeline("");
    let instances = r#"{"instances": [{"vip": true, "amount": 1.5, "opened": "2024-02-29"},
                                      {"country": "FR", "amount": -2, "age": 3}]}"#;
    let columns = r#"{"columns": {"amount": [1.5, -2], "country": [null, "FR"], "age": [null, 3],
                                  "vip": [true, null], "opened": ["2024-02-29", null]}}"#;
    let inputs = |body: &str| {
        let records = pipeline.read(body.as_bytes()).unwrap();
        let inputs = pipeline.before(records).unwrap().take_inputs();
        // NaN is not equal to itself, its text is.
        format!("{:?}", inputs[0].1.to_vec::<f32>().unwrap())
    };
    assert_eq!(inputs(instances), inputs(columns));
    assert!(
        inputs(columns).contains("1.5, 1.0, 2024.0"),
        "{}",
        inputs(columns)
    );
}

#[test]
fn memory_is_known_before_a_body_is_read() {
    let pipeline = pipeline("");
    let rows = |count: usize| {
        let rows = vec![r#"{"amount":1}"#; count].join(",");
        format!(r#"{{"instances":[{rows}]}}"#)
    };
    let (one, many) = (rows(1), rows(1000));
    let row = pipeline.bytes_at_most(many.as_bytes(), BadRows::FailRequest)
        - pipeline.bytes_at_most(one.as_bytes(), BadRows::FailRequest);
    assert!(row > 999 * 11 * 8, "{row} for 11 columns of 999 rows more");
    let columns = format!(
        r#"{{"columns":{{"amount":[{}]}}}}"#,
        vec!["1"; 1000].join(",")
    );
    assert!(pipeline.bytes_at_most(columns.as_bytes(), BadRows::FailRequest) > 1000 * 11 * 8);
}

#[test]
fn what_does_not_fit_together_is_refused_by_name_when_compiled() {
    let with = |steps: &str| compile(&format!("{FIELDS}\n{steps}")).unwrap_err();
    let cases = [
        (
            r#"before = [{ step = "clip", input = "agee", min = 0 }]"#,
            "step 1 before the engine: there is no column \"agee\", but \"age\"",
        ),
        (
            r#"before = [{ step = "scale", input = "country", divide = 2 }]"#,
            "\"country\" is of type string, the step takes numbers",
        ),
        (
            r#"before = [{ step = "scale", input = "age", output = "amount" }]"#,
            "there is a column \"amount\" already",
        ),
        (
            r#"before = [{ step = "ordinal", input = "country", categories = [1] }]"#,
            "a category of \"country\" is a number, and its values are of type string",
        ),
        (
            r#"before = [{ step = "fitted", output = "x" }]"#,
            "the state file has the transformers none",
        ),
        (
            r#"before = [{ step = "date_parts", input = "age", parts = ["year"] }]"#,
            "\"age\" is of type integer, the step takes time",
        ),
        (
            r#"inputs = [{ name = "y", columns = ["age"] }]"#,
            "[[pipeline.inputs]] has \"y\", the model has the inputs \"x\"",
        ),
        (
            r#"inputs = [{ name = "x", columns = ["country"] }]"#,
            "input \"x\" of the model: it takes FP32, and \"country\" is of type string",
        ),
        ("", "input \"x\" of the model takes nothing"),
        (
            r#"inputs = [{ name = "x", columns = ["age"] }]
               response = [{ name = "decision" }]"#,
            "field \"decision\" of the answer: there is no column \"decision\"",
        ),
        (
            r#"inputs = [{ name = "x", columns = ["age"] }]
               after = [{ step = "argmax", input = "probabilities", labels = ["a", "b"],
                          output = "label" }]"#,
            "step 1 after the engine: there are 2 labels for 3 columns",
        ),
        (
            r#"before = [{ step = "clipp", input = "age" }]"#,
            "unknown variant `clipp`",
        ),
        (
            r#"before = [{ step = "clip", input = "age", mn = 0 }]"#,
            "unknown field `mn`",
        ),
    ];
    for (steps, part) in cases {
        let error = with(steps);
        assert!(error.contains(part), "{steps}: {error}");
    }
    let empty = r#"fields = [{ name = "age", type = "number", min = 2, max = 1 }]"#;
    assert_eq!(
        compile(empty).unwrap_err(),
        "field \"age\": its range from 2 to 1 is empty"
    );
    let text = r#"fields = [{ name = "age", type = "string", min = 2 }]"#;
    assert_eq!(
        compile(text).unwrap_err(),
        "field \"age\": it is of type string, which has not a range"
    );
}

#[test]
fn fields_and_columns_that_nothing_uses_are_reported() {
    let steps = r#"
        before = [{ step = "clip", input = "age", min = 0, output = "clipped" }]
        inputs = [{ name = "x", columns = ["amount"] }]
        response = [{ name = "score" }]
    "#;
    let pipeline = compile(&format!("{FIELDS}\n{steps}")).unwrap();
    let unused = [
        "field \"country\"",
        "field \"code\"",
        "field \"vip\"",
        "field \"opened\"",
        "column \"clipped\"",
    ];
    assert_eq!(pipeline.unused(), unused);
    assert_eq!(
        pipeline.outputs().collect::<Vec<_>>(),
        [0],
        "only what the answer shows"
    );
}

#[test]
fn decisions_labels_and_lists_come_out_by_name() {
    let steps = r#"
        inputs = [{ name = "x", columns = ["amount"] }]
        after = [
            { step = "top_k", input = "probabilities", k = 2, labels = ["a", "b", "c"], output = "best" },
            { step = "argmax", input = "probabilities", output = "class" },
            { step = "pick", input = "probabilities", index = 1, output = "p" },
            { step = "round", input = "p", digits = 2 },
            { step = "threshold", input = "score", otherwise = "approve", output = "decision",
              rules = [{ at_least = 0.9, decision = "block" }, { at_least = 0.5, decision = "review" }] },
        ]
        response = [{ name = "decision" }, { name = "best" }, { name = "best_scores" },
                    { name = "class" }, { name = "p" }, { name = "code" }]
    "#;
    let pipeline = compile(&format!("{FIELDS}\n{steps}")).unwrap();
    let run = |body: &str, scores: Vec<f32>| {
        let run = pipeline
            .before(pipeline.read(body.as_bytes()).unwrap())
            .unwrap();
        let rows = run.rows();
        let score = Tensor::from_vec(Shape::new(&[rows]).unwrap(), scores).unwrap();
        let probabilities = [0.125f32, 0.625, 0.25].repeat(rows);
        let shape = Shape::new(&[rows, 3]).unwrap();
        let probabilities = Tensor::from_vec(shape, probabilities).unwrap();
        let answer = pipeline.after(run, &[(0, score), (1, probabilities)]);
        answer.map(|answer| {
            let mut json = Vec::new();
            answer.encode(&mut json);
            String::from_utf8(json).unwrap()
        })
    };
    let rest = r#""best":["b","c"],"best_scores":[0.625,0.25],"class":1,"p":0.62"#;
    assert_eq!(
        run(
            r#"{"instances": [{"amount": 1, "code": "AB1"}, {"amount": 2}]}"#,
            vec![0.5, 0.4]
        )
        .unwrap(),
        format!(
            r#"[{{"decision":"review",{rest},"code":"AB1"}},{{"decision":"approve",{rest},"code":null}}]"#
        )
    );
    assert_eq!(
        run(r#"{"columns": {"amount": [1]}}"#, vec![0.95]).unwrap(),
        r#"{"decision":["block"],"best":[["b","c"]],"best_scores":[[0.625,0.25]],"class":[1],"p":[0.62],"code":[null]}"#
    );
    // A score that is no number decides nothing, rather than the mildest thing.
    let error = run(r#"{"columns": {"amount": [1]}}"#, vec![f32::NAN]).unwrap_err();
    assert!(matches!(error, PipelineError::Output(_)));
    assert!(
        error
            .to_string()
            .contains("field \"score\" is not a number"),
        "{error}"
    );
}

#[test]
fn numbers_that_an_input_cannot_take_are_refused() {
    let compile = |datatype| {
        let spec = format!(
            "{FIELDS}\ninputs = [{{ name = \"x\", columns = [\"amount\"] }}]\nresponse = [{{ name = \"score\" }}]"
        );
        let signature = Signature {
            inputs: vec![tensor("x", datatype, &[-1, 1])],
            ..signature()
        };
        Pipeline::compile(
            &toml::from_str(&spec).unwrap(),
            &BundleFiles::new(),
            &signature,
        )
        .unwrap()
    };
    let error = |datatype, amount: &str| {
        let pipeline = compile(datatype);
        let body = format!(r#"{{"instances": [{{"amount": {amount}}}]}}"#);
        let records = pipeline.read(body.as_bytes()).unwrap();
        pipeline
            .before(records)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(error(DataType::Fp32, "1e39").contains("cannot take as FP32"));
    assert!(error(DataType::Int8, "128").contains("cannot take as INT8"));
    assert!(error(DataType::Int64, "0.5").contains("cannot take as INT64"));
    assert!(error(DataType::Int64, "9223372036854775808").contains("cannot take as INT64"));
    assert!(error(DataType::Uint8, "-1").contains("cannot take as UINT8"));
    assert!(error(DataType::Bool, "2").contains("cannot take as BOOL"));
}

proptest! {
    /// Fragments of bodies in any order: most are no JSON, and many of the others break rules.
    #[test]
    fn any_body_is_read_into_whole_rows_or_refused(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "{\"instances\":[", "{\"columns\":{", "{", "}", "[", "]", "]}", ",", "\"amount\":", "\"age\":",
                "\"country\":", "\"opened\":", "\"vip\":", "\"code\":", "\"x\":", "1", "-0", "1e400", "NaN", "null",
                "true", "\"DE\"", "\"\\u0000\"", "\"\\ud800\"", "\"2024-01-01\"", "{\"amount\":1}", "{\"amount\":2,\"age\":3}",
            ]),
            0..14,
        ),
        policy in proptest::sample::select(vec!["reject", "clip", "flag"]),
    ) {
        let head = format!("on_violation = \"{policy}\"\nunknown_fields = \"ignore\"");
        let pipeline = pipeline(&head);
        let body = parts.concat();
        if let Ok(records) = pipeline.read(body.as_bytes()) {
            let rows = records.table.rows();
            prop_assert!(rows > 0 && pipeline.bytes_at_most(body.as_bytes(), BadRows::FailRequest) >= records.table.bytes());
            for column in records.table.columns() {
                prop_assert_eq!(column.len(), rows);
            }
            if let Ok(mut run) = pipeline.before(records) {
                prop_assert_eq!(run.take_inputs()[0].1.rows(), rows);
            }
        }
    }
}
