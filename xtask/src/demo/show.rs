//! The report, for a terminal.

use std::time::Duration;

use super::example::{Answer, Example};
use super::load::Run;

/// From empty to full.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];

/// Accuracy and speed of all examples.
pub(crate) fn table(runs: &[(Example, Run)]) {
    println!("Held-out rows, one REST request for each row, over 8 connections from this machine:");
    println!(
        "  {:<10} {:>6} {:>9} {:>9} {:>9} {:>9} {:>11}",
        "model", "rows", "accuracy", "p50", "p95", "p99", "requests/s"
    );
    for (example, run) in runs {
        println!(
            "  {:<10} {:>6} {:>8.1}% {:>9} {:>9} {:>9} {:>11.0}",
            example.name,
            example.rows.len(),
            100.0 * example.accuracy(&run.answers),
            milliseconds(run.percentile(0.50)),
            milliseconds(run.percentile(0.95)),
            milliseconds(run.percentile(0.99)),
            run.requests_per_second
        );
    }
    println!();
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// A few inputs with what was predicted.
pub(crate) fn samples(runs: &[(Example, Run)]) {
    for (example, run) in runs {
        match example.name.as_str() {
            "digits" => digits(example, &run.answers),
            "fraud" => transactions(example, &run.answers),
            _ => texts(example, &run.answers),
        }
        println!();
    }
}

/// The class with the highest probability, and that probability.
fn best(example: &Example, answer: &Answer) -> String {
    let most = answer
        .probabilities
        .iter()
        .copied()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(&b.1));
    most.map_or_else(String::new, |(at, probability)| {
        format!("{} ({:.1}%)", example.classes[at], 100.0 * probability)
    })
}

/// Three digits side by side, drawn two cells wide so that pixels look square.
fn digits(example: &Example, answers: &[Answer]) {
    let shown = [0, 1, 2];
    for line in 0..8 {
        let drawn = shown.map(|row| {
            let pixels = &example.rows[row][line * 8..line * 8 + 8];
            pixels.iter().map(|pixel| shade(pixel)).collect::<String>()
        });
        println!("  {}", drawn.join("      "));
    }
    let captions = shown.map(|row| {
        let caption = format!(
            "→ {}, truly {}",
            best(example, &answers[row]),
            example.labels[row]
        );
        format!("{caption:<22}")
    });
    println!("  {}", captions.join(""));
}

/// A pixel between 0 and 16, two characters wide.
fn shade(pixel: &str) -> String {
    let ink = pixel.parse::<f32>().unwrap_or(0.0) / 16.0;
    let shade = SHADES[(ink * 4.0).round().clamp(0.0, 4.0) as usize];
    shade.to_string().repeat(2)
}

/// The most suspicious transaction, one at the edge, and an ordinary one.
fn transactions(example: &Example, answers: &[Answer]) {
    let mut order: Vec<usize> = (0..answers.len()).collect();
    order.sort_by(|a, b| answers[*b].probabilities[1].total_cmp(&answers[*a].probabilities[1]));
    for row in [order[0], order[order.len() / 50], order[order.len() / 2]] {
        let cells = &example.rows[row];
        let truth = if example.labels[row] == "1" {
            "fraud"
        } else {
            "legitimate"
        };
        println!(
            "  {:>10} at {:>2} h, merchant risk {:<7} → fraud {:>5.1}%, truly {truth}",
            cells[column(example, "amount")],
            cells[column(example, "hour")],
            cells[column(example, "merchant_risk")],
            100.0 * answers[row].probabilities[1],
        );
    }
}

fn column(example: &Example, name: &str) -> usize {
    let mut columns = example.columns.iter();
    columns.position(|column| column == name).unwrap_or(0)
}

fn texts(example: &Example, answers: &[Answer]) {
    let short: Vec<usize> = (0..answers.len())
        .filter(|row| (18..46).contains(&example.rows[*row][0].chars().count()))
        .collect();
    for row in short.into_iter().step_by(7).take(3) {
        let text = &example.rows[row][0];
        let padding = " ".repeat(46usize.saturating_sub(text.chars().count()));
        println!(
            "  {text}{padding} → {}, truly {}",
            best(example, &answers[row]),
            example.labels[row]
        );
    }
}

/// The command to try next.
pub(crate) fn try_next(http: &str, runs: &[(Example, Run)]) {
    let text = r#"{"inputs":[{"name":"text","datatype":"BYTES","shape":[1,1],"data":["Wie spät ist es?"]}]}"#;
    let served = runs
        .iter()
        .find(|(example, _)| example.name == "language")
        .or_else(|| runs.first());
    let Some((example, _)) = served else { return };
    let body = if example.name == "language" {
        text.to_owned()
    } else {
        example.request(0).to_string()
    };
    println!(
        "Try it yourself:\n  curl -s {http}/v2/models/{}/infer -d '{body}'\n",
        example.name
    );
    println!("A record or a sentence in, a decision out:");
    for (example, _) in runs {
        if let Some(record) = record(example) {
            let path = format!("{http}/v1/endpoints/{}/predict", example.name);
            println!("  curl -s {path} -d '{{\"instances\":[{record}]}}'");
        }
    }
    println!();
}

/// An example as the pipeline of its model takes it, where it has one.
fn record(example: &Example) -> Option<String> {
    match example.name.as_str() {
        "fraud" => Some(transaction(example)),
        "language" => Some(r#"{"text":"Wie spät ist es?"}"#.to_owned()),
        _ => None,
    }
}

/// The first transaction. What the pipeline makes itself is left out.
fn transaction(example: &Example) -> String {
    const MADE: [&str; 2] = ["amount_to_mean", "amount_to_limit"];
    const BOOLEANS: [&str; 5] = [
        "is_foreign",
        "is_online",
        "chip_present",
        "device_new",
        "billing_matches_shipping",
    ];
    let mut members = Vec::with_capacity(example.columns.len());
    for (name, cell) in example.columns.iter().zip(&example.rows[0]) {
        if MADE.contains(&name.as_str()) {
            continue;
        }
        let value = match cell.as_str() {
            "0" if BOOLEANS.contains(&name.as_str()) => "false",
            "1" if BOOLEANS.contains(&name.as_str()) => "true",
            cell => cell,
        };
        members.push(format!("\"{name}\":{value}"));
    }
    format!("{{{}}}", members.join(","))
}
