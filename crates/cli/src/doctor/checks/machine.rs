//! Whether the machine, or its control group, has what the server needs: memory, processors, files.

use super::or_well;
use crate::doctor::exam::{Exam, bytes};
use crate::doctor::finding::{Finding, Severity};

const CHECK: &str = "machine";
/// Below this share of the memory that the process may use soon the system ends it.
const LITTLE_MEMORY: f64 = 0.1;
const NO_MEMORY: f64 = 0.03;
const MANY_FILES: f64 = 0.8;
const ALL_FILES: f64 = 0.95;
/// The share of time for which a control group may be kept from the processors before requests feel
/// it.
const THROTTLED: f64 = 0.05;

pub(super) fn check(exam: &Exam) -> Vec<Finding> {
    let parts: [fn(&Exam) -> Option<Finding>; 5] = [memory, kills, charged, throttled, files];
    let findings = parts.iter().filter_map(|part| part(exam)).collect();
    or_well(findings, CHECK, || well(exam))
}

fn well(exam: &Exam) -> String {
    let figures = exam.figures();
    let resident = figures
        .value("process_resident_memory_bytes")
        .unwrap_or(0.0);
    let processors = exam.growth("tidegate_process_cpu_seconds_total", &[]) / exam.watch_s;
    let left = figures.value("tidegate_memory_available_bytes");
    let left = left.map_or_else(String::new, |left| format!(", {} are left", bytes(left)));
    format!(
        "{processors:.2} processors in use, {} of memory{left}",
        bytes(resident)
    )
}

fn memory(exam: &Exam) -> Option<Finding> {
    let limit = exam
        .figures()
        .value("tidegate_memory_limit_bytes")
        .filter(|limit| *limit > 0.0)?;
    let left = exam.figures().value("tidegate_memory_available_bytes")?;
    let severity = match left / limit {
        ..NO_MEMORY => Severity::Critical,
        ..LITTLE_MEMORY => Severity::Warning,
        _ => return None,
    };
    let resident = exam
        .figures()
        .value("process_resident_memory_bytes")
        .unwrap_or(0.0);
    let what = format!(
        "{} of {} memory are left, the server holds {}",
        bytes(left),
        bytes(limit),
        bytes(resident)
    );
    Some(
        Finding::new(severity, CHECK, what)
            .next(exam.command("models"))
            .runbook("memory"),
    )
}

fn kills(exam: &Exam) -> Option<Finding> {
    let name = "tidegate_cgroup_oom_kills_total";
    let kills = exam.figures().value(name).filter(|kills| *kills > 0.0)?;
    let severity = if exam.growth(name, &[]) > 0.0 {
        Severity::Critical
    } else {
        Severity::Warning
    };
    let what =
        format!("{kills} processes of the server's control group were killed for want of memory");
    Some(
        Finding::new(severity, CHECK, what)
            .next(exam.command("models"))
            .runbook("memory"),
    )
}

/// Versions of the registry that take what they may take together.
fn charged(exam: &Exam) -> Option<Finding> {
    let figures = exam.figures();
    let budget = figures
        .value("tidegate_memory_budget_bytes")
        .filter(|budget| *budget > 0.0)?;
    let charged = figures
        .value("tidegate_memory_charged_bytes")
        .filter(|charged| charged / budget > 0.9)?;
    let evictions = figures.value("tidegate_evictions_total").unwrap_or(0.0);
    let what = format!(
        "versions of the registry take {} of {}; {evictions} were evicted to make room",
        bytes(charged),
        bytes(budget)
    );
    Some(
        Finding::new(Severity::Notice, CHECK, what)
            .next(exam.command("models"))
            .runbook("cold-starts"),
    )
}

fn throttled(exam: &Exam) -> Option<Finding> {
    let share = exam.growth("tidegate_cgroup_cpu_throttled_seconds_total", &[]) / exam.watch_s;
    let what = format!(
        "its quota kept the server from the processors for {:.0}% of the last {} s",
        100.0 * share,
        exam.watch_s
    );
    (share > THROTTLED).then(|| {
        Finding::new(Severity::Warning, CHECK, what)
            .next("cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu.stat")
            .runbook("noisy-neighbour")
    })
}

fn files(exam: &Exam) -> Option<Finding> {
    let most = exam
        .figures()
        .value("process_max_fds")
        .filter(|most| *most > 0.0)?;
    let open = exam.figures().value("process_open_fds")?;
    let severity = match open / most {
        ALL_FILES.. => Severity::Critical,
        MANY_FILES.. => Severity::Warning,
        _ => return None,
    };
    let what = format!("{open} of {most} files are open, each connection is one");
    let next = exam.curl("/metrics");
    Some(
        Finding::new(severity, CHECK, what)
            .next(next)
            .runbook("connections-refused"),
    )
}
