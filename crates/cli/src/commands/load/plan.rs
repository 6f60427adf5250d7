//! From a command line to a plan.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tidegate_core::{DeclaredSignature, Signature};
use tidegate_load::{Arrivals, Inputs, Mix, Pattern, Payload, Plan, Protocol, Target};

use super::args::{Load, ModelPath, RateOptions, Requests, Server, Weighted};
use crate::client::{self, Access};
use crate::rows;

const DEFAULT_DURATION: Duration = Duration::from_secs(10);
const DEFAULT_CONCURRENCY: usize = 8;

/// The server; fails if it takes no connection.
pub(super) fn target(server: &Server, is_raw: bool) -> Result<Target> {
    let protocol: Protocol = server.protocol.into();
    let is_grpc = protocol == Protocol::Grpc;
    if is_raw && is_grpc {
        bail!("--path and --raw-body are for HTTP: leave out --protocol grpc");
    }
    let url = if is_grpc { &server.grpc } else { &server.url };
    Ok(Target::new(protocol, url, &headers(server, is_grpc)?)?)
}

/// The headers of the user, with the credentials for the server if they have none.
fn headers(server: &Server, is_grpc: bool) -> Result<Vec<(String, String)>> {
    let mut headers = server.headers.clone();
    if headers.iter().any(|(name, _)| is_credential(name)) {
        return Ok(headers);
    }
    // The address of gRPC is of no context: only a token for every server is sent there.
    let token = match is_grpc {
        true => client::environment_token(),
        false => Access::to(&server.url)?.token().map(str::to_owned),
    };
    if let Some(token) = token {
        headers.push(("authorization".to_owned(), format!("Bearer {token}")));
    }
    Ok(headers)
}

fn is_credential(name: &str) -> bool {
    let names = tidegate_gateway::Credentials::HEADERS;
    names
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_str()))
}

/// A model to send requests to.
pub(super) struct Model {
    name: String,
    weight: f64,
    signature: Signature,
    /// The user's rows; without any, inputs are generated.
    table: Option<Inputs>,
}

/// The models to send requests to, with the signatures that the server has for them.
pub(super) fn models(args: &Load, target: &Target) -> Result<Vec<Model>> {
    let Requests {
        inputs, samples, ..
    } = &args.requests;
    for path in inputs.iter().chain(samples) {
        check_model_of(path, &args.models)?;
    }
    args.models
        .iter()
        .map(|weighted| model(weighted, &args.requests, target))
        .collect()
}

fn check_model_of(path: &ModelPath, models: &[Weighted]) -> Result<()> {
    match &path.model {
        // Ignored, a misspelt name would lead to a run with random inputs.
        Some(name) if models.iter().all(|weighted| weighted.model != *name) => bail!(
            "{}: {name:?} is not one of the models to send requests to",
            path.path.display()
        ),
        _ => Ok(()),
    }
}

fn model(weighted: &Weighted, requests: &Requests, target: &Target) -> Result<Model> {
    let name = weighted.model.clone();
    let signature = target.signature(&name)?;
    let sample_file = path_for(&name, &requests.samples).map(sample_file);
    let file = path_for(&name, &requests.inputs)
        .map(Path::to_owned)
        .or(sample_file);
    let table = match file {
        Some(file) => Some(rows::read(
            &file,
            &signature,
            &DeclaredSignature::default(),
        )?),
        None => None,
    };
    Ok(Model {
        name,
        weight: weighted.weight,
        signature,
        table,
    })
}

/// The path that names this model, or else one that names none.
fn path_for<'a>(model: &str, paths: &'a [ModelPath]) -> Option<&'a Path> {
    let own = paths
        .iter()
        .find(|path| path.model.as_deref() == Some(model));
    own.or_else(|| paths.iter().find(|path| path.model.is_none()))
        .map(|path| path.path.as_path())
}

fn sample_file(folder: &Path) -> PathBuf {
    let held_out = folder.join("heldout/inputs.csv");
    match held_out.exists() {
        true => held_out,
        false => folder.join("inputs.csv"),
    }
}

/// The plan of one run, without the sweep.
pub(super) fn plan(args: &Load, target: &Target, models: &[Model]) -> Result<Plan> {
    let pattern = pattern(&args.rate)?;
    let RateOptions {
        requests,
        warmup,
        max_outstanding,
        threads,
        ..
    } = args.rate;
    let is_replay = matches!(pattern, Pattern::Open(Arrivals::Replay(_)));
    let ends_by_itself = requests.is_some() || is_replay;
    // Nothing else would end such a run.
    let default_duration = (!ends_by_itself).then_some(DEFAULT_DURATION);
    Ok(Plan {
        target: target.clone(),
        mix: mix(args, target, models, args.requests.rows)?,
        pattern,
        duration: args.rate.duration.or(default_duration),
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

fn pattern(options: &RateOptions) -> Result<Pattern> {
    let arrival = options.arrival.into();
    if let Some(path) = &options.replay {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let arrivals = tidegate_load::replay(&text, options.speed)
            .with_context(|| path.display().to_string())?;
        return Ok(Pattern::Open(arrivals));
    }
    if let Some(rate) = options.rate {
        return Ok(Pattern::Open(Arrivals::Rates {
            rates: vec![rate],
            arrival,
        }));
    }
    if !options.steps.is_empty() {
        if options.requests.is_some() {
            bail!("each step takes --duration: do not use --requests with --steps");
        }
        return Ok(Pattern::Open(Arrivals::Rates {
            rates: options.steps.clone(),
            arrival,
        }));
    }
    Ok(Pattern::Closed {
        concurrency: options.concurrency.unwrap_or(DEFAULT_CONCURRENCY),
    })
}

/// The requests for every model, rendered for the wire.
pub(super) fn mix(args: &Load, target: &Target, models: &[Model], rows: usize) -> Result<Mix> {
    let requests = &args.requests;
    if let Some(path) = &requests.path {
        return raw_mix(target, path, requests.raw_body.as_deref());
    }
    let mut mix = Mix::default();
    for model in models {
        let name = &model.name;
        let inputs = match &model.table {
            Some(table) => tidegate_load::cut(name, table, rows)?,
            None => {
                let (extent, seed) = (requests.open_extent, requests.seed);
                tidegate_load::generate(name, &model.signature, rows, extent, seed)?
            }
        };
        let payloads = inputs
            .iter()
            .map(|inputs| Payload::infer(target, name, inputs, args.server.deadline))
            .collect();
        mix = mix.with(name, model.weight, payloads);
    }
    Ok(mix)
}

/// One request that is the same every time.
fn raw_mix(target: &Target, path: &str, body: Option<&Path>) -> Result<Mix> {
    let body = match body {
        Some(file) => {
            Some(std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?)
        }
        None => None,
    };
    let payload = Payload::raw(target, path, body.as_deref());
    Ok(Mix::default().with(path, 1.0, vec![payload]))
}
