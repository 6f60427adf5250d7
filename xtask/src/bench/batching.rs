//! Batching as it is by default beside the best fixed setting, from one client to many.

use std::path::Path;

use anyhow::{Context, Result};

use super::Effort;
use super::bundle;
use super::load::{Clients, Length, Outcome};
use super::report::Section;
use super::rounds::{in_turn, middle, ratio};
use crate::server::Server;
use crate::{root, setup, target};

const CLIENTS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const BATCH_SIZES: [usize; 4] = [1, 4, 16, 64];
const DELAYS_US: [u64; 3] = [0, 1000, 5000];
/// Each point takes this share of the seconds that other figures take, for there are hundreds, ...
const SHARE: f64 = 0.25;
/// ... but long enough for every client to be answered so often.
const ANSWERS_PER_CLIENT: f64 = 4.0;
/// Settings whose throughput is so near to the highest count as equal to it: the lowest p99
/// decides.
const EQUAL: f64 = 0.98;

/// A fixed setting of `[batching]`.
#[derive(Clone, Copy)]
struct Setting {
    max_batch_size: usize,
    max_queue_delay_us: u64,
}

/// Sweeps the fixed settings at every number of clients, and measures the best beside the default.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Batching",
        &[
            "model",
            "clients",
            "default requests/s",
            "its p99 µs",
            "best fixed setting",
            "its requests/s",
            "its p99 µs",
            "default's rate to it",
            "default's p99 to it",
        ],
    );
    let made = setup::bench_models()?;
    for (model, source) in [
        ("digits", root().join("examples/models/digits")),
        ("medium", made.join("medium")),
        ("slow", made.join("slow")),
    ] {
        let folder =
            std::env::temp_dir().join(format!("tidegate-bench-batching-{}", std::process::id()));
        let outcome = curve(model, &source, &folder, effort, &mut section);
        let _ = std::fs::remove_dir_all(&folder);
        outcome?;
    }
    Ok(section)
}

/// All numbers of clients for one model; every setting is a copy of it in the same server.
fn curve(
    model: &str,
    source: &Path,
    folder: &Path,
    effort: Effort,
    section: &mut Section,
) -> Result<()> {
    let bundles = folder.join("models");
    bundle::copy(source, &bundles, "default", "")?;
    for setting in settings(usize::MAX) {
        bundle::copy(source, &bundles, &setting.name(), &setting.manifest())?;
    }
    let server = Server::start(
        &target().join("release/tidegate"),
        &bundles,
        &folder.join("data"),
    )?;
    let mut point = Point {
        server: &server,
        clients: 1,
        expected: f64::INFINITY,
        seconds: effort.seconds,
    };
    point.expected = point.measure("default")?.requests_per_second;
    for clients in CLIENTS {
        point.clients = clients;
        let best = point.best(&settings(clients))?;
        let names = ["default".to_owned(), best.name()];
        let rounds = in_turn(names.len(), effort.rounds, |at| point.measure(&names[at]))?;
        let (own, fixed) = (&rounds[0], &rounds[1]);
        let (rate, p99) = (
            |outcome: &Outcome| outcome.requests_per_second,
            |outcome: &Outcome| outcome.p99_us,
        );
        point.expected = middle(own, rate);
        section.row(vec![
            model.into(),
            clients.into(),
            middle(own, rate).round().into(),
            middle(own, p99).round().into(),
            best.name().into(),
            middle(fixed, rate).round().into(),
            middle(fixed, p99).round().into(),
            ratio(own, fixed, rate).into(),
            ratio(own, fixed, p99).into(),
        ]);
    }
    server.stop()
}

/// The settings that differ for so many clients: batches larger than the first size that takes them
/// all do not fill, and a batch of one waits for nobody.
fn settings(clients: usize) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut next_smaller = 0;
    for max_batch_size in BATCH_SIZES {
        if next_smaller >= clients {
            break;
        }
        next_smaller = max_batch_size;
        for max_queue_delay_us in DELAYS_US {
            if max_batch_size > 1 || max_queue_delay_us == 0 {
                settings.push(Setting {
                    max_batch_size,
                    max_queue_delay_us,
                });
            }
        }
    }
    settings
}

impl Setting {
    fn name(self) -> String {
        format!(
            "size-{}-delay-{}",
            self.max_batch_size, self.max_queue_delay_us
        )
    }

    fn manifest(self) -> String {
        let Self {
            max_batch_size,
            max_queue_delay_us,
        } = self;
        format!(
            "[batching]\nmax_batch_size = {max_batch_size}\nmax_queue_delay_us = {max_queue_delay_us}\n"
        )
    }
}

/// A number of clients at a server.
struct Point<'a> {
    server: &'a Server,
    clients: usize,
    /// Requests per second, from what was measured last: it tells how long to measure.
    expected: f64,
    seconds: u64,
}

impl Point<'_> {
    fn measure(&self, model: &str) -> Result<Outcome> {
        let answered_once = self.clients as f64 / self.expected;
        let measured = (self.seconds as f64 * SHARE).max(ANSWERS_PER_CLIENT * answered_once);
        let warm_up = (measured / 5.0).max(answered_once);
        let length = Length::Milliseconds {
            warm_up: (warm_up * 1e3) as u64,
            measured: (measured * 1e3) as u64,
        };
        Clients {
            model,
            protocol: "rest-binary",
            rows: 1,
            clients: self.clients,
        }
        .ask(self.server, &length)
    }

    /// The setting with the highest throughput; of those near to it, the one with the lowest p99.
    fn best(&self, settings: &[Setting]) -> Result<Setting> {
        let outcomes: Vec<(Setting, Outcome)> = settings
            .iter()
            .map(|setting| Ok((*setting, self.measure(&setting.name())?)))
            .collect::<Result<_>>()?;
        let highest = outcomes
            .iter()
            .map(|(_, outcome)| outcome.requests_per_second)
            .fold(0.0, f64::max);
        let near = outcomes
            .iter()
            .filter(|(_, outcome)| outcome.requests_per_second >= EQUAL * highest);
        let best = near.min_by(|a, b| a.1.p99_us.total_cmp(&b.1.p99_us));
        best.map(|(setting, _)| *setting)
            .context("there is no setting to compare")
    }
}
