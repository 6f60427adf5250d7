//! Whether the server runs out of memory, processor time or open files.

use super::or_healthy;
use crate::commands::doctor::context::{CheckContext, bytes};
use crate::commands::doctor::finding::{Finding, Severity};

const CHECK: &str = "machine";
/// Shares of the memory limit that are free. Without any, the system kills the process.
const LOW_MEMORY: f64 = 0.1;
const CRITICAL_MEMORY: f64 = 0.03;
/// Shares of the limit of open files that are used.
const MANY_FILES: f64 = 0.8;
const ALL_FILES: f64 = 0.95;
/// The share of time that a CPU quota may throttle the server before requests become slower.
const THROTTLED: f64 = 0.05;
/// The share of the processors above which nothing is left for a moment with more requests.
const SATURATED: f64 = 0.9;

pub(super) fn check(context: &CheckContext) -> Vec<Finding> {
    let parts: [fn(&CheckContext) -> Option<Finding>; 6] =
        [memory, kills, charged, saturated, throttled, files];
    let findings = parts.iter().filter_map(|part| part(context)).collect();
    or_healthy(findings, CHECK, || usage(context))
}

fn usage(context: &CheckContext) -> String {
    let metrics = context.metrics();
    let resident = metrics
        .value("process_resident_memory_bytes")
        .unwrap_or(0.0);
    let (processors, count) = processors(context);
    let of = count.map_or_else(String::new, |count| format!(" of {count}"));
    let left = metrics.value("tidegate_memory_available_bytes");
    let left = left.map_or_else(String::new, |left| format!(", {} free", bytes(left)));
    format!(
        "{processors:.2}{of} processors in use, {} of memory{left}",
        bytes(resident)
    )
}

/// How many processors the server keeps busy, and how many it may use, if it tells.
fn processors(context: &CheckContext) -> (f64, Option<f64>) {
    let used = context.increase("tidegate_process_cpu_seconds_total", &[]) / context.watch_s;
    let count = context.metrics().value("tidegate_process_cpus");
    (used, count.filter(|count| *count > 0.0))
}

fn saturated(context: &CheckContext) -> Option<Finding> {
    let (used, count) = processors(context);
    let count = count.filter(|count| used / count > SATURATED)?;
    let what = format!("{used:.2} of {count} processors in use: saturated, requests wait for them");
    Some(
        Finding::new(Severity::Warning, CHECK, what)
            .next(context.command("top"))
            .runbook("overload"),
    )
}

fn memory(context: &CheckContext) -> Option<Finding> {
    let limit = context
        .metrics()
        .value("tidegate_memory_limit_bytes")
        .filter(|limit| *limit > 0.0)?;
    let left = context.metrics().value("tidegate_memory_available_bytes")?;
    let severity = match left / limit {
        ..CRITICAL_MEMORY => Severity::Critical,
        ..LOW_MEMORY => Severity::Warning,
        _ => return None,
    };
    let resident = context
        .metrics()
        .value("process_resident_memory_bytes")
        .unwrap_or(0.0);
    let what = format!(
        "{} of {} memory are free, the server uses {}",
        bytes(left),
        bytes(limit),
        bytes(resident)
    );
    Some(
        Finding::new(severity, CHECK, what)
            .next(context.command("models"))
            .runbook("memory"),
    )
}

fn kills(context: &CheckContext) -> Option<Finding> {
    let name = "tidegate_cgroup_oom_kills_total";
    let kills = context.metrics().value(name).filter(|kills| *kills > 0.0)?;
    // A kill while this command watched goes on now; an older one may be long over.
    let severity = if context.increase(name, &[]) > 0.0 {
        Severity::Critical
    } else {
        Severity::Warning
    };
    let what =
        format!("the system killed processes of the server's cgroup for lack of memory: {kills}");
    Some(
        Finding::new(severity, CHECK, what)
            .next(context.command("models"))
            .runbook("memory"),
    )
}

/// Versions of the registry that use up the memory budget.
fn charged(context: &CheckContext) -> Option<Finding> {
    let metrics = context.metrics();
    let budget = metrics
        .value("tidegate_memory_budget_bytes")
        .filter(|budget| *budget > 0.0)?;
    let charged = metrics
        .value("tidegate_memory_charged_bytes")
        // From here on, the next load is likely to evict a version.
        .filter(|charged| charged / budget > 0.9)?;
    let evictions = metrics.value("tidegate_evictions_total").unwrap_or(0.0);
    let what = format!(
        "versions of the registry use {} of a budget of {}; evictions so far: {evictions}",
        bytes(charged),
        bytes(budget)
    );
    Some(
        Finding::new(Severity::Notice, CHECK, what)
            .next(context.command("models"))
            .runbook("cold-starts"),
    )
}

fn throttled(context: &CheckContext) -> Option<Finding> {
    let share =
        context.increase("tidegate_cgroup_cpu_throttled_seconds_total", &[]) / context.watch_s;
    let what = format!(
        "the CPU quota throttled the server for {:.0}% of the last {} s",
        100.0 * share,
        context.watch_s
    );
    (share > THROTTLED).then(|| {
        Finding::new(Severity::Warning, CHECK, what)
            .next("cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu.stat")
            .runbook("noisy-neighbour")
    })
}

fn files(context: &CheckContext) -> Option<Finding> {
    let most = context
        .metrics()
        .value("process_max_fds")
        .filter(|most| *most > 0.0)?;
    let open = context.metrics().value("process_open_fds")?;
    let severity = match open / most {
        ALL_FILES.. => Severity::Critical,
        MANY_FILES.. => Severity::Warning,
        _ => return None,
    };
    let what = format!("{open} of {most} files are open; each connection uses one");
    let next = context.curl("/metrics");
    Some(
        Finding::new(severity, CHECK, what)
            .next(next)
            .runbook("connections-refused"),
    )
}
