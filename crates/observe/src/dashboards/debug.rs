//! Where the time goes, which version does what, and what it costs the machine.

use super::model::{Dashboard, Panel};
use super::on_call::quantile;

pub(super) fn dashboard(job: &str) -> Dashboard {
    let model = format!("{job},model=~\"$model\"");
    Dashboard {
        name: "tidegate-debug",
        title: "Tidegate: debug",
        description: "Stages of requests, batches, versions and the machine, to find a cause.",
        from: "now-1h",
        job: job.to_owned(),
        rows: vec![
            time(&model),
            batches(&model),
            versions(job, &model),
            failures(job, &model),
            traces(job),
            processes(job, &model),
            limits(job),
            [caches(job), redis(job)].concat(),
            features(job),
            quality(job),
            [sequences(&model), graphs(job)].concat(),
            gateway(job),
            delivery(job),
            upstreams(job),
            gpus(job),
        ],
    }
}

fn time(model: &str) -> Vec<Panel> {
    vec![
        Panel::heatmap("Request durations", "s", "The distribution of latency.").query(
            "{{le}}",
            format!("sum by (le) (rate(tidegate_request_duration_seconds_bucket{{{model}}}[$__rate_interval]))"),
        ),
        Panel::lines("99th percentile by stage", "s", "The whole time, the time in the queue, and the time in the engine.")
            .query("{{model}} all", quantile(0.99, "tidegate_request_duration_seconds", model))
            .query("{{model}} queue", stage("tidegate_queue_duration_seconds", model))
            .query("{{model}} engine", stage("tidegate_compute_duration_seconds", model)),
        Panel::lines("Mean time by stage", "µs", "Of answered requests.")
            .query("{{model}} all", mean("nv_inference_request_duration_us", model))
            .query("{{model}} queue", mean("nv_inference_queue_duration_us", model))
            .query("{{model}} join", mean("nv_inference_compute_input_duration_us", model))
            .query("{{model}} engine", mean("nv_inference_compute_infer_duration_us", model))
            .query("{{model}} split", mean("nv_inference_compute_output_duration_us", model)),
    ]
}

/// The 99th percentile that the servers state of one stage; the worst of all servers and versions.
fn stage(summary: &str, model: &str) -> String {
    format!("max by (model) ({summary}{{{model},quantile=\"0.99\"}})")
}

fn batches(model: &str) -> Vec<Panel> {
    vec![
        Panel::lines(
            "Rows that ran together",
            "short",
            "On average. /v2/models/MODEL/stats has the distribution of batch sizes.",
        )
        .query(
            "{{model}}",
            format!(
                "sum by (model) (rate(nv_inference_count{{{model}}}[$__rate_interval])) / sum by (model) \
                 (rate(nv_inference_exec_count{{{model}}}[$__rate_interval]))"
            ),
        ),
        Panel::lines("Batches a second", "short", "Runs of the engine.")
            .query("{{model}}", format!("sum by (model) (rate(nv_inference_exec_count{{{model}}}[$__rate_interval]))")),
        Panel::lines("Waiting requests", "short", "By version and server.")
            .query("{{model}} {{version}} {{instance}}", format!("nv_inference_pending_request_count{{{model}}}")),
    ]
}

fn versions(job: &str, model: &str) -> Vec<Panel> {
    vec![
        Panel::lines("Requests by version", "reqps", "Which version answers.").query(
            "{{model}} {{version}}",
            format!("sum by (model, version) (rate(nv_inference_request_success{{{model}}}[$__rate_interval]))"),
        ),
        Panel::table("Loaded versions", "Memory that each version used when it was loaded, by server.")
            .query("", format!("max by (model, version, instance) (tidegate_model_memory_bytes{{{model}}})")),
        Panel::lines(
            "Load time",
            "s",
            "Time of the last load of each version, with warm-up; and cold starts in the hour before.",
        )
        .query("{{model}} {{version}}", format!("max by (model, version) (tidegate_version_load_seconds{{{model}}})"))
        .query(
            "p90 of all",
            format!(
                "histogram_quantile(0.9, sum by (le) (rate(tidegate_model_load_duration_seconds_bucket{{{job}}}[1h])))"
            ),
        )
        .query(
            "{{model}} cold starts",
            format!("sum by (model) (increase(tidegate_cold_starts_total{{{model}}}[1h]))"),
        ),
    ]
}

