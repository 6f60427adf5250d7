//! Triton-style model repositories: `NAME/VERSION/model.onnx`, with or without `config.pbtxt`.

mod sequences;

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use tidegate_core::{Batching, Dim, EngineOptions, Manifest, Signature, TensorSpec};
use tidegate_engines::{LoadError, artifact_in};
use tidegate_protocol::inference::model_config::SchedulingChoice;
use tidegate_protocol::inference::model_version_policy::PolicyChoice;
use tidegate_protocol::inference::{ModelConfig, ModelDynamicBatching, ModelTensorReshape};
use tidegate_protocol::model_config;

use super::{SourceError, ensemble, entries, inside, read_labels, read_text, reshape};
use crate::VersionPlan;

/// The file of a model's configuration.
const CONFIG_FILE: &str = "config.pbtxt";

/// Whether a folder has version folders with an ONNX file.
pub(super) fn has_versions(folder: &Path) -> bool {
    entries(folder).is_ok_and(|entries| {
        entries
            .iter()
            .any(|entry| version_number(entry).is_some() && default_artifact(entry).is_some())
    })
}

/// Reads a model: its name, and its versions or why it cannot be read.
pub(super) fn read(
    folder: &Path,
    folder_name: &str,
) -> (String, Result<Vec<VersionPlan>, SourceError>) {
    match config(folder, folder_name) {
        Ok(config) => {
            let name = config
                .as_ref()
                .map(|config| config.name.clone())
                .filter(|name| !name.is_empty());
            (
                name.unwrap_or_else(|| folder_name.to_owned()),
                plans(folder, config),
            )
        }
        Err(error) => (folder_name.to_owned(), Err(error)),
    }
}

