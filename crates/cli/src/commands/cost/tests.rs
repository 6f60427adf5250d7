use serde_json::json;

use super::*;

fn answer(model: &str) -> CostResponse {
    let parts = |vcpu: &str, idle: &str| {
        let zero = "0.000000";
        json!({"vcpu": vcpu, "memory": zero, "storage": zero, "network": zero, "idle": idle, "fixed": zero})
    };
    let row = |version: &str, cost, total: &str, predictions: u64, per_1000: Option<f64>| {
        json!({
            "model": model, "version": version, "predictions": predictions, "vcpu_s": 1.5, "memory_gb_s": 0.0,
            "storage_gb_s": 0.0, "network_gb": 0.0, "cost": cost, "total": total, "per_1000_predictions": per_1000,
        })
    };
    let rows = [
        row(
            "9",
            parts("1.000001", "0.500000"),
            "1.500001",
            3000,
            Some(0.500_000_333),
        ),
        row("10", parts("0.000000", "0.000002"), "0.000002", 0, None),
    ];
    serde_json::from_value(json!({
        "currency": "EUR", "from": "2026-11-01", "to": "2026-11-25", "by": "version", "total": "1.500003",
        "predictions": 3000, "per_1000_predictions": 0.500_001, "up_s": 7200.0, "idle": "by-use",
        "capacity": {"vcpus": 2.0, "memory_gb": 4.0, "gpus": 0.0}, "rows": rows, "other_currencies": ["USD"],
        "budgets": [{"name": "team", "per": "month", "since": "2026-11-01", "amount": "2.000000", "spent": "1.500003",
            "used_ratio": 0.75, "alert_at": [0.8]}],
    }))
    .unwrap()
}

#[test]
fn the_sum_of_a_table_is_that_of_its_lines() {
    let cells = table::cells(&answer("fraud").report);
    assert_eq!(cells[0][..3], ["MODEL", "VERSION", "PREDICTIONS"]);
    assert_eq!(cells[1][9..], ["1.500001", "100.0%", "0.5000"]);
    assert_eq!(cells[2][9..], ["0.000002", "0.0%", "-"]);
    assert_eq!(cells[3][..4], ["all", "", "3000", "1.000001"]);
    assert_eq!(cells[3][7..10], ["0.500002", "0.000000", "1.500003"]);
    assert_eq!(
        answer("fraud").summary(),
        "EUR, 2026-11-01 to 2026-11-25 (UTC), 2.00 hours; capacity now: 2 vCPUs, 4.0 GB"
    );
    assert!(
        answer("fraud")
            .remarks()
            .last()
            .unwrap()
            .contains("counted in USD")
    );
}

#[test]
fn small_costs_keep_their_digits() {
    for (value, text) in [
        (0.000_000_223_456, "0.0000002235"),
        (12.345_678, "12.35"),
        (123_456.7, "123457"),
        (0.0, "0.000"),
    ] {
        assert_eq!(table::significant(value), text);
    }
}

#[test]
fn a_spreadsheet_takes_no_name_for_a_formula() {
    for name in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"] {
        let text = csv::render(&answer(name).report).unwrap();
        let mut lines = ::csv::Reader::from_reader(text.as_bytes());
        let first = lines.records().next().unwrap().unwrap();
        assert_eq!((&first[0], &first[1]), (format!("'{name}").as_str(), "9"));
    }
    let text = csv::render(&answer("a,\"b\"").report).unwrap();
    assert!(
        text.starts_with("model,version,predictions,vcpu_s,"),
        "{text}"
    );
    assert!(text.contains("\"a,\"\"b\"\"\",9,3000,1.5,"), "{text}");
}

#[test]
fn the_page_stands_alone_and_names_are_escaped() {
    let page = html::render(&answer("<script>alert(1)</script>"));
    assert!(
        page.contains("&lt;script&gt;") && !page.contains("<script"),
        "{page}"
    );
    for elsewhere in ["src=", "href=", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    assert!(
        page.contains("1.500003 EUR") && page.contains("75.0%"),
        "{page}"
    );
}