fn failures(job: &str, model: &str) -> Vec<Panel> {
    vec![
        Panel::lines(
            "Fields of records that break their rules",
            "ops",
            "Values that a rule of a pipeline's field refuses, clips or flags, by field and reason.",
        )
        .query(
            "{{model}} {{field}}: {{reason}}",
            format!(
                "sum by (model, field, reason) (rate(tidegate_field_violations_total{{{job}}}[$__rate_interval]))"
            ),
        ),
        Panel::lines("Failures by reason", "reqps", "Failed requests that reached a version, including client errors.")
            .query(
                "{{model}} {{version}} {{reason}}",
                format!(
                    "sum by (model, version, reason) (rate(nv_inference_request_failure{{{model}}}[$__rate_interval]))"
                ),
            ),
        Panel::lines("Refused by code", "reqps", "Requests that did not reach a version.").query(
            "{{code}}",
            format!("sum by (code) (rate(tidegate_requests_refused_total{{{job}}}[$__rate_interval]))"),
        ),
        Panel::lines("Answers", "Bps", "Bytes of answers per second, by model.").query(
            "{{model}}",
            format!("sum by (model) (rate(tidegate_answer_bytes_total{{{model}}}[$__rate_interval]))"),
        ),
        Panel::lines("Cancelled by clients", "reqps", "The client disconnected before the answer.").query(
            "{{model}}",
            format!("sum by (model) (rate(tidegate_requests_abandoned_total{{{model}}}[$__rate_interval]))"),
        ),
    ]
}

fn traces(job: &str) -> Vec<Panel> {
    vec![
        Panel::lines(
            "Traces kept",
            "reqps",
            "Requests whose trace was kept, by reason.",
        )
        .query(
            "{{reason}}",
            format!(
                "sum by (reason) (rate(tidegate_traces_kept_total{{{job}}}[$__rate_interval]))"
            ),
        ),
        Panel::lines(
            "Spans",
            "short",
            "Per second, by outcome; `dropped` and `failed` spans are lost.",
        )
        .query(
            "{{outcome}}",
            format!(
                "sum by (outcome) (rate(tidegate_trace_spans_total{{{job}}}[$__rate_interval]))"
            ),
        ),
    ]
}

/// What the servers take of their machine.
fn processes(job: &str, model: &str) -> Vec<Panel> {
    vec![
        Panel::lines("Processors in use", "short", "CPUs in use by server and mode, all CPUs, and CPUs that the engines use.")
            .query("{{instance}} processors", format!("tidegate_process_cpus{{{job}}}"))
            .query(
                "{{instance}} {{mode}}",
                format!("rate(tidegate_process_cpu_seconds_total{{{job}}}[$__rate_interval])"),
            )
            .query(
                "{{model}} engine",
                format!("sum by (model) (rate(tidegate_instance_busy_seconds_total{{{model}}}[$__rate_interval]))"),
            )
            .query(
                "{{instance}} held back",
                format!("rate(tidegate_cgroup_cpu_throttled_seconds_total{{{job}}}[$__rate_interval])"),
            ),
        Panel::lines("Memory", "bytes", "Resident memory, the part of loaded models, free memory, and the limit.")
            .query("{{instance}}", format!("process_resident_memory_bytes{{{job}}}"))
            .query("{{instance}} models", format!("sum by (instance) (tidegate_model_memory_bytes{{{job}}})"))
            .query("{{instance}} left", format!("tidegate_memory_available_bytes{{{job}}}"))
            .query("{{instance}} limit", format!("tidegate_memory_limit_bytes{{{job}}}")),
        Panel::lines(
            "Allocator",
            "bytes",
            "Memory that the allocator has obtained from the operating system, and its peak; the rest of resident memory is \
             that of engines.",
        )
        .query("{{instance}}", format!("tidegate_allocator_committed_bytes{{{job}}}"))
        .query("{{instance}} most", format!("tidegate_allocator_peak_committed_bytes{{{job}}}")),
        Panel::lines(
            "Requests in flight",
            "bytes",
            "Memory of requests and answers, its limit, and requests refused in the hour before because it was used up.",
        )
        .query("{{instance}}", format!("tidegate_request_memory_bytes{{{job}}}"))
        .query("{{instance}} limit", format!("tidegate_request_memory_limit_bytes{{{job}}}"))
        .query("{{instance}} refused", format!("increase(tidegate_request_memory_refused_total{{{job}}}[1h])")),
        Panel::lines("Data folder", "bytes", "Free space and size of the disk that the server writes to.")
            .query("{{instance}} left", format!("tidegate_data_available_bytes{{{job}}}"))
            .query("{{instance}} size", format!("tidegate_data_size_bytes{{{job}}}")),
    ]
}

