//! A report as one self-contained page: nothing is loaded from elsewhere, and nothing runs.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::plot::{Axis, Line, Plot, Scale};
use super::text::{COLUMNS, remarks, row, time};
use super::{Report, Run};

/// The colours of lines are taken from a palette that people with any colour vision can tell apart
/// (Okabe and Ito, "Color Universal Design", 2008), brightened where the ground is dark.
const STYLE: &str = "
:root { color-scheme: light dark; --ground: #fff; --text: #1b1f24; --soft: #59636e; --grid: #d9dee3;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; --c4: #b8860b; --c5: #56b4e9; --c6: #7a5195; --c7: #444; }
@media (prefers-color-scheme: dark) { :root { --ground: #14181d; --text: #e6e9ec; --soft: #9aa5b1; --grid: #2e353d;
  --c0: #58a6e0; --c1: #ff9455; --c2: #3ccfa0; --c3: #f0a5cf; --c4: #e5c04b; --c5: #8fd3ff; --c6: #b897d8; --c7: #bbb; } }
body { background: var(--ground); color: var(--text); font: 15px/1.5 system-ui, sans-serif; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--grid); }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; font-size: .8rem; color: var(--soft); }
figure { margin: 1.5rem 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; }
.grid { stroke: var(--grid); } .mark, .label { fill: var(--soft); font-size: 12px; }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
.legend span { margin-right: 1.2rem; } .legend span::before { content: ''; display: inline-block; width: 1em; height: .2em;
  margin-right: .4em; vertical-align: middle; background: currentColor; }
.soft { color: var(--soft); } .broken { color: var(--c1); font-weight: 600; } pre { white-space: pre-wrap; }
";

pub(super) fn render(report: &Report) -> String {
    let title = format!("{} at {}", report.protocol.name(), report.target);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "tidegate load: " (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(colours())) }
            }
            body {
                h1 { (title) }
                p.soft { (report.what) ". " (setting(report)) }
                (verdict(report))
                (table(&report.runs))
                (notes(report))
                (plots(&report.runs))
                p.soft { "Latency starts when a request was scheduled to be sent. tidegate " (report.version) }
            }
        }
    };
    page.into_string()
}

fn colours() -> String {
    (0..super::plot::COLOURS)
        .map(|at| {
            format!(
                "polyline.c{at}{{stroke:var(--c{at})}}circle.c{at}{{fill:var(--c{at})}}.legend .c{at}{{color:var(--c{at})}}"
            )
        })
        .collect()
}

fn setting(report: &Report) -> String {
    let deadline = report.deadline_s.map_or(String::new(), |seconds| {
        format!(", deadline {}", time(seconds * 1e6))
    });
    let threads = if report.threads == 1 {
        "thread"
    } else {
        "threads"
    };
    format!(
        "{} {threads}, timeout {}{deadline}, seed {}",
        report.threads,
        time(report.timeout_s * 1e6),
        report.seed
    )
}

fn verdict(report: &Report) -> Markup {
    html! {
        @if let Some(rate) = report.highest_per_s {
            p { "The highest rate that meets " (report.objectives.join(", ")) " is " strong { (format!("{rate:.1}")) } "/s." }
        }
        @for breach in &report.breaches {
            p.broken { (breach) }
        }
        @if report.breaches.is_empty() && !report.objectives.is_empty() && !report.is_search {
            p { "Every run meets " (report.objectives.join(", ")) "." }
        }
    }
}

fn table(runs: &[Run]) -> Markup {
    html! {
        div.wide {
            table {
                thead { tr { @for column in COLUMNS { th { (column) } } } }
                tbody { @for run in runs { tr { @for cell in row(run) { td { (cell) } } } } }
            }
        }
    }
}

fn notes(report: &Report) -> Markup {
    let mut text = String::new();
    report
        .runs
        .iter()
        .for_each(|run| remarks(&mut text, report, run));
    html! { @if !text.is_empty() { pre { (text) } } }
}

fn plots(runs: &[Run]) -> Markup {
    html! {
        @if runs.len() > 1 {
            (throughput(runs).render())
        }
        (percentiles(runs).render())
        @for run in runs {
            h2 { (run.label) }
            (over_time(run).render())
            (rate_over_time(run).render())
        }
    }
}

