//! The pages of the reference that are made from the code are as the code is. `UPDATE_DOCS=1`
//! writes them anew.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::Path;
use std::sync::Arc;

use tidegate_core::EngineChoice;
use tidegate_engines::{Engines, PORTABLE};
use tidegate_server::{ServerComponents, ServerConfig};
use tidegate_serving::{ErrorCode, FleetMetrics, MetricRegistry, Models, Serving};

#[test]
fn errors_page_is_made_from_the_table() {
    let mut page = String::from(
        "# Errors\n\n\
         Every error response has a stable code for programs and a message for people. Over REST the body\n\
         is `{\"error\": \"the message\", \"code\": \"the_code\"}`; over gRPC the message is that of the status, and the code is\n\
         in the trailer `tidegate-code`. Codes are never renamed; new ones may be added.\n\n\
         | code | HTTP | gRPC | what happened | what to do |\n|---|---|---|---|---|\n",
    );
    for code in ErrorCode::ALL {
        let grpc = grpc_name(code.grpc_code());
        let (name, http) = (code.name(), code.http_status());
        page.push_str(&format!(
            "| `{name}` | {http} | {grpc} | {} | {} |\n",
            code.meaning(),
            code.remedy()
        ));
    }
    page.push_str(
        "\n`queue_full` and `shutting_down` come with `Retry-After`, in seconds. A gRPC message above `max_body_bytes` is\n\
         refused before it is read.\n",
    );
    check("docs/reference/errors.md", &page);
}

fn grpc_name(code: i32) -> &'static str {
    match code {
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        9 => "FAILED_PRECONDITION",
        10 => "ABORTED",
        12 => "UNIMPLEMENTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        16 => "UNAUTHENTICATED",
        other => panic!("gRPC status {other} has no name here"),
    }
}

#[tokio::test]
async fn metrics_page_is_made_from_the_metrics() {
    let mut page = String::from(
        "# Metrics\n\n\
         `GET /metrics` answers in the text format of Prometheus, or of OpenMetrics if `Accept` asks for it. Names that begin with\n\
         `nv_` are Triton's, with Triton's labels and meaning, so that its dashboards keep working; their times are in microseconds.\n\
         Other names follow the conventions of Prometheus: base units, `_total` on counters. Metrics of the machine are\n\
         absent if the machine does not report them. Figures include every request that was answered before.\n\n\
         | metric | type | labels | what it counts |\n|---|---|---|---|\n",
    );
    let registry = Arc::new(MetricRegistry::new());
    let engines = Engines::discover(None, EngineChoice::from(PORTABLE));
    let models = Models::new(Vec::new(), engines, &registry);
    FleetMetrics::new(&registry);
    let serving = Arc::new(Serving::new(models));
    ServerComponents::minimal(ServerConfig::default(), serving, registry.clone()).unwrap();
    for metric in registry.catalogue() {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        page.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            metric.name,
            metric.kind.name(),
            labels.join(", "),
            metric.help
        ));
    }
    check("docs/reference/metrics.md", &page);
}

fn check(path: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found,
        made,
        "{} is out of date: run with UPDATE_DOCS=1",
        path.display()
    );
}
