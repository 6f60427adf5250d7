//! Texts in, vectors out.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use serde_json::{Value, json};
use tidegate_core::{DataType, Dim, PipelineSpec, Shape, Signature, Tensor, TensorSpec};
use tidegate_pipeline::{BadRows, BundleFiles, Pipeline, PipelineError, Reason, Run};

const FIELDS: &str = r#"
    fields = [{ name = "text", type = "string", optional = true }]
"#;
const TOKENIZE: &str = r#"
    before = [{ step = "tokenize", input = "text", max_length = 6 }]
"#;

fn tokenizer() -> Value {
    json!({
        "version": "1.0",
        "added_tokens": [{"id": 0, "content": "[PAD]", "special": true, "single_word": false,
                          "lstrip": false, "rstrip": false, "normalized": false}],
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[S]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "[S]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": "[S]", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[S]": {"id": "[S]", "ids": [2], "tokens": ["[S]"]}},
        },
        "model": {"type": "WordLevel", "unk_token": "?",
                  "vocab": {"[PAD]": 0, "?": 1, "[S]": 2, "a": 3, "b": 4, "c": 5}},
    })
}

fn tensor(name: &str, datatype: DataType, dims: &[i64]) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        datatype,
        dims: Some(dims.iter().map(|dim| Dim::from_wire(*dim)).collect()),
        optional: false,
    }
}

/// A model of tokens whose vectors have two numbers.
fn signature(output: &[i64]) -> Signature {
    let inputs = ["input_ids", "attention_mask", "token_type_ids"];
    Signature {
        inputs: inputs
            .map(|name| tensor(name, DataType::Int64, &[-1, -1]))
            .to_vec(),
        outputs: vec![tensor("vectors", DataType::Fp32, output)],
    }
}

fn compile_for(text: &str, signature: &Signature) -> Result<Pipeline, String> {
    let spec: PipelineSpec = toml::from_str(text).map_err(|error| error.to_string())?;
    let files = BundleFiles::from([(
        "tokenizer.json".to_owned(),
        tokenizer().to_string().into_bytes(),
    )]);
    Pipeline::compile(&spec, &files, signature).map_err(|error| error.to_string())
}

fn compile(text: &str) -> Result<Pipeline, String> {
    compile_for(text, &signature(&[-1, -1, 2]))
}