fn throughput(runs: &[Run]) -> Plot {
    Plot {
        title: "Throughput and latency",
        x: Axis {
            label: "answers per second",
            scale: Scale::Linear,
        },
        y: Axis {
            label: "latency (ms)",
            scale: Scale::Linear,
        },
        lines: vec![
            throughput_line(runs, "p50", |latency| latency.p50),
            throughput_line(runs, "p90", |latency| latency.p90),
            throughput_line(runs, "p99", |latency| latency.p99),
        ],
    }
}

fn percentiles(runs: &[Run]) -> Plot {
    Plot {
        title: "Latency by percentile",
        x: Axis {
            label: "share of answers",
            scale: Scale::Tail,
        },
        y: Axis {
            label: "latency (ms)",
            scale: Scale::Linear,
        },
        lines: runs.iter().map(percentile_line).collect(),
    }
}

fn over_time(run: &Run) -> Plot {
    Plot {
        title: "Latency over time, by when answers arrived",
        x: Axis {
            label: "seconds",
            scale: Scale::Linear,
        },
        y: Axis {
            label: "latency (ms)",
            scale: Scale::Linear,
        },
        lines: vec![
            latency_line(run, "p50", |point| point.p50_us),
            latency_line(run, "p99", |point| point.p99_us),
            latency_line(run, "max", |point| point.max_us),
        ],
    }
}

fn rate_over_time(run: &Run) -> Plot {
    Plot {
        title: "Answers over time",
        x: Axis {
            label: "seconds",
            scale: Scale::Linear,
        },
        y: Axis {
            label: "per second",
            scale: Scale::Linear,
        },
        lines: vec![
            timeline(run, "answers", |point| point.answers_per_s),
            timeline(run, "refusals and errors", |point| point.failures_per_s),
            timeline(run, "in flight", |point| point.in_flight as f64),
        ],
    }
}

/// In the order of the runs: beyond its limit, a server's curve bends back.
fn throughput_line(runs: &[Run], name: &str, of: fn(&super::Latency) -> f64) -> Line {
    let points = runs
        .iter()
        .filter_map(|run| {
            let latency = run.latency_us.as_ref()?;
            Some((run.throughput_per_s, of(latency) / 1e3))
        })
        .collect();
    Line {
        name: name.to_owned(),
        points,
        has_dots: true,
    }
}

fn percentile_line(run: &Run) -> Line {
    // The last point is the maximum, which has no number of nines.
    let below = run.quantiles.iter().filter(|point| point.share < 1.0);
    let points = below
        .map(|point| (point.share, point.at_most_us / 1e3))
        .collect();
    Line {
        name: run.label.clone(),
        points,
        has_dots: false,
    }
}

/// Intervals without an answer have no latency, and no point.
fn latency_line(run: &Run, name: &str, of: fn(&super::Point) -> Option<f64>) -> Line {
    let points = run
        .timeline
        .iter()
        .filter_map(|point| of(point).map(|us| (point.at_s, us / 1e3)))
        .collect();
    Line {
        name: name.to_owned(),
        points,
        has_dots: false,
    }
}

fn timeline(run: &Run, name: &str, of: fn(&super::Point) -> f64) -> Line {
    let points = run
        .timeline
        .iter()
        .map(|point| (point.at_s, of(point)))
        .collect();
    Line {
        name: name.to_owned(),
        points,
        has_dots: false,
    }
}

#[cfg(test)]
mod tests {
    use crate::report::tests::report_of;

    #[test]
    fn the_page_stands_alone_and_names_are_escaped() {
        let mut report = report_of(vec![(vec![1000, 2000, 3000], 1), (vec![5000, 9000], 0)]);
        report.what = "<script>alert(1)</script>".to_owned();
        let page = report.to_html();
        assert!(
            page.contains("&lt;script&gt;") && !page.contains("<script"),
            "{page}"
        );
        for elsewhere in ["src=", "href=", "@import", "url("] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
        // Throughput, percentiles, and two for each run.
        assert_eq!(page.matches("<svg").count(), 6);
        assert!(page.contains("prefers-color-scheme: dark"));
        assert!(!page.contains("NaN") && !page.contains("inf,"), "{page}");
    }
}
