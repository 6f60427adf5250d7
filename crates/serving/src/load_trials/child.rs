//! The child: it limits itself, loads what it is told to, and says what came of it.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use prost::Message;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate_engines::Engines;
use tidegate_protocol::inference::ModelConfig;

use super::{TrialAnswer, TrialRequest, TrialTask};
use crate::{VersionPlan, version};

/// Reads a request from standard input and writes its answer to standard output.
pub fn run_child() -> ExitCode {
    let mut text = Vec::new();
    let request = std::io::stdin()
        .read_to_end(&mut text)
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_slice(&text).map_err(|error| error.to_string()));
    let request: TrialRequest = match request {
        Ok(request) => request,
        Err(error) => {
            eprintln!("no request of a server: {error}");
            return ExitCode::FAILURE;
        }
    };
    limit_self(&request);
    let answer = request.answer();
    let line = serde_json::to_vec(&answer).unwrap_or_default();
    let mut out = std::io::stdout();
    let written = out.write_all(&line).and_then(|()| out.flush());
    // Without destructors: those of a runtime can crash too, and all is said.
    std::process::exit(i32::from(written.is_err()))
}

impl TrialRequest {
    fn answer(self) -> TrialAnswer {
        let engines = Engines::discover(self.onnxruntime.as_deref(), self.default_engine.clone());
        let triton = self.triton.as_deref();
        let plan = VersionPlan {
            triton: triton.and_then(|config| ModelConfig::decode(config).ok()),
            ..VersionPlan::new(self.manifest, self.artifact)
        };
        match self.task {
            TrialTask::Check => TrialAnswer::Checked(crate::check(&self.model, &plan, &engines)),
            TrialTask::Load => {
                let outcome = version::try_to_load(&plan, self.is_from_registry, &engines);
                TrialAnswer::Loaded(outcome.map_err(|error| error.to_string()))
            }
        }
    }
}

/// Whatever the model does, it takes no more memory and time than it may, dies with its parent, and
/// is the first to go if the machine's memory is short. An error means that a limit is missing,
/// which is no reason not to try.
fn limit_self(request: &TrialRequest) {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    lower(Resource::Core, 0);
    // Private memory that can be written: unlike the whole address space it leaves out files and
    // what allocators reserve without using it.
    lower(Resource::Data, request.memory_bytes);
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let _ = rustix::process::nice(5);
    let limit = Duration::from_secs(request.timeout_s);
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        eprintln!("the time of the trial is over");
        std::process::abort();
    });
}

fn lower(resource: Resource, limit: u64) {
    let before = getrlimit(resource);
    let limit = before.maximum.map_or(limit, |maximum| maximum.min(limit));
    let _ = setrlimit(
        resource,
        Rlimit {
            current: Some(limit),
            maximum: before.maximum,
        },
    );
}
