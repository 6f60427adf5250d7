//! Costs as one self-contained page: nothing is loaded from elsewhere, and nothing runs.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{CostResponse, table};

const STYLE: &str = "
:root { color-scheme: light dark; --ground: #fff; --text: #1b1f24; --soft: #59636e; --grid: #d9dee3; }
@media (prefers-color-scheme: dark) { :root { --ground: #14181d; --text: #e6e9ec; --soft: #9aa5b1; --grid: #2e353d; } }
body { background: var(--ground); color: var(--text); font: 15px/1.5 system-ui, sans-serif; max-width: 75rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; } .sum { font-size: 1.6rem; font-weight: 600; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--grid); }
th.label, td.label { text-align: left; } th { font-weight: 600; font-size: .8rem; color: var(--soft); }
tr.all td { font-weight: 600; border-top: 2px solid var(--grid); } .soft { color: var(--soft); }
";

pub(super) fn render(response: &CostResponse) -> String {
    let report = &response.report;
    let title = format!("Cost, {} to {}", report.from, report.to);
    let per_1000 = report.per_1000_predictions.map(table::significant);
    let labels = report.by.names().count();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "tidegate: " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                p.sum { (report.total) " " (report.currency) }
                @if let Some(per_1000) = per_1000 {
                    p { (report.predictions) " predictions, " (per_1000) " " (report.currency) " per 1,000" }
                }
                p.soft { (response.summary()) }
                (rows(&table::cells(report), labels, true))
                @if !response.budgets.is_empty() {
                    h2 { "Budgets" }
                    (rows(&table::budgets(&response.budgets), 4, false))
                }
                @for remark in response.remarks() { p.soft { (remark) } }
                p.soft { "tidegate " (env!("CARGO_PKG_VERSION")) }
            }
        }
    };
    page.into_string()
}

/// A table of a header and lines, the last of which may be their sum; the first columns are labels.
fn rows(cells: &[Vec<String>], labels: usize, has_sum: bool) -> Markup {
    let lines = cells.get(1..).unwrap_or_default();
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        @for (column, cell) in cells.iter().take(1).flatten().enumerate() {
                            th class=[(column < labels).then_some("label")] { (cell) }
                        }
                    }
                }
                tbody {
                    @for (at, line) in lines.iter().enumerate() {
                        tr class=[(has_sum && at + 1 == lines.len()).then_some("all")] {
                            @for (column, cell) in line.iter().enumerate() { td class=[(column < labels).then_some("label")] { (cell) } }
                        }
                    }
                }
            }
        }
    }
}
