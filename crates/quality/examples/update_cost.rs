//! What counting a value costs: `cargo run --release -p tidegate-quality --example update_cost`.

use std::hint::black_box;
use std::time::Instant;

use tidegate_quality::profile::{Bins, Kind, Profile, Survey, Value};

const VALUES: usize = 100_000;
const ROUNDS: usize = 30;

fn main() {
    let mut rng = fastrand::Rng::with_seed(1);
    let numbers: Vec<f64> = (0..VALUES).map(|_| (3.0 * rng.f64()).exp()).collect();
    let labels: Vec<f64> = (0..VALUES).map(|_| f64::from(rng.u32(0..50))).collect();
    let countries: Vec<String> = (0..VALUES)
        .map(|_| format!("country-{}", rng.u32(0..200)))
        .collect();
    let ids: Vec<String> = (0..VALUES)
        .map(|_| format!("customer-{}", rng.u32(..)))
        .collect();

    let numbers: Vec<Value<'_>> = numbers
        .iter()
        .map(|&number| Value::Number(number))
        .collect();
    let labels: Vec<Value<'_>> = labels.iter().map(|&label| Value::Number(label)).collect();
    let countries: Vec<Value<'_>> = countries.iter().map(|text| Value::Text(text)).collect();
    let ids: Vec<Value<'_>> = ids.iter().map(|text| Value::Text(text)).collect();
    measure("numbers, 20 bins", Kind::Number, &numbers);
    measure(
        "labels that are numbers, 50 categories",
        Kind::Category,
        &labels,
    );
    measure("texts, 200 categories", Kind::Category, &countries);
    measure("texts, all different", Kind::Category, &ids);
}

/// The fastest of some rounds, in nanoseconds a value.
fn measure(name: &str, kind: Kind, values: &[Value<'_>]) {
    let mut survey = Survey::new(kind);
    let surveyed = nanoseconds(values, |value| survey.add(value));
    let bins: Bins = survey.bins();
    let mut profile = Profile::new(&bins);
    let counted = nanoseconds(values, |value| profile.add(&bins, value));
    black_box((&survey, &profile));
    println!(
        "{name}: {counted:.1} ns to count, {surveyed:.1} ns to survey, {} bins",
        bins.len()
    );
}

fn nanoseconds(values: &[Value<'_>], mut add: impl FnMut(Value<'_>)) -> f64 {
    let mut fastest = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        values.iter().for_each(|&value| add(black_box(value)));
        fastest = fastest.min(start.elapsed().as_nanos() as f64 / values.len() as f64);
    }
    fastest
}
