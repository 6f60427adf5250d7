//! The child: it limits itself, loads what it is told to, and says what came of it.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prost::Message;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate_engines::Engines;
use tidegate_protocol::inference::ModelConfig;

use super::{TrialAnswer, TrialRequest, TrialTask};
use crate::{VersionPlan, version};

/// How often the time of a request is looked at.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// Reads requests from standard input, one in a line, and writes an answer to standard output for
/// each.
pub fn run_child() -> ExitCode {
    let mut watch = None;
    for line in std::io::stdin().lines() {
        let Ok(request) = line.as_deref().map(serde_json::from_str::<TrialRequest>) else {
            break;
        };
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                eprintln!("no request of a server: {error}");
                return ExitCode::FAILURE;
            }
        };
        let watch = watch.get_or_insert_with(|| {
            limit_self(request.memory_bytes);
            Watch::new()
        });
        watch.start(Duration::from_secs(request.timeout_s));
        let mut answer = serde_json::to_vec(&request.answer()).unwrap_or_default();
        watch.stop();
        answer.push(b'\n');
        let mut out = std::io::stdout();
        if out.write_all(&answer).and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    // Without destructors: those of a runtime can crash too, and all is said.
    std::process::exit(0)
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

/// Whatever a model does, it takes no more memory than it may, dies with its parent, and is the first
/// to go if the machine's memory is short. An error means that a limit is missing, which is no reason
/// not to try.
fn limit_self(memory_bytes: u64) {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    lower(Resource::Core, 0);
    // Private memory that can be written: unlike the whole address space it leaves out files and
    // what allocators reserve without using it.
    lower(Resource::Data, memory_bytes);
    // Where memory runs out, the kernel is to end the trial and not the server.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // Requests that the server answers meanwhile come first.
    let _ = rustix::process::nice(5);
}

/// Ends the process if a request takes too long.
struct Watch {
    started: Instant,
    /// When the request that runs must have ended, in milliseconds since the start; 0 for none.
    deadline_ms: Arc<AtomicU64>,
}

impl Watch {
    fn new() -> Self {
        let started = Instant::now();
        let deadline_ms = Arc::new(AtomicU64::new(0));
        let deadline = deadline_ms.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(WATCH_EVERY);
                let deadline_ms = deadline.load(Ordering::Relaxed);
                if deadline_ms > 0 && started.elapsed().as_millis() as u64 > deadline_ms {
                    eprintln!("the time of the trial is over");
                    std::process::abort();
                }
            }
        });
        Self {
            started,
            deadline_ms,
        }
    }

    fn start(&self, limit: Duration) {
        let deadline = self.started.elapsed() + limit;
        let deadline_ms = deadline.as_millis() as u64;
        self.deadline_ms.store(deadline_ms, Ordering::Relaxed);
    }

    fn stop(&self) {
        self.deadline_ms.store(0, Ordering::Relaxed);
    }
}

fn lower(resource: Resource, limit: u64) {
    let before = getrlimit(resource);
    // Without privileges a limit can only be lowered.
    let limit = before.maximum.map_or(limit, |maximum| maximum.min(limit));
    let _ = setrlimit(
        resource,
        Rlimit {
            current: Some(limit),
            maximum: before.maximum,
        },
    );
}
