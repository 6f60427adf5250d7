use tidegate_protocol::model_config::{parse, to_json};
#[test]
fn probe() {
    let many = "{".repeat(40);
    let s = format!("parameters {{ key: 'a' value {{ string_value: \"{many}\" }} }}");
    for t in [
        "input # the inputs\n[ { name: 'x' } ]",
        "input # the inputs\n  [ { name: 'x' } ]",
        "input: # the inputs\n  [ { name: 'x' } ]",
        "input {name:'x' dims: # batch\n  [ 1 ] }",
        "input\t[\r\n {\r\n name:'x' } ]\r\n",
        "input [ ]", "input []", "input:[]",
        "max_batch_size: # c [\n 3", "input [ { name: 'x'\n dims [ 1, -1 ] } ]",
        "version_policy { latest { num_versions: 2 } }", "version_policy { all { } }", "version_policy: { all {} };",
        "input [ { name: 'x', data_type: 11, dims: -1; } , { name: \"y\" 'z' } ]",
        "input[ { nme: 'x' } ]", "name: 'é' nme: 1", "input[ { name: 'x } ]",
        "model_transaction_policy { decoupled: true }",
        "input { name: 'x' format: FORMAT_NHWC }", "input { format: 99 }",
        "parameters [ { key: 'a' value: { string_value: '1' } }, { key: 'b' value { string_value: '2' } } ]",
        "optimization { graph { level: 1 } }", "ensemble_scheduling { step [ { model_name: 'a' } ] }",
        "dynamic_batching { priority_queue_policy { key: 1 value { max_queue_size: 3 } } }",
        "dynamic_batching { default_queue_policy { timeout_action: DELAY } }", "dynamic_batching { }",
        "model_warmup [ { name: 'w' } ]", "instance_group [ { gpus: [ 0 ] } ]", "input { data_type: TYPE_FP8 }", "input { data_type: 77 }",
        "max_batch_size: 99999999999", "dynamic_batching {} sequence_batching {}", "\u{feff}name: 'x'", "a\"\\", "input [ { reshape { } } ]",
        "response_cache { enable: false }", "model_operations { }", "name: 'a' name: 'b'", s.as_str(),
    ] {
        println!("{:60} => {}", t.escape_debug().to_string(), match parse(t) { Ok(c) => format!("ok {:?} {:?}", c.input, c.parameters), Err(e) => format!("ERR {e}") });
    }
    let c = parse("name: 'a' input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 9007199254740993 ] } output { name: 'y' } dynamic_batching { preferred_batch_size: 4 max_queue_delay_microseconds: 18446744073709551615 default_queue_policy {} } version_policy { specific { versions: 3 } } instance_group { count: 1 } parameters { key: 'k' value { string_value: 'v' } } model_transaction_policy { }").unwrap();
    println!("{}", serde_json::to_string_pretty(&to_json(&c)).unwrap());
}