/// What can run out, and how long each server has run.
fn limits(job: &str) -> Vec<Panel> {
    vec![
        Panel::lines("Running for", "s", "Time since each server's process started.")
            .query("{{instance}}", format!("time() - process_start_time_seconds{{{job}}}")),
        Panel::lines("Killed for memory", "short", "Processes of the cgroup, in the hour before.")
            .query("{{instance}}", format!("increase(tidegate_cgroup_oom_kills_total{{{job}}}[1h])")),
        Panel::lines("Files and threads", "short", "Open files, their limit, and threads.")
            .query("{{instance}} files", format!("process_open_fds{{{job}}}"))
            .query("{{instance}} most files", format!("process_max_fds{{{job}}}"))
            .query("{{instance}} threads", format!("tidegate_process_threads{{{job}}}")),
        Panel::lines(
            "No longer batched",
            "short",
            "Versions that stopped batching in the hour before, because rows of a batch depended on each other.",
        )
        .query("{{model}} {{version}}", format!("increase(tidegate_batching_stopped_total{{{job}}}[1h])")),
        Panel::lines(
            "Not counted",
            "short",
            "Requests that are missing in the metrics, and versions that are counted together, in the hour before.",
        )
        .query("{{instance}} requests", format!("increase(tidegate_observations_dropped_total{{{job}}}[1h])"))
        .query("{{instance}} versions", format!("increase(tidegate_metrics_overflows_total{{{job}}}[1h])")),
        Panel::lines(
            "Open connections",
            "short",
            "By server and protocol. In the hour before: connections that were closed because they were idle, streams \
             whose client did not read, and pages of the console without live updates.",
        )
        .query("{{instance}} {{protocol}}", format!("tidegate_open_connections{{{job}}}"))
        .query(
            "{{instance}} timed out",
            format!("increase(tidegate_connections_timed_out_total{{{job}}}[1h])"),
        )
        .query(
            "{{instance}} streams timed out",
            format!("increase(tidegate_streams_timed_out_total{{{job}}}[1h])"),
        )
        .query(
            "{{instance}} console refused",
            format!("increase(tidegate_console_streams_refused_total{{{job}}}[1h])"),
        ),
    ]
}

/// The response cache.
fn caches(job: &str) -> Vec<Panel> {
    vec![
        Panel::lines(
            "Cached answers",
            "ops",
            "Requests to cached endpoints, by where the answer came from.",
        )
        .query(
            "{{outcome}}",
            format!(
                "sum by (outcome) (rate(tidegate_cache_requests_total{{{job}}}[$__rate_interval]))"
            ),
        ),
        Panel::lines("Cache", "bytes", "Memory and number of cached answers.")
            .query("{{instance}}", format!("tidegate_cache_bytes{{{job}}}"))
            .query(
                "{{instance}} answers",
                format!("tidegate_cache_entries{{{job}}}"),
            ),
    ]
}

/// What versions with states remember.
fn sequences(model: &str) -> Vec<Panel> {
    vec![
        Panel::lines("Live sequences", "short", "Sequences that a version remembers, and the memory of their states.")
            .query("{{model}} {{version}}", format!("sum by (model, version) (tidegate_sequences_live{{{model}}})"))
            .query(
                "{{model}} {{version}} bytes",
                format!("sum by (model, version) (tidegate_sequence_state_bytes{{{model}}})"),
            ),
        Panel::lines("Sequences", "ops", "Sequences that started and ended, by reason, and requests that were refused.")
            .query(
                "{{model}} started",
                format!("sum by (model) (rate(tidegate_sequences_started_total{{{model}}}[$__rate_interval]))"),
            )
            .query(
                "{{model}} ended: {{reason}}",
                format!("sum by (model, reason) (rate(tidegate_sequences_ended_total{{{model}}}[$__rate_interval]))"),
            )
            .query(
                "{{model}} refused: {{reason}}",
                format!(
                    "sum by (model, reason) (rate(tidegate_sequence_requests_refused_total{{{model}}}[$__rate_interval]))"
                ),
            ),
    ]
}

/// Who is let in, and what answers when a version cannot.
fn graphs(job: &str) -> Vec<Panel> {
    vec![
        Panel::lines(
            "Nodes of graphs",
            "reqps",
            "Runs of versions as nodes of graphs, which are no requests of clients.",
        )
        .query(
            "{{model}} {{version}}",
            format!("rate(tidegate_graph_node_runs_total{{{job}}}[5m])"),
        ),
    ]
}