fn config(folder: &Path, folder_name: &str) -> Result<Option<ModelConfig>, SourceError> {
    let path = folder.join(CONFIG_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let config = model_config::parse(&read_text(&path)?)
        .map_err(|error| SourceError::new(&path, error.to_string()))?;
    check(&config, folder_name).map_err(|problem| SourceError::new(&path, problem))?;
    Ok(Some(config))
}

/// Refuses a configuration of another model, and values that parse and have no meaning.
pub(super) fn check(config: &ModelConfig, folder_name: &str) -> Result<(), String> {
    if !config.name.is_empty() && config.name != folder_name {
        return Err(format!(
            "name \"{}\" differs from the folder's name \"{folder_name}\"",
            config.name
        ));
    }
    in_range(config)?;
    sequences::spec(config)
        .map_err(|problem| format!("sequence_batching: {problem}"))
        .map(|_| ())?;
    ensemble::check(config)?;
    fitting_reshapes(config)
}

fn fitting_reshapes(config: &ModelConfig) -> Result<(), String> {
    let inputs = config.input.iter();
    let inputs = inputs.map(|input| ("input", &input.name, &input.dims, &input.reshape));
    let outputs = config.output.iter();
    let outputs = outputs.map(|output| ("output", &output.name, &output.dims, &output.reshape));
    for (side, name, dims, reshape) in inputs.chain(outputs) {
        if let Some(reshape) = reshape
            && let Some(problem) = reshape::problem(dims, &reshape.shape)
        {
            return Err(format!("{side} \"{name}\" {problem}"));
        }
    }
    Ok(())
}

/// Refuses numbers that parse and have no meaning.
fn in_range(config: &ModelConfig) -> Result<(), String> {
    if config.max_batch_size < 0 {
        return Err(format!(
            "max_batch_size is {}, it must be 0 or more",
            config.max_batch_size
        ));
    }
    match config.instance_group.iter().find(|group| group.count < 0) {
        Some(group) => Err(format!(
            "instance_group.count is {}, it must be 0 or more",
            group.count
        )),
        None => Ok(()),
    }
}

pub(super) fn plans(
    folder: &Path,
    config: Option<ModelConfig>,
) -> Result<Vec<VersionPlan>, SourceError> {
    let present: Vec<(u64, PathBuf)> = entries(folder)?
        .into_iter()
        .filter_map(|entry| Some((version_number(&entry)?, entry)))
        .collect();
    let chosen = choose(folder, present, config.as_ref())?;
    let file = config
        .as_ref()
        .map(|config| config.default_model_filename.as_str())
        .filter(|file| !file.is_empty());
    let manifest = config.as_ref().map_or_else(Manifest::default, manifest);
    let labels = labels(folder, config.as_ref())?;
    chosen
        .into_iter()
        .map(|(number, version)| {
            if config.as_ref().is_some_and(ensemble::is_ensemble) {
                return Ok(VersionPlan {
                    number,
                    labels: labels.clone(),
                    triton: config.clone(),
                    ..VersionPlan::new(manifest.clone(), folder.join(CONFIG_FILE))
                });
            }
            let file = match file {
                Some(file) => in_folder(&version, file),
                None => default_artifact(&version).unwrap_or_else(|| Manifest::default().artifact),
            };
            Ok(VersionPlan {
                number,
                manifest: Manifest {
                    artifact: file.clone(),
                    ..manifest.clone()
                },
                artifact: artifact(&version, &file)?,
                labels: labels.clone(),
                triton: config.clone(),
                files: None,
                given: None,
            })
        })
        .collect()
}

/// The artifact with the default name in a version folder, or in a folder of that name in it.
fn default_artifact(version: &Path) -> Option<String> {
    let found = artifact_in(version)
        .or_else(|| artifact_in(&version.join(Manifest::default().artifact)))?;
    let below = found.strip_prefix(version).ok()?;
    Some(below.to_string_lossy().into_owned())
}

/// The artifact of a version. Triton follows links wherever they lead, and so do tools that keep the
/// large files of a repository elsewhere.
fn artifact(version: &Path, file: &str) -> Result<PathBuf, SourceError> {
    let path = version.join(file);
    let is_below = Path::new(file)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if is_below && path.is_file() {
        return Ok(path);
    }
    // For its message.
    inside(version, file)
}

/// The name of a file that may stand in a folder of its own name, beside its weights, as Triton's
/// documentation of the model repository has it: `model.onnx/model.onnx`.
fn in_folder(version: &Path, file: &str) -> String {
    let inner = format!("{file}/{file}");
    if version.join(&inner).is_file() {
        inner
    } else {
        file.to_owned()
    }
}

/// Triton takes folders whose name is a number above 0 without leading zeros, and ignores the
/// rest.
fn version_number(folder: &Path) -> Option<u64> {
    let name = folder.file_name()?.to_str()?;
    let number = name.parse().ok().filter(|number| *number > 0)?;
    (folder.is_dir() && !name.starts_with('0')).then_some(number)
}

/// The versions that the policy serves, ascending. Without a policy Triton serves the newest one.
fn choose(
    folder: &Path,
    mut present: Vec<(u64, PathBuf)>,
    config: Option<&ModelConfig>,
) -> Result<Vec<(u64, PathBuf)>, SourceError> {
    // By number: as text, 10 would come before 9.
    present.sort_by_key(|(number, _)| *number);
    if present.is_empty() {
        return Err(SourceError::new(folder, "has no version folder such as 1/"));
    }
    let policy = config
        .and_then(|config| config.version_policy.as_ref())
        .and_then(|p| p.policy_choice.as_ref());
    Ok(match policy {
        None => newest(present, 1),
        Some(PolicyChoice::Latest(latest)) => newest(present, latest.num_versions),
        Some(PolicyChoice::All(_)) => present,
        Some(PolicyChoice::Specific(specific)) => {
            let numbers = specific.versions.iter();
            let wanted: Vec<u64> = numbers.filter_map(|v| u64::try_from(*v).ok()).collect();
            if let Some(missing) = wanted
                .iter()
                .find(|wanted| !present.iter().any(|(number, _)| number == *wanted))
            {
                return Err(SourceError::new(
                    folder,
                    format!("version_policy names version {missing}, which does not exist"),
                ));
            }
            present.retain(|(number, _)| wanted.contains(number));
            present
        }
    })
}

/// The last `count` versions, at least one: Triton takes 0 for 1.
fn newest(mut ascending: Vec<(u64, PathBuf)>, count: u32) -> Vec<(u64, PathBuf)> {
    let keep = usize::try_from(count.max(1)).unwrap_or(usize::MAX);
    ascending.split_off(ascending.len().saturating_sub(keep))
}

/// The manifest that the configuration stands for.
fn manifest(config: &ModelConfig) -> Manifest {
    let mut batching = Batching {
        max_batch_size: Some(usize::try_from(config.max_batch_size).unwrap_or(0)),
        ..Batching::default()
    };
    // Triton forms batches only where `dynamic_batching` is set. We batch whatever the batch axis
    // allows: answers are the same and waiting is off unless the configuration asks for it.
    if let Some(SchedulingChoice::DynamicBatching(dynamic)) = &config.scheduling_choice {
        dynamic_batching(dynamic, &mut batching);
    }
    sequences::add_batching(config, &mut batching);
    let instances: i64 = config
        .instance_group
        .iter()
        .map(|group| i64::from(group.count.max(1)))
        .sum();
    let engine_options = EngineOptions {
        instances: usize::try_from(instances).ok().filter(|count| *count > 0),
        intra_op_threads: intra_op_threads(config),
        ..EngineOptions::default()
    };
    let graph = ensemble::graph(config);
    Manifest {
        name: config.name.clone(),
        engine_options,
        batching,
        // What cannot be read was refused before.
        sequences: sequences::spec(config).unwrap_or_default().map(Box::new),
        signature: graph
            .as_ref()
            .map(|_| ensemble::declared(config))
            .unwrap_or_default(),
        graph: graph.map(Box::new),
        ..Manifest::default()
    }
}

/// The parameter by which Triton's ONNX Runtime backend sets the threads of a run; 0 is the default.
const INTRA_OP_THREADS: &str = "intra_op_thread_count";

fn intra_op_threads(config: &ModelConfig) -> Option<usize> {
    let threads = config.parameters.get(INTRA_OP_THREADS)?;
    let threads: usize = threads.string_value.trim().parse().ok()?;
    (threads > 0).then_some(threads)
}

/// The settings of a configuration that make no difference here, for its owner to know: parameters
/// of Triton's ONNX Runtime backend, and fields about speed alone.
pub(crate) fn without_effect(config: &ModelConfig) -> Vec<String> {
    const PARAMETERS: [&str; 7] = [
        "enable_mem_arena",
        "enable_mem_pattern",
        "execution_mode",
        "inter_op_thread_count",
        "memory.enable_memory_arena_shrinkage",
        "enable_global_threadpool",
        "cudnn_conv_algo_search",
    ];
    let fields = model_config::without_effect(config).into_iter();
    let mut found: Vec<String> = fields.map(str::to_owned).collect();
    for (key, parameter) in &config.parameters {
        let is_bad_count = key == INTRA_OP_THREADS
            && intra_op_threads(config).is_none()
            && parameter.string_value.trim() != "0";
        let is_known = PARAMETERS.contains(&key.as_str()) || key.starts_with("session.");
        if is_known || is_bad_count {
            let shown: String = key
                .chars()
                .take(64)
                .flat_map(char::escape_default)
                .collect();
            found.push(format!("parameters.{shown}"));
        }
    }
    found.extend(sequences::without_effect(config));
    found.sort();
    found
}

fn dynamic_batching(dynamic: &ModelDynamicBatching, batching: &mut Batching) {
    batching.max_queue_delay_us = dynamic.max_queue_delay_microseconds;
    batching.preferred_batch_sizes = dynamic
        .preferred_batch_size
        .iter()
        .filter_map(|rows| usize::try_from(*rows).ok())
        .collect();
    if dynamic.priority_levels > 0 {
        batching.priority_levels = u8::try_from(dynamic.priority_levels).unwrap_or(u8::MAX);
        batching.default_priority = u8::try_from(dynamic.default_priority_level).unwrap_or(u8::MAX);
    }
    if let Some(policy) = &dynamic.default_queue_policy {
        batching.default_timeout_us = policy.default_timeout_microseconds;
        if policy.max_queue_size > 0 {
            batching.max_queue_requests =
                usize::try_from(policy.max_queue_size).unwrap_or(usize::MAX);
        }
    }
}

fn labels(
    folder: &Path,
    config: Option<&ModelConfig>,
) -> Result<HashMap<String, Vec<String>>, SourceError> {
    let outputs = config.into_iter().flat_map(|config| &config.output);
    let labelled = outputs.filter(|output| !output.label_filename.is_empty());
    labelled
        .map(|output| {
            Ok((
                output.name.clone(),
                read_labels(folder, &output.label_filename)?,
            ))
        })
        .collect()
}

/// Compares the configuration's inputs and outputs with the artifact's, and narrows open dimensions
/// to the declared ones.
pub(crate) fn check_declared(
    config: &ModelConfig,
    signature: &mut Signature,
) -> Result<(), LoadError> {
    // Triton's `dims` leave out the batch axis where it batches.
    let has_batch_axis = config.max_batch_size > 0;
    for input in &config.input {
        let declared = Declared {
            side: "input",
            name: &input.name,
            data_type: input.data_type,
            dims: model_dims(&input.dims, input.reshape.as_ref(), has_batch_axis),
        };
        declared.apply(&mut signature.inputs)?;
    }
    for output in &config.output {
        let declared = Declared {
            side: "output",
            name: &output.name,
            data_type: output.data_type,
            dims: model_dims(&output.dims, output.reshape.as_ref(), has_batch_axis),
        };
        declared.apply(&mut signature.outputs)?;
    }
    for hidden in sequences::hidden_tensors(config) {
        let specs = match hidden.side {
            "input" => &mut signature.inputs,
            _ => &mut signature.outputs,
        };
        let Some(declared) = hidden.dims else {
            // A control has one element in a shape that the configuration leaves to the model.
            let found = specs.iter().find(|spec| spec.name == hidden.name);
            let dims = found.and_then(|spec| spec.dims.clone());
            Declared::of(&hidden, dims.unwrap_or_default()).apply(specs)?;
            continue;
        };
        Declared::of(&hidden, dims(declared, has_batch_axis)).apply(specs)?;
    }
    Ok(())
}

/// The shape that the model itself has.
fn model_dims(
    declared: &[i64],
    reshape: Option<&ModelTensorReshape>,
    has_batch_axis: bool,
) -> Vec<Dim> {
    dims(
        reshape.map_or(declared, |reshape| &reshape.shape),
        has_batch_axis,
    )
}

pub(super) fn dims(declared: &[i64], has_batch_axis: bool) -> Vec<Dim> {
    let batch_axis = has_batch_axis.then_some(Dim::Any);
    let rest = declared.iter().map(|extent| Dim::from_wire(*extent));
    batch_axis.into_iter().chain(rest).collect()
}

/// An input or output as `config.pbtxt` declares it.
struct Declared<'a> {
    side: &'static str,
    name: &'a str,
    data_type: i32,
    dims: Vec<Dim>,
}

