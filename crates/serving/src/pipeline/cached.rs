//! Answers from the response cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidegate_core::Tensor;
use tidegate_gateway::{
    CacheControl, CacheKeyHasher, CacheKeys, CacheOutcome, CachePolicy, Refresh, ResponseCache,
};

use super::execute::{Executed, execute};
use super::graph::RunScope;
use crate::clock::nanos;
use crate::scheduler::{AllowedTime, Work};
use crate::{ErrorCode, InferError, OutputTensor, Version};

/// The answers of a server that are kept.
pub type AnswerCache = ResponseCache<Arc<Executed>>;

/// Where an answer came from, and how long ago it was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatus {
    /// Where it came from.
    pub outcome: CacheOutcome,
    /// How long ago it was computed.
    pub age: Duration,
}

/// A request that a version has accepted, whose answer is kept.
pub(super) struct CacheableRequest<'a> {
    pub(super) version: &'a Arc<Version>,
    pub(super) work: Work,
    pub(super) wanted: &'a [(usize, usize)],
    pub(super) allowed: Option<AllowedTime>,
    pub(super) scope: RunScope<'a>,
    pub(super) tenant: &'a str,
    pub(super) policy: CachePolicy,
    pub(super) control: CacheControl,
}

impl CacheableRequest<'_> {
    /// The answer that was kept, or a new one. A stale answer is computed again in the background.
    pub(super) async fn answer(
        self,
        cache: &Arc<AnswerCache>,
    ) -> Result<(Executed, CacheStatus), InferError> {
        let began = Instant::now();
        let computing_ns = AtomicU64::new(0);
        let keys = self.keys(cache.is_shared());
        let deadline = self.work.deadline.map(|deadline| (deadline, too_late()));
        let compute = || self.timed_compute(&computing_ns);
        let answer = cache.answer(keys, self.policy, self.control, deadline, compute);
        let cached = answer.await?;
        let computing = Duration::from_nanos(computing_ns.load(Ordering::Relaxed));
        let took = began.elapsed().saturating_sub(computing);
        self.count(cached.outcome, took);
        if cached.outcome == CacheOutcome::Stale
            && let Some(refresh) = cache.begin_refresh(keys)
        {
            self.refresh(refresh);
        }
        let status = CacheStatus {
            outcome: cached.outcome,
            age: cached.age,
        };
        let executed = Executed::clone(&cached.value).answering(status.outcome);
        Ok((executed, status))
    }

    /// Computes the answer, and adds how long that takes.
    async fn timed_compute(
        &self,
        computing_ns: &AtomicU64,
    ) -> Result<(Arc<Executed>, usize), InferError> {
        let began = Instant::now();
        let work = self.work.share();
        let computed = compute(self.version, work, self.wanted, self.allowed, &self.scope).await;
        computing_ns.fetch_add(nanos(began.elapsed()), Ordering::Relaxed);
        computed
    }

    /// The versions that the nodes of a graph have now: an answer of others is another one.
    fn add_nodes(&self, hasher: &mut CacheKeyHasher) {
        if let Some(graph) = self.version.graph() {
            for load_id in self.scope.finder.models.node_loads(graph) {
                hasher.add_number(load_id);
            }
        }
    }

    fn count(&self, outcome: CacheOutcome, took: Duration) {
        let stats = self.version.stats();
        match outcome {
            CacheOutcome::Hit
            | CacheOutcome::Stale
            | CacheOutcome::Coalesced
            | CacheOutcome::Shared => stats.count_cache_hit(took),
            CacheOutcome::Miss => stats.count_cache_miss(took),
            // Nobody looked for a kept answer.
            CacheOutcome::Bypass => {}
        }
    }

    fn refresh(self, refresh: Refresh<Arc<Executed>>) {
        let (version, wanted, policy) = (self.version.clone(), self.wanted.to_vec(), self.policy);
        let work = Work {
            // Nobody waits for it.
            deadline: None,
            ..self.work
        };
        let (finder, memory) = (self.scope.finder.clone(), self.scope.memory.beside());
        tokio::spawn(async move {
            let scope = RunScope {
                finder: &finder,
                trace: None,
                memory: &memory,
                graph: None,
                depth: 0,
            };
            let computed = compute(&version, work, &wanted, None, &scope).await;
            // Dropped, it lets the next request try again.
            if let Ok(computed) = computed {
                refresh.keep(policy, computed).await;
            }
        });
    }

    /// Everything that the answer depends on. In this process, a version that was loaded again is
    /// another one: its files may have changed. Servers share what has the same content.
    pub(super) fn keys(&self, is_shared: bool) -> CacheKeys {
        let mut hasher = CacheKeyHasher::default();
        let tenant = if self.policy.is_shared {
            ""
        } else {
            self.tenant
        };
        hasher.add(tenant.as_bytes());
        for (index, classes) in self.wanted {
            hasher.add_number(*index as u64);
            hasher.add_number(*classes as u64);
        }
        for input in &self.work.inputs {
            add_input(&mut hasher, input.as_ref());
        }
        self.add_nodes(&mut hasher);
        let shared = match is_shared {
            true => self.version.content().map(|content| {
                let mut hasher = hasher.clone();
                hasher.add(content.as_bytes());
                hasher.finish()
            }),
            false => None,
        };
        hasher.add_number(self.version.load_id());
        CacheKeys {
            own: hasher.finish(),
            shared,
        }
    }
}

/// Inputs are in the order of the signature, whatever the order of the request.
fn add_input(hasher: &mut CacheKeyHasher, input: Option<&Tensor>) {
    let Some(tensor) = input else {
        return hasher.add(b"none");
    };
    hasher.add(tensor.datatype().name().as_bytes());
    hasher.add_number(tensor.shape().len() as u64);
    for extent in tensor.shape().iter() {
        hasher.add_number(*extent as u64);
    }
    hasher.add(&tensor.wire());
}

/// Runs a request, and copies its outputs: they may be parts of a batch, all of which they would keep
/// in memory.
async fn compute(
    version: &Version,
    work: Work,
    wanted: &[(usize, usize)],
    allowed: Option<AllowedTime>,
    scope: &RunScope<'_>,
) -> Result<(Arc<Executed>, usize), InferError> {
    let executed = execute(version, work, wanted, allowed, scope).await?;
    let outputs = executed.outputs.iter().map(|output| OutputTensor {
        index: output.index,
        tensor: output.tensor.detached(),
    });
    let executed = Executed {
        outputs: outputs.collect(),
        ..executed
    };
    let bytes = executed.bytes();
    Ok((Arc::new(executed), bytes))
}

fn too_late() -> InferError {
    let message = "the deadline passed while another request computed the answer";
    InferError::new(ErrorCode::DeadlineExceeded, message)
}