fn gateway(job: &str) -> Vec<Panel> {
    vec![
        Panel::lines(
            "TLS",
            "short",
            "Days until each certificate expires. In the hour before: handshakes that failed, and certificates that could \
             not be reloaded.",
        )
        .query(
            "{{instance}} days",
            format!("(tidegate_tls_certificate_expires_timestamp_seconds{{{job}}} - time()) / 86400"),
        )
        .query(
            "{{instance}} handshakes failed",
            format!("increase(tidegate_tls_handshakes_failed_total{{{job}}}[1h])"),
        )
        .query(
            "{{instance}} reloads failed",
            format!("increase(tidegate_tls_reload_failures_total{{{job}}}[1h])"),
        ),
        Panel::lines(
            "Audit log",
            "short",
            "Rows written in the hour before; rows that could not be written, and denied requests that are not in it.",
        )
        .query("{{instance}} rows", format!("increase(tidegate_audit_rows_total{{{job}}}[1h])"))
        .query("{{instance}} failures", format!("increase(tidegate_audit_failures_total{{{job}}}[1h])"))
        .query(
            "{{instance}} denials dropped",
            format!("increase(tidegate_audit_denials_dropped_total{{{job}}}[1h])"),
        ),
        Panel::lines(
            "Circuit breakers",
            "short",
            "Breakers of versions: 0 closed, 1 half open, 2 open; and their changes in the hour before.",
        )
        .query(
            "{{model}}:{{version}}",
            format!("tidegate_breaker_state{{{job}}}"),
        )
        .query(
            "{{model}}:{{version}} {{state}}",
            format!("increase(tidegate_breaker_changes_total{{{job}}}[1h])"),
        ),
        Panel::lines(
            "Fallbacks",
            "ops",
            "Answers that did not come from the endpoint's own version, and choices that could not answer either.",
        )
        .query(
            "{{endpoint}} {{fallback}}: {{reason}}",
            format!("rate(tidegate_fallbacks_total{{{job}}}[$__rate_interval])"),
        )
        .query(
            "{{endpoint}} {{fallback}} failed: {{reason}}",
            format!("rate(tidegate_fallback_failures_total{{{job}}}[$__rate_interval])"),
        ),
        Panel::lines(
            "Access policies",
            "short",
            "Cedar policies in force, decisions that they were evaluated for, and what went wrong with them.",
        )
        .query("policies", format!("tidegate_policies{{{job}}}"))
        .query(
            "evaluations a second",
            format!("rate(tidegate_policy_evaluations_total{{{job}}}[$__rate_interval])"),
        )
        .query(
            "failures a second",
            format!("rate(tidegate_policy_failures_total{{{job}}}[$__rate_interval])"),
        )
        .query(
            "failed reloads",
            format!("tidegate_policy_reload_failures_total{{{job}}}"),
        ),
    ]
}

/// Which versions answer.
fn delivery(job: &str) -> Vec<Panel> {
    vec![
        Panel::lines(
            "Shadows",
            "ops",
            "Copies of requests for the shadows of traffic policies, by what came of them.",
        )
        .query(
            "{{endpoint}}:{{version}} {{result}}",
            format!("rate(tidegate_shadow_requests_total{{{job}}}[$__rate_interval])"),
        ),
        Panel::lines(
            "Rollouts",
            "percentunit",
            "The share of requests that the new version of a rollout answers; 1 for an hour where a \
             version was taken back.",
        )
        .query(
            "{{endpoint}}:{{version}}",
            format!("max by (endpoint, version) (tidegate_rollout_weight{{{job}}})"),
        )
        .query(
            "{{endpoint}}:{{version}} taken back",
            format!("max by (endpoint, version) (tidegate_rollout_rolled_back{{{job}}})"),
        ),
        Panel::lines(
            "Cascades",
            "ops",
            "Requests of cascades, by what became of them in the first version, and its answers that were \
             checked.",
        )
        .query(
            "{{endpoint}} {{result}}",
            format!("rate(tidegate_cascade_requests_total{{{job}}}[$__rate_interval])"),
        )
        .query(
            "{{endpoint}} checked: {{result}}",
            format!("rate(tidegate_cascade_audits_total{{{job}}}[$__rate_interval])"),
        ),
    ]
}