impl<'a> Declared<'a> {
    fn of(hidden: &sequences::HiddenTensor<'a>, dims: Vec<Dim>) -> Self {
        Self {
            side: hidden.side,
            name: hidden.name,
            data_type: hidden.data_type,
            dims,
        }
    }

    fn apply(self, specs: &mut [TensorSpec]) -> Result<(), LoadError> {
        let Some(spec) = specs.iter_mut().find(|spec| spec.name == self.name) else {
            return Err(self.refused("is in config.pbtxt but not in the model".to_owned()));
        };
        if let Some(declared) = model_config::datatype_name(self.data_type)
            && declared != spec.datatype.name()
        {
            let found = spec.datatype;
            return Err(self.refused(format!(
                "is {declared} in config.pbtxt and {found} in the model"
            )));
        }
        // Some artifacts give no shape: then the declared one is all there is.
        let found = spec.dims.get_or_insert_with(|| self.dims.clone());
        if !agree(found, &self.dims) {
            let problem = format!(
                "has shape {:?} in config.pbtxt, with the batch axis, and {:?} in the model",
                wire_shape(&self.dims),
                wire_shape(found)
            );
            return Err(self.refused(problem));
        }
        for (found, declared) in found.iter_mut().zip(self.dims) {
            if *found == Dim::Any {
                *found = declared;
            }
        }
        Ok(())
    }

    fn refused(&self, problem: String) -> LoadError {
        LoadError::Unsupported {
            side: self.side,
            name: self.name.to_owned(),
            problem,
        }
    }
}

fn agree(found: &[Dim], declared: &[Dim]) -> bool {
    found.len() == declared.len()
        && found
            .iter()
            .zip(declared)
            .all(|(one, two)| one == two || *one == Dim::Any || *two == Dim::Any)
}

fn wire_shape(dims: &[Dim]) -> Vec<i64> {
    dims.iter().map(Dim::to_wire).collect()
}
