//! From a command line to a plan.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tidegate_core::Signature;
use tidegate_load::{Arrivals, Mix, Pattern, Payload, Plan, Target};

use super::args::{self, Load, Of, Requests, Rhythm, Server};
use crate::table;

/// How long to measure where nothing else says it.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
const DEFAULT_CONCURRENCY: usize = 8;

/// The server, which must be there.
pub(super) fn target(server: &Server, is_raw: bool) -> Result<Target> {
    let protocol: tidegate_load::Protocol = server.protocol.into();
    if is_raw && protocol == tidegate_load::Protocol::Grpc {
        bail!("--path and --raw-body are for HTTP: leave out --protocol grpc");
    }
    let url = if protocol == tidegate_load::Protocol::Grpc {
        &server.grpc
    } else {
        &server.url
    };
    Ok(Target::new(protocol, url, &server.headers)?)
}

/// A model to ask, and rows to ask it if the user has some.
pub(super) struct Model {
    name: String,
    weight: f64,
    signature: Signature,
    table: Option<tidegate_load::Inputs>,
}

/// The models to ask, with what the server says of them.
pub(super) fn models(args: &Load, target: &Target) -> Result<Vec<Model>> {
    let Requests {
        inputs, samples, ..
    } = &args.requests;
    for of in inputs.iter().chain(samples) {
        if let Some(unknown) = of
            .model
            .as_ref()
            .filter(|model| args.models.iter().all(|it| it.model != **model))
        {
            bail!(
                "{}: model {unknown:?} is not among those to ask",
                of.path.display()
            );
        }
    }
    let model = |it: &args::Weighted| {
        let signature = target.signature(&it.model)?;
        let path = path_for(&it.model, inputs)
            .or(path_for(&it.model, samples).map(|folder| held_out(&folder)));
        let table = path
            .map(|path| table::read(&path, &signature))
            .transpose()?;
        Ok(Model {
            name: it.model.clone(),
            weight: it.weight,
            signature,
            table,
        })
    };
    args.models.iter().map(model).collect()
}

fn path_for(model: &str, paths: &[Of]) -> Option<PathBuf> {
    let own = paths.iter().find(|of| of.model.as_deref() == Some(model));
    own.or_else(|| paths.iter().find(|of| of.model.is_none()))
        .map(|of| of.path.clone())
}

fn held_out(folder: &Path) -> PathBuf {
    let inside = folder.join("heldout/inputs.csv");
    if inside.exists() {
        inside
    } else {
        folder.join("inputs.csv")
    }
}

/// One run, as the arguments say but for their sweep.
pub(super) fn plan(args: &Load, target: &Target, models: &[Model]) -> Result<Plan> {
    let pattern = pattern(&args.rhythm)?;
    let Rhythm {
        requests,
        warmup,
        max_outstanding,
        threads,
        ..
    } = args.rhythm;
    let is_bounded = requests.is_some() || matches!(pattern, Pattern::Open(Arrivals::Replay(_)));
    Ok(Plan {
        target: target.clone(),
        mix: mix(args, target, models, args.requests.rows)?,
        pattern,
        duration: args
            .rhythm
            .duration
            .or((!is_bounded).then_some(DEFAULT_DURATION)),
        requests,
        warmup,
        timeout: args.server.timeout,
        deadline: args.server.deadline,
        threads,
        connections: args.server.connections,
        max_outstanding,
        seed: args.requests.seed,
    })
}

fn pattern(rhythm: &Rhythm) -> Result<Pattern> {
    let arrival = rhythm.arrival.into();
    if let Some(path) = &rhythm.replay {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let arrivals = tidegate_load::replay(&text, rhythm.speed)
            .with_context(|| path.display().to_string())?;
        return Ok(Pattern::Open(arrivals));
    }
    if let Some(rate) = rhythm.rate {
        return Ok(Pattern::Open(Arrivals::Rates {
            rates: vec![rate],
            arrival,
        }));
    }
    if !rhythm.steps.is_empty() {
        if rhythm.requests.is_some() {
            bail!("--steps take --duration each: --requests does not go with them");
        }
        return Ok(Pattern::Open(Arrivals::Rates {
            rates: rhythm.steps.clone(),
            arrival,
        }));
    }
    Ok(Pattern::Closed {
        concurrency: rhythm.concurrency.unwrap_or(DEFAULT_CONCURRENCY),
    })
}

/// Every model's requests, rendered for the wire.
pub(super) fn mix(args: &Load, target: &Target, models: &[Model], rows: usize) -> Result<Mix> {
    let Requests {
        raw_body,
        path,
        open_extent,
        seed,
        ..
    } = &args.requests;
    if let Some(path) = path {
        let read = |file: &PathBuf| {
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
        };
        let body = raw_body.as_ref().map(read).transpose()?;
        return Ok(Mix::default().with(
            path,
            1.0,
            vec![Payload::raw(target, path, body.as_deref())],
        ));
    }
    let mut mix = Mix::default();
    for Model {
        name,
        weight,
        signature,
        table,
    } in models
    {
        let requests = match table {
            Some(table) => tidegate_load::cut(name, table, rows)?,
            None => tidegate_load::generate(name, signature, rows, *open_extent, *seed)?,
        };
        let payload = |inputs: &tidegate_load::Inputs| {
            Payload::infer(target, name, inputs, args.server.deadline)
        };
        mix = mix.with(name, *weight, requests.iter().map(payload).collect());
    }
    Ok(mix)
}