/// The servers that run remote versions.
fn upstreams(job: &str) -> Vec<Panel> {
    vec![
        Panel::lines(
            "Upstream requests",
            "ops",
            "Requests that upstream servers run, by outcome, and their further attempts.",
        )
        .query(
            "{{model}} {{address}} {{outcome}}",
            format!("rate(tidegate_remote_attempts_total{{{job}}}[$__rate_interval])"),
        )
        .query(
            "{{model}} {{kind}}",
            format!("rate(tidegate_remote_retries_total{{{job}}}[$__rate_interval])"),
        )
        .query(
            "{{model}} {{kind}} not allowed",
            format!("rate(tidegate_remote_retries_refused_total{{{job}}}[$__rate_interval])"),
        ),
        Panel::lines("Upstream in flight", "short", "Requests that wait for an upstream server.")
            .query(
                "{{model}} {{address}}",
                format!("tidegate_remote_in_flight{{{job}}}"),
            ),
        Panel::lines(
            "Upstream servers",
            "short",
            "Which servers get requests (1), ejections in the hour before, and circuit breakers: 0 closed, 1 half open, 2 open.",
        )
        .query(
            "{{model}} {{address}} up",
            format!("tidegate_remote_address_up{{{job}}}"),
        )
        .query(
            "{{model}} {{address}} ejections",
            format!("increase(tidegate_remote_ejections_total{{{job}}}[1h])"),
        )
        .query(
            "{{model}} breaker",
            format!("tidegate_remote_breaker_state{{{job}}}"),
        )
        .query(
            "{{model}} breaker {{state}}",
            format!("increase(tidegate_remote_breaker_changes_total{{{job}}}[1h])"),
        ),
    ]
}

/// What servers share.
fn redis(job: &str) -> Vec<Panel> {
    vec![
        Panel::lines("Redis", "short", "Whether each server can reach Redis (1), and the servers that it counts there.")
            .query("{{instance}} connected", format!("tidegate_redis_connected{{{job}}}"))
            .query("{{instance}} servers", format!("tidegate_redis_servers{{{job}}}")),
        Panel::lines("Redis commands", "ops", "By outcome; `not_sent` while Redis is away.").query(
            "{{command}} {{outcome}}",
            format!("sum by (command, outcome) (rate(tidegate_redis_commands_total{{{job}}}[$__rate_interval]))"),
        ),
        Panel::lines("Time of Redis commands", "s", "Mean, of those that were sent.").query(
            "{{command}}",
            format!(
                "sum by (command) (rate(tidegate_redis_command_seconds_total{{{job}}}[$__rate_interval])) / \
                 sum by (command) (rate(tidegate_redis_commands_total{{{job},outcome!=\"not_sent\"}}[$__rate_interval]))"
            ),
        ),
        Panel::lines("Shared answers", "ops", "What happened to the answers that servers share in Redis.").query(
            "{{outcome}}",
            format!("sum by (outcome) (rate(tidegate_cache_shared_answers_total{{{job}}}[$__rate_interval]))"),
        ),
    ]
}

/// What pipelines look up.
fn features(job: &str) -> Vec<Panel> {
    vec![
        Panel::lines("Feature stores", "short", "Whether each server can ask the store (1).").query(
            "{{instance}} {{store}}",
            format!("tidegate_feature_store_up{{{job}}}"),
        ),
        Panel::lines("Lookups of features", "ops", "By outcome; `not_sent` while the store is away.").query(
            "{{store}} {{outcome}}",
            format!("sum by (store, outcome) (rate(tidegate_feature_lookups_total{{{job}}}[$__rate_interval]))"),
        ),
        Panel::lines("Time of lookups", "s", "Mean.").query(
            "{{store}}",
            format!(
                "sum by (store) (rate(tidegate_feature_lookup_seconds_total{{{job}}}[$__rate_interval])) / \
                 sum by (store) (rate(tidegate_feature_lookups_total{{{job}}}[$__rate_interval]))"
            ),
        ),
        Panel::lines("Looked-up values", "ops", "Found, missing, stale, unreadable, and defaults that stood in.").query(
            "{{view}} {{outcome}}",
            format!("sum by (view, outcome) (rate(tidegate_feature_values_total{{{job}}}[$__rate_interval]))"),
        ),
        Panel::lines("Age of features", "s", "95th percentile of the oldest feature of each entity, by view.").query(
            "{{view}}",
            format!(
                "histogram_quantile(0.95, sum by (view, le) \
                 (rate(tidegate_feature_age_seconds_bucket{{{job}}}[$__rate_interval])))"
            ),
        ),
    ]
}

