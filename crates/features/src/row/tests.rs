#![allow(clippy::unwrap_used, reason = "these are tests")]

use super::*;

fn row(json: &str) -> FeatureRow {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_row_of_json_has_keys_values_and_a_time() {
    let row = row(
        r#"{"view": "v", "entity": {"b": "x", "a": 7}, "event_time": "2026-01-31T12:00:00+01:00",
        "features": {"n": 1.5, "i": 2, "t": "a", "f": false, "z": null, "b": {"b64": "AAE="}}}"#,
    );
    let (names, values) = row.key().unwrap();
    assert_eq!(names, ["a", "b"].map(Arc::<str>::from));
    assert_eq!(values, [KeyValue::Int64(7), KeyValue::Text("x".into())]);
    assert_eq!(row.event_ms(0), Ok(1_769_857_200_000));
    let values = row.values().unwrap();
    let expected = [
        ("n", FeatureValue::Number(1.5)),
        ("i", FeatureValue::Integer(2)),
        ("t", FeatureValue::Text("a".to_owned())),
        ("f", FeatureValue::Boolean(false)),
        ("z", FeatureValue::Missing),
        ("b", FeatureValue::Bytes(vec![0, 1])),
    ];
    assert_eq!(values, expected);
}

#[test]
fn what_no_column_can_have_is_refused_by_name() {
    for (json, problem) in [
        (
            r#"{"view": "v", "entity": {}, "features": {"a": 1}}"#,
            "1 to 8 keys",
        ),
        (
            r#"{"view": "v", "entity": {"k": 1.5}, "features": {"a": 1}}"#,
            "\"k\" is 1.5",
        ),
        (
            r#"{"view": "v", "entity": {"k": 1}, "features": {}}"#,
            "no features",
        ),
        (
            r#"{"view": "", "entity": {"k": 1}, "features": {"a": 1}}"#,
            "name of the view",
        ),
        (
            r#"{"view": "v", "entity": {"k": 1}, "features": {"a": [1]}}"#,
            "\"a\" is a list",
        ),
        (
            r#"{"view": "v", "entity": {"k": 1}, "features": {"a": {"b64": "!"}}}"#,
            "base64",
        ),
        (
            r#"{"view": "v", "entity": {"k": 1}, "features": {"a": 1}, "event_time": "x"}"#,
            "ISO 8601",
        ),
    ] {
        let row = row(json);
        let found = row.key().map(drop).and_then(|()| row.values().map(drop));
        let found = found.and_then(|()| row.event_ms(0).map(drop)).unwrap_err();
        assert!(found.contains(problem), "{found}");
    }
}

#[test]
fn times_may_leave_out_the_zone_and_the_day_time() {
    for (text, millis) in [
        ("2026-01-31", Some(1_769_817_600_000)),
        ("2026-01-31 12:00:00.250", Some(1_769_860_800_250)),
        ("2026-01-31T12:00:00Z", Some(1_769_860_800_000)),
        ("31.1.2026", None),
    ] {
        assert_eq!(event_ms(text), millis, "{text}");
    }
}

#[test]
fn json_lines_name_the_line_that_is_wrong() {
    let text =
        "{\"view\": \"v\", \"entity\": {\"k\": 1}, \"features\": {\"a\": 1}}\n\n{\"vieww\": 1}\n";
    let rows: Vec<_> = read_json_lines(text.as_bytes()).collect();
    assert_eq!(rows.len(), 2);
    assert!(rows[0].is_ok());
    assert_eq!(rows[1].as_ref().unwrap_err().line, 3);
}

#[test]
fn columns_of_csv_are_keys_times_and_features() {
    let columns = CsvColumns {
        view: "driver".to_owned(),
        keys: vec!["id".to_owned()],
        time: Some("at".to_owned()),
        texts: vec!["zip".to_owned()],
    };
    let csv = "id,at,rate,zip,code,ok\n7,2026-01-31,0.5,8001,007,true\n8,2026-01-31,,,x,false\n";
    let rows: Vec<FeatureRow> = read_csv(csv.as_bytes(), &columns)
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows[0].key().unwrap().1, [KeyValue::Int64(7)]);
    assert_eq!(rows[0].event_time.as_deref(), Some("2026-01-31"));
    let values = rows[0].values().unwrap();
    let text = |text: &str| FeatureValue::Text(text.to_owned());
    let expected = [
        ("rate", FeatureValue::Number(0.5)),
        ("zip", text("8001")),
        ("code", text("007")),
        ("ok", FeatureValue::Boolean(true)),
    ];
    assert_eq!(values, expected);
    let values = rows[1].values().unwrap();
    assert_eq!(values[0], ("rate", FeatureValue::Missing));

    let wrong = CsvColumns {
        time: Some("when".to_owned()),
        ..columns
    };
    let error = read_csv(csv.as_bytes(), &wrong)
        .next()
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("no column \"when\""), "{error}");
    let ragged = read_csv("id,a\n1\n".as_bytes(), &CsvColumns::default()).next();
    assert_eq!(ragged.unwrap().unwrap_err().line, 2);
}
