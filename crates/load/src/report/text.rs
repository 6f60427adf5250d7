//! A report for a terminal.

use std::fmt::Write;

use super::{FailureCount, Report, Run};

/// What the table shows of each run.
pub(super) const COLUMNS: [&str; 12] = [
    "RUN", "ANSWERS", "PER S", "ROWS/S", "REFUSED", "ERRORS", "MEAN", "P50", "P90", "P99", "P99.9",
    "MAX",
];

pub(super) fn render(report: &Report) -> String {
    let mut out = format!(
        "{} at {}: {}\n\n",
        report.protocol.name(),
        report.target,
        report.what
    );
    table(&mut out, &report.runs);
    out.push('\n');
    for run in &report.runs {
        remarks(&mut out, report, run);
    }
    verdict(&mut out, report);
    out.trim_end().to_owned() + "\n"
}

fn verdict(out: &mut String, report: &Report) {
    if report.is_search {
        let objectives = report.objectives.join(", ");
        let _ = match report.highest_per_s {
            Some(rate) => writeln!(out, "highest rate that meets {objectives}: {rate:.1}/s"),
            None => writeln!(out, "no rate meets {objectives}"),
        };
        return;
    }
    for breach in &report.breaches {
        let _ = writeln!(out, "{breach}");
    }
}

fn table(out: &mut String, runs: &[Run]) {
    let mut rows: Vec<[String; 12]> = vec![COLUMNS.map(str::to_owned)];
    rows.extend(runs.iter().map(row));
    let mut widths = [0; COLUMNS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows {
        let _ = write!(out, "{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            let _ = write!(out, "  {cell:>width$}");
        }
        out.push('\n');
    }
}

pub(super) fn row(run: &Run) -> [String; 12] {
    let unsent = run
        .generator
        .as_ref()
        .map_or(0, |generator| generator.unsent);
    let latency = run.latency_us.as_ref();
    [
        run.label.clone(),
        run.answers.to_string(),
        format!("{:.1}", run.throughput_per_s),
        format!("{:.1}", run.rows_per_s),
        run.refusals.to_string(),
        // Requests that were never sent count as errors: no user got an answer to them.
        (run.errors + run.dropped + unsent).to_string(),
        cell(latency.map(|latency| latency.mean)),
        cell(latency.map(|latency| latency.p50)),
        cell(latency.map(|latency| latency.p90)),
        cell(latency.map(|latency| latency.p99)),
        cell(latency.map(|latency| latency.p999)),
        cell(latency.map(|latency| latency.max)),
    ]
}

fn cell(us: Option<f64>) -> String {
    us.map_or("-".to_owned(), time)
}

/// Notes on a run that are not in the table.
pub(super) fn remarks(out: &mut String, report: &Report, run: &Run) {
    let label = &run.label;
    if let (Some(goodput), Some(deadline)) = (run.goodput_per_s, report.deadline_s) {
        let _ = writeln!(
            out,
            "{label}: {goodput:.1} answers/s within {}",
            time(deadline * 1e6)
        );
    }
    // One model's answers are those of the run, which the table has.
    if run.models.len() > 1 {
        models(out, run);
    }
    for failed in &run.failures {
        failure(out, label, failed);
    }
    if let Some(refusals) = &run.refusal_latency_us {
        let (p50, p99) = (time(refusals.p50), time(refusals.p99));
        let _ = writeln!(out, "{label}: refusals took {p50} (p50), {p99} (p99)");
    }
    if run.dropped > 0 {
        let _ = writeln!(
            out,
            "{label}: {} requests were not sent because too many were in flight",
            run.dropped
        );
    }
    send_latency(out, run);
    generator(out, run);
    if let Some(reason) = &run.ended_early {
        let _ = writeln!(out, "{label}: ended early: {reason}");
    }
}

fn models(out: &mut String, run: &Run) {
    let models: Vec<String> = run
        .models
        .iter()
        .map(|model| format!("{} {}", model.model, model.answers))
        .collect();
    let (label, models) = (&run.label, models.join(", "));
    let _ = writeln!(out, "{label}: answers by model: {models}");
}

fn failure(out: &mut String, label: &str, failure: &FailureCount) {
    let status = failure
        .status
        .map_or(String::new(), |status| format!(" {status}"));
    let code = failure
        .code
        .as_ref()
        .map_or(String::new(), |code| format!(" {code}"));
    let kind = failure.kind.name();
    let _ = writeln!(
        out,
        "{label}: {} x {kind}{status}{code}: {}",
        failure.count, failure.message
    );
}

/// Both figures if they differ by more than noise.
fn send_latency(out: &mut String, run: &Run) {
    let (Some(sent), Some(latency)) = (&run.send_latency_us, &run.latency_us) else {
        return;
    };
    if latency.p99 <= sent.p99 * 1.1 {
        return;
    }
    let (label, p50, p99) = (&run.label, time(sent.p50), time(sent.p99));
    let _ = writeln!(
        out,
        "{label}: latency from the actual send time: {p50} (p50), {p99} (p99)"
    );
}

fn generator(out: &mut String, run: &Run) {
    let Some(generator) = run
        .generator
        .as_ref()
        .filter(|generator| generator.fell_behind)
    else {
        return;
    };
    let worst = time(
        generator
            .lateness_us
            .as_ref()
            .map_or(0.0, |lateness| lateness.max),
    );
    let (late, unsent) = (generator.late, generator.unsent);
    let _ = write!(
        out,
        "{}: the generator fell behind by up to {worst}: {late} requests were sent more than 1 ms late",
        run.label
    );
    let _ = match generator.is_saturated {
        true => {
            writeln!(
                out,
                ", {unsent} not at all: the rate was not reached; use more --threads, or a separate machine"
            )
        }
        false => writeln!(out, ", which is included in the latency"),
    };
}

/// Microseconds with three digits and a unit.
pub(crate) fn time(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 1000.0 => (us, "us"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    let decimals = if value < 10.0 {
        2
    } else {
        usize::from(value < 100.0)
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        assert_eq!(
            [0.5, 12.34, 999.0, 1234.0, 250_000.0, 12_340_000.0].map(time),
            [
                "0.50 us", "12.3 us", "999 us", "1.23 ms", "250 ms", "12.3 s"
            ]
        );
    }
}