/// Captured predictions, their labels, and what they show.
fn quality(job: &str) -> Vec<Panel> {
    vec![
        Panel::lines("Captured rows", "ops", "Rows of captured predictions, by endpoint.").query(
            "{{endpoint}}",
            format!("sum by (endpoint) (rate(tidegate_captured_rows_total{{{job}}}[$__rate_interval]))"),
        ),
        Panel::lines(
            "Captures that were lost",
            "ops",
            "Dropped as memory was full, or not written; and data sets that were refused.",
        )
        .query(
            "data sets refused",
            format!("sum(rate(tidegate_datasets_refused_total{{{job}}}[$__rate_interval]))"),
        )
            .query(
                "dropped",
                format!("sum(rate(tidegate_capture_dropped_total{{{job}}}[$__rate_interval]))"),
            )
            .query(
                "not written",
                format!("sum(rate(tidegate_capture_failures_total{{{job}}}[$__rate_interval]))"),
            ),
        Panel::lines(
            "Captures and data sets in memory and on disk",
            "bytes",
            "Captures until they are written, and in files; the files of data sets.",
        )
        .query("{{instance}} memory", format!("tidegate_capture_held_bytes{{{job}}}"))
        .query("{{instance}} captures", format!("tidegate_capture_disk_bytes{{{job}}}"))
        .query("{{instance}} data sets", format!("tidegate_dataset_disk_bytes{{{job}}}")),
        Panel::lines("Labels", "ops", "By what became of them.").query(
            "{{endpoint}} {{outcome}}",
            format!("sum by (endpoint, outcome) (rate(tidegate_feedback_total{{{job}}}[$__rate_interval]))"),
        ),
        Panel::lines(
            "Accuracy",
            "short",
            "By labels, of each version, and as its probabilities say it before labels come; of how many labels \
             and predictions.",
        )
        .query("{{endpoint}} {{version}} {{metric}}", format!("tidegate_accuracy{{{job}}}"))
        .query(
            "{{endpoint}} {{version}} {{metric}} estimated",
            format!("tidegate_estimated_accuracy{{{job}}}"),
        )
        .query(
            "{{endpoint}} {{version}} labels",
            format!("tidegate_accuracy_labels{{{job}}}"),
        )
        .query(
            "{{endpoint}} {{version}} predictions estimated",
            format!("tidegate_estimated_accuracy_rows{{{job}}}"),
        ),
        Panel::lines("Drift", "short", "Columns that drifted in the last window, and windows in which one did.")
            .query(
                "{{model}} {{version}} columns",
                format!("max by (model, version) (tidegate_drifted_columns{{{job}}})"),
            )
            .query(
                "{{model}} {{version}} windows",
                format!(
                    "sum by (model, version) \
                     (increase(tidegate_drift_windows_total{{{job},drifted=\"true\"}}[1d]))"
                ),
            ),
    ]
}

fn gpus(job: &str) -> Vec<Panel> {
    const DEVICE: &str = "{{instance}} {{gpu}} {{name}}";
    vec![
        Panel::lines(
            "GPUs in use",
            "percentunit",
            "Share of recent time in which each GPU was busy.",
        )
        .query(DEVICE, format!("tidegate_gpu_utilization_ratio{{{job}}}")),
        Panel::lines(
            "GPU memory",
            "bytes",
            "Memory in use by all processes, and the total.",
        )
        .query(DEVICE, format!("tidegate_gpu_memory_used_bytes{{{job}}}"))
        .query(
            "{{instance}} {{gpu}} size",
            format!("tidegate_gpu_memory_size_bytes{{{job}}}"),
        ),
        Panel::lines("GPU power", "watt", "What each draws.")
            .query(DEVICE, format!("tidegate_gpu_power_watts{{{job}}}")),
        Panel::lines("GPU temperature", "celsius", "Of the chip.")
            .query(DEVICE, format!("tidegate_gpu_temperature_celsius{{{job}}}")),
    ]
}

/// The mean of a counter of microseconds over the answered requests.
fn mean(counter: &str, model: &str) -> String {
    let time = rate(counter, model);
    let answered = rate("nv_inference_request_success", model);
    format!("{time} / {answered}")
}

fn rate(counter: &str, model: &str) -> String {
    format!("sum by (model) (rate({counter}{{{model}}}[$__rate_interval]))")
}
