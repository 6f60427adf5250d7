//! The plots of `docs/benchmarks.md`, drawn from what was recorded under `bench/results`.

mod bars;
mod lines;
mod results;
mod svg;

use std::path::Path;

use anyhow::{Context, Result};

use self::bars::{Bar, Bars};
use self::lines::{Axis, Line, Lines};
use self::results::Results;

/// A plot, by the name of its file.
type Plot = (&'static str, fn(&Path) -> Result<String>);

const PLOTS: [Plot; 5] = [
    ("http.svg", http),
    ("peers.svg", peers),
    ("throughput.svg", throughput),
    ("latency.svg", latency),
    ("overload.svg", overload),
];

/// Draws all plots into `docs/benchmarks`.
pub(super) fn draw(root: &Path) -> Result<()> {
    let folder = root.join("docs/benchmarks");
    std::fs::create_dir_all(&folder)?;
    for (name, plot) in PLOTS {
        std::fs::write(
            folder.join(name),
            plot(root).with_context(|| format!("{name} cannot be drawn"))?,
        )?;
    }
    Ok(())
}

/// Requests per second of the contestants, under each load.
fn http(root: &Path) -> Result<String> {
    let results = Results::read(root, "http")?;
    let mut bars = Vec::new();
    for row in &results.rows {
        let connections = results.number(row, "connections")?;
        let plural = if connections > 1.0 { "s" } else { "" };
        let group = format!(
            "{}, {connections} connection{plural}",
            results.text(row, "load")?
        );
        bars.push(Bar {
            group,
            series: results.text(row, "server")?.to_owned(),
            value: results.number(row, "requests/s")?,
        });
    }
    Ok(Bars {
        title: "REST: requests per second",
        series: &["tidegate", "echo", "naive"],
        bars,
    }
    .draw())
}

/// Requests per second of other model servers.
fn peers(root: &Path) -> Result<String> {
    let results = Results::read(root, "peers")?;
    let loads = results.distinct("load")?;
    let series: Vec<&str> = loads.iter().map(String::as_str).collect();
    let mut bars = Vec::new();
    for server in results.distinct("server")? {
        for row in results
            .rows
            .iter()
            .filter(|row| results.text(row, "server").is_ok_and(|name| name == server))
        {
            let load = results.text(row, "load")?.to_owned();
            bars.push(Bar {
                group: server.clone(),
                series: load,
                value: results.number(row, "requests/s")?,
            });
        }
    }
    Ok(Bars {
        title: "Peers, 16 connections: requests per second",
        series: &series,
        bars,
    }
    .draw())
}

/// Requests per second by the number of clients: the defaults beside the best fixed setting.
fn throughput(root: &Path) -> Result<String> {
    let y = Axis {
        label: "requests per second",
        is_log: true,
    };
    clients(
        root,
        "Throughput by clients",
        y,
        ["default requests/s", "its requests/s"],
        1.0,
    )
}

/// The 99th percentile of latency by the number of clients, in the same way.
fn latency(root: &Path) -> Result<String> {
    let y = Axis {
        label: "p99, ms",
        is_log: true,
    };
    clients(
        root,
        "Latency by clients",
        y,
        ["its p99 µs", "its p99 µs"],
        1e-3,
    )
}

/// Two columns of the batching table against the clients, for each model.
fn clients(
    root: &Path,
    title: &'static str,
    y: Axis,
    columns: [&str; 2],
    scale: f64,
) -> Result<String> {
    let results = Results::read(root, "batching")?;
    let mut lines = Vec::new();
    for (color, model) in results.distinct("model")?.into_iter().enumerate() {
        let [defaults, best] = results.places(columns)?;
        lines.push(Line {
            name: model.clone(),
            color,
            is_dashed: false,
            points: by_clients(&results, &model, defaults, scale)?,
        });
        lines.push(Line {
            name: format!("{model}, best fixed setting"),
            color,
            is_dashed: true,
            points: by_clients(&results, &model, best, scale)?,
        });
    }
    Ok(Lines {
        title,
        x: Axis {
            label: "clients",
            is_log: true,
        },
        y,
        lines,
    }
    .draw())
}

/// The clients and a column of the rows of one model.
fn by_clients(
    results: &Results,
    model: &str,
    column: usize,
    scale: f64,
) -> Result<Vec<(f64, f64)>> {
    let mut points = Vec::new();
    for row in &results.rows {
        if results.text(row, "model")? == model {
            let value = results.number_at(row, column)?;
            points.push((results.number(row, "clients")?, scale * value));
        }
    }
    Ok(points)
}

/// Answers in time by what is offered, both over the capacity.
fn overload(root: &Path) -> Result<String> {
    let results = Results::read(root, "overload")?;
    let mut lines = Vec::new();
    for (color, model) in results.distinct("model")?.into_iter().enumerate() {
        let rows = results
            .rows
            .iter()
            .filter(|row| results.text(row, "model").is_ok_and(|name| name == model));
        let points = rows.map(|row| {
            Ok((
                results.number(row, "offered")?,
                results.number(row, "in time")?,
            ))
        });
        lines.push(Line {
            name: model.clone(),
            color,
            is_dashed: false,
            points: points.collect::<Result<_>>()?,
        });
    }
    let offered: Vec<f64> = lines
        .iter()
        .flat_map(|line| line.points.iter().map(|point| point.0))
        .collect();
    let goal = offered.iter().map(|offered| (*offered, offered.min(0.95)));
    let mut goal: Vec<(f64, f64)> = goal.collect();
    goal.sort_by(|one, other| one.0.total_cmp(&other.0));
    goal.dedup();
    lines.push(Line {
        name: "the goal".to_owned(),
        color: lines.len(),
        is_dashed: true,
        points: goal,
    });
    Ok(Lines {
        title: "Overload: answers within their deadline",
        x: Axis {
            label: "offered, of the capacity",
            is_log: false,
        },
        y: Axis {
            label: "answered in time, of the capacity",
            is_log: false,
        },
        lines,
    }
    .draw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plots_are_those_of_the_recorded_results() {
        let root = crate::root();
        let page = std::fs::read_to_string(root.join("docs/benchmarks.md")).unwrap();
        for (name, plot) in PLOTS {
            let drawn = std::fs::read_to_string(root.join("docs/benchmarks").join(name)).unwrap();
            assert!(
                drawn == plot(&root).unwrap(),
                "{name} is not what `cargo xtask bench --plots` draws"
            );
            assert!(
                page.contains(&format!("(benchmarks/{name})")),
                "docs/benchmarks.md does not show {name}"
            );
        }
    }
}