fn pooling(mode: &str) -> Pipeline {
    let text = format!(
        "{FIELDS}{TOKENIZE}
        after = [{{ step = \"pool\", input = \"vectors\", mode = \"{mode}\", output = \"vector\" }}]
        response = [{{ name = \"vector\" }}]"
    );
    compile(&text).unwrap()
}

fn run(pipeline: &Pipeline, body: &Value) -> Result<Run, PipelineError> {
    pipeline.before(pipeline.read(body.to_string().as_bytes())?)
}

fn texts(texts: &[&str]) -> Value {
    json!({"columns": {"text": texts}})
}

/// The inputs of the model by name, with their shape.
fn inputs(pipeline: &Pipeline, body: &Value) -> Vec<(String, Vec<usize>, Vec<i64>)> {
    let inputs = run(pipeline, body).unwrap().take_inputs();
    let inputs = inputs.into_iter().map(|(name, tensor)| {
        let numbers = tensor.to_vec::<i64>().unwrap();
        (name, tensor.shape().to_vec(), numbers)
    });
    inputs.collect()
}

/// What the pipeline answers if the model gives these vectors.
fn answer(pipeline: &Pipeline, body: &Value, shape: &[usize], vectors: &[f32]) -> String {
    let run = run(pipeline, body).unwrap();
    let output = Tensor::copy_of(Shape::new(shape).unwrap(), vectors).unwrap();
    let mut json = Vec::new();
    let answer = pipeline.after(run, &[(0, output)]).unwrap();
    answer.encode(&mut json);
    String::from_utf8(json).unwrap()
}

fn row_error(pipeline: &Pipeline, body: &Value) -> (Reason, String) {
    match run(pipeline, body).unwrap_err() {
        PipelineError::Row(error) => (error.reason, error.to_string()),
        other => panic!("{other}"),
    }
}

#[test]
fn inputs_of_the_model_take_the_tokens_of_their_names() {
    let pipeline = pooling("mean");
    assert!(pipeline.unused().is_empty());
    assert_eq!(
        inputs(&pipeline, &texts(&["a b", "c"])),
        [
            ("input_ids".to_owned(), vec![2, 3], vec![2, 3, 4, 2, 5, 0]),
            (
                "attention_mask".to_owned(),
                vec![2, 3],
                vec![1, 1, 1, 1, 1, 0]
            ),
            ("token_type_ids".to_owned(), vec![2, 3], vec![0; 6]),
        ]
    );
}

#[test]
fn a_pair_has_tokens_of_two_types() {
    let pipeline = compile(
        r#"
        fields = [{ name = "query", type = "string" }, { name = "passage", type = "string" }]
        before = [{ step = "tokenize", input = "query", pair = "passage", max_length = 8, pad_to_multiple_of = 8 }]
        "#,
    )
    .unwrap();
    let body = json!({"instances": [{"query": "a", "passage": "b c"}]});
    let made = inputs(&pipeline, &body);
    assert_eq!(made[0].2, [2, 3, 2, 4, 5, 0, 0, 0]);
    assert_eq!(made[2].2, [0, 0, 1, 1, 1, 0, 0, 0]);
}

#[test]
fn scores_of_pairs_are_columns() {
    let mut signature = signature(&[-1, 1]);
    signature.outputs[0].name = "logits".to_owned();
    let text = format!(
        "{FIELDS}{TOKENIZE}
        after = [{{ step = \"sigmoid\", input = \"logits\", output = \"score\" }}]
        response = [{{ name = \"score\" }}]"
    );
    let pipeline = compile_for(&text, &signature).unwrap();
    let found = answer(&pipeline, &texts(&["a", "b"]), &[2, 1], &[0.0, 800.0]);
    assert_eq!(found, r#"{"score":[0.5,1.0]}"#);
}

#[test]
fn tokens_may_have_other_names_and_32_bits() {
    let text = r#"
        fields = [{ name = "input_ids", type = "string" }]
        before = [{ step = "tokenize", input = "input_ids", max_length = 4, padding = "fixed", datatype = "int32",
                    input_ids = "tokens", attention_mask = "mask", token_type_ids = "types" }]
        inputs = [{ name = "input_ids", columns = ["tokens"] }, { name = "attention_mask", columns = ["mask"] },
                  { name = "token_type_ids", columns = ["types"] }]
    "#;
    assert!(compile(text).unwrap_err().contains("it takes INT64"));
    let mut signature = signature(&[-1, 2]);
    for input in &mut signature.inputs {
        *input = tensor(&input.name, DataType::Int32, &[-1, 4]);
    }
    let pipeline = compile_for(text, &signature).unwrap();
    let body = json!({"instances": [{"input_ids": "a"}]});
    let made = run(&pipeline, &body).unwrap().take_inputs();
    assert_eq!(made[0].1.to_vec::<i32>().unwrap(), [2, 3, 0, 0]);
}

#[test]
fn vectors_are_pooled_without_padding() {
    // Two rows of three tokens; the last one of the second row is padding.
    let body = texts(&["a b", "c"]);
    let vectors = [
        1.0, -1.0, 2.0, -2.0, 6.0, -9.0, 1.0, 3.0, 2.0, 5.0, 100.0, 100.0,
    ];
    let root = |sum: f64, count: f64| (sum as f32 / (count as f32).sqrt()).to_string();
    let expected = [
        ("mean", "[[3.0,-4.0],[1.5,4.0]]".to_owned()),
        ("cls", "[[1.0,-1.0],[1.0,3.0]]".to_owned()),
        ("max", "[[6.0,-1.0],[2.0,5.0]]".to_owned()),
        ("last_token", "[[6.0,-9.0],[2.0,5.0]]".to_owned()),
        (
            "mean_sqrt_len",
            format!(
                "[[{},{}],[{},{}]]",
                root(9.0, 3.0),
                root(-12.0, 3.0),
                root(3.0, 2.0),
                root(8.0, 2.0)
            ),
        ),
    ];
    for (mode, expected) in expected {
        let found = answer(&pooling(mode), &body, &[2, 3, 2], &vectors);
        assert_eq!(found, format!("{{\"vector\":{expected}}}"), "{mode}");
    }
}

#[test]
fn a_row_without_tokens_is_pooled_to_what_pytorch_gives() {
    for (mode, expected) in [
        ("mean", "[[0.0,0.0]]"),
        ("max", "[[-1000000000.0,-1000000000.0]]"),
        ("last_token", "[[0.0,0.0]]"),
    ] {
        let text = format!(
            "{FIELDS}
            before = [{{ step = \"tokenize\", input = \"text\", max_length = 6, special_tokens = false }}]
            after = [{{ step = \"pool\", input = \"vectors\", mode = \"{mode}\", output = \"vector\" }}]
            response = [{{ name = \"vector\" }}]"
        );
        let pipeline = compile(&text).unwrap();
        let found = answer(&pipeline, &texts(&[""]), &[1, 1, 2], &[7.0, 8.0]);
        let found: Value = serde_json::from_str(&found).unwrap();
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(found["vector"], expected, "{mode}");
    }
}

#[test]
fn normalized_vectors_have_the_length_1_and_zeros_stay() {
    let text = format!(
        "{FIELDS}{TOKENIZE}
        after = [
            {{ step = \"pool\", input = \"vectors\", mode = \"cls\", output = \"vector\" }},
            {{ step = \"normalize\", input = \"vector\" }},
        ]
        response = [{{ name = \"vector\" }}]"
    );
    let vectors = [3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 9.0, 9.0];
    let found = answer(
        &compile(&text).unwrap(),
        &texts(&["a", "b"]),
        &[2, 2, 2],
        &vectors,
    );
    assert_eq!(found, r#"{"vector":[[0.6,0.8],[0.0,0.0]]}"#);
}

#[test]
fn a_text_that_is_missing_or_too_long_names_its_row_and_field() {
    let pipeline = pooling("mean");
    let body = json!({"instances": [{"text": "a"}, {}]});
    let error = row_error(&pipeline, &body);
    let expected = "row 1: field \"text\" is missing".to_owned();
    assert_eq!(error, (Reason::Required, expected));

    let (reason, message) = row_error(&pipeline, &texts(&["a ".repeat(200_000).as_str()]));
    assert_eq!(reason, Reason::Length);
    assert_eq!(
        message,
        "row 0: field \"text\" has 400000 bytes, at most 262144 are tokenized"
    );

    let text = format!(
        "{FIELDS}
        before = [{{ step = \"tokenize\", input = \"text\", max_length = 3, truncation = \"reject\" }}]"
    );
    let error = row_error(&compile(&text).unwrap(), &texts(&["a", "a b c"]));
    let expected = "row 1: field \"text\" has 4 tokens, the model takes 3".to_owned();
    assert_eq!(error, (Reason::Length, expected));
}

#[test]
fn an_imputed_text_is_tokenized() {
    let text = format!(
        "{FIELDS}
        before = [{{ step = \"impute\", input = \"text\", value = \"c\" }},
                  {{ step = \"tokenize\", input = \"text\", max_length = 6 }}]"
    );
    let made = inputs(&compile(&text).unwrap(), &json!({"instances": [{}]}));
    assert_eq!(made[0].2, [2, 5]);
}

#[test]
fn tokens_count_in_the_memory_of_a_request() {
    let long = TOKENIZE.replace("max_length = 6", "max_length = 6000");
    let body = texts(&["a"]).to_string();
    let bytes = |steps: &str| {
        let pipeline = compile(&format!("{FIELDS}{steps}")).unwrap();
        pipeline.bytes_at_most(body.as_bytes(), BadRows::FailRequest)
    };
    assert!(bytes(&long) - bytes(TOKENIZE) >= 5994 * 3 * 8);
}

#[test]
fn mistakes_of_a_manifest_are_named() {
    let expected = [
        (
            "before = [{ step = \"tokenize\", input = \"text\", max_length = 6, file = \"other.json\" }]",
            "the bundle has no file \"other.json\"",
        ),
        (
            "before = [{ step = \"tokenize\", input = \"text\", max_length = 1 }]",
            "tokenizer.json: max_length is 1, and 1 special tokens are added",
        ),
        (
            "before = [{ step = \"tokenize\", input = \"text\", max_length = 6 },
                       { step = \"tokenize\", input = \"text\", max_length = 6 }]",
            "there is a column \"input_ids\" already",
        ),
        (
            "before = [{ step = \"tokenize\", input = \"text\", max_length = 6, pair = \"other\" }]",
            "there is no column \"other\"",
        ),
        (
            "before = [{ step = \"tokenize\", input = \"text\", max_length = 6 }]
             after = [{ step = \"pool\", input = \"input_ids\", mode = \"mean\", output = \"vector\" }]",
            "\"input_ids\" has no vector for each token",
        ),
        (
            "before = [{ step = \"tokenize\", input = \"text\", max_length = 6 }]
             after = [{ step = \"pool\", input = \"vectors\", mode = \"mean\", mask = \"vectors\" }]",
            "\"vectors\" is no mask",
        ),
    ];
    for (steps, problem) in expected {
        let error = compile(&format!("{FIELDS}{steps}")).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
    let text = format!(
        "{FIELDS}{TOKENIZE}
        after = [{{ step = \"pool\", input = \"vectors\", mode = \"mean\" }}]"
    );
    let error = compile_for(&text, &signature(&[-1, -1, -1])).unwrap_err();
    assert!(
        error.contains("declare its shape in [[signature.outputs]]"),
        "{error}"
    );
}

#[test]
fn what_tokenizing_takes_is_known_by_the_longest_text() {
    let pipeline = pooling("mean");
    assert!(pipeline.has_sized_content());
    let bytes = |texts: &[&str]| {
        let rows: Vec<Value> = texts.iter().map(|text| json!({"text": text})).collect();
        let body = json!({ "instances": rows }).to_string();
        pipeline.content_bytes(&pipeline.read(body.as_bytes()).unwrap())
    };
    let long = "a ".repeat(50_000);
    // 300 times its length at most, and rows are tokenized one after the other.
    assert_eq!(bytes(&["a b", "a"]), 900);
    assert_eq!(bytes(&[&long, &long, "a"]), 30_000_000);
    // Longer ones are refused before they take anything more.
    assert_eq!(bytes(&[&long.repeat(4)]), 300 * 262_144);
}
