//! The Redis that servers share: lost and found are events, problems show in health, and what it is
//! asked are metrics.

use std::sync::Arc;

use tidegate_observe::Event;
use tidegate_redis::{AnswerStats, CommandOutcome, RedisChange, RedisClient, RedisCommand};
use tidegate_serving::{
    AnswerCache, Exposition, Family, Labels, MetricEntry, MetricRegistry, MetricSource, Sample,
};
use tokio::task::JoinSet;

use crate::clock::now_ms;
use crate::component::Component;
use crate::events::EventJournal;

const CONNECTED: Family<'static> = Family::gauge(
    "tidegate_redis_connected",
    "Whether the server can reach Redis, 1 or 0; absent if no Redis is configured",
);
const SERVERS: Family<'static> = Family::gauge(
    "tidegate_redis_servers",
    "Servers that share rates in Redis, as this server counted them last",
);
const COMMANDS: Family<'static> = Family::counter(
    "tidegate_redis_commands_total",
    "Commands for Redis: `lease` (tokens of rates), `get` and `set` (answers), `check`; by outcome: \
     `answered`, `failed`, `timed_out`, or `not_sent` while Redis is away",
);
const SECONDS: Family<'static> = Family::counter(
    "tidegate_redis_command_seconds_total",
    "Time that commands for Redis took",
);
const ANSWERS: Family<'static> = Family::counter(
    "tidegate_cache_shared_answers_total",
    "Answers in Redis, by what happened: `found`, `absent`, `unreadable` (altered, or written with \
     another secret or format), `unavailable`, `written`, `too_large` or `dropped`",
);

/// Watches the connection to Redis.
pub(crate) struct RedisMonitor {
    redis: Option<Arc<RedisClient>>,
    events: Arc<EventJournal>,
}

impl RedisMonitor {
    /// Registers the metrics of Redis; without one, there are none.
    pub(crate) fn new(
        redis: Option<Arc<RedisClient>>,
        cache: Option<Arc<AnswerCache>>,
        events: Arc<EventJournal>,
        registry: &MetricRegistry,
    ) -> Self {
        registry.add_source(RedisMetrics {
            redis: redis.clone(),
            cache,
        });
        Self { redis, events }
    }

    async fn run(self: Arc<Self>, redis: Arc<RedisClient>) {
        loop {
            self.events.add(journal_event(redis.next_change().await));
            self.events.persist().await;
        }
    }
}

impl Component for RedisMonitor {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        if let Some(redis) = self.redis.clone() {
            background.spawn(self.run(redis));
        }
    }

    fn problems(&self) -> Vec<String> {
        let problem = self.redis.as_ref().and_then(|redis| redis.problem());
        let problem = problem.map(|problem| format!("Redis cannot be reached: {problem}"));
        problem.into_iter().collect()
    }
}

fn journal_event(change: RedisChange) -> Event {
    match change {
        RedisChange::Lost { problem } => {
            Event::new("redis.lost", now_ms()).with("problem", problem)
        }
        RedisChange::Found { away } => {
            Event::new("redis.found", now_ms()).with("away_ms", away.as_millis() as u64)
        }
    }
}

struct RedisMetrics {
    redis: Option<Arc<RedisClient>>,
    cache: Option<Arc<AnswerCache>>,
}

impl MetricSource for RedisMetrics {
    fn entries(&self) -> Vec<MetricEntry> {
        vec![
            MetricEntry::new(CONNECTED, &[]),
            MetricEntry::new(SERVERS, &[]),
            MetricEntry::new(COMMANDS, &["command", "outcome"]),
            MetricEntry::new(SECONDS, &["command"]),
            MetricEntry::new(ANSWERS, &["outcome"]),
        ]
    }

    fn expose(&self, out: &mut dyn Exposition) {
        let Some(redis) = &self.redis else {
            return;
        };
        let stats = redis.stats();
        let gauges = [
            (CONNECTED, f64::from(u8::from(stats.is_connected))),
            (SERVERS, f64::from(stats.servers)),
        ];
        for (family, value) in gauges {
            out.family(family);
            out.sample(Sample::plain(&Labels::default(), value));
        }
        out.family(COMMANDS);
        for command in RedisCommand::ALL {
            for outcome in CommandOutcome::ALL {
                let labels = [("command", command.name()), ("outcome", outcome.name())];
                let count = stats.commands[command as usize][outcome as usize];
                out.sample(Sample::plain(&Labels::new(labels), count as f64));
            }
        }
        out.family(SECONDS);
        for command in RedisCommand::ALL {
            let labels = Labels::new([("command", command.name())]);
            out.sample(Sample::plain(&labels, stats.seconds[command as usize]));
        }
        let answers = self.cache.as_ref().and_then(|cache| cache.shared_stats());
        if let Some(answers) = answers {
            out.family(ANSWERS);
            for (outcome, count) in counts(answers) {
                let labels = Labels::new([("outcome", outcome)]);
                out.sample(Sample::plain(&labels, count as f64));
            }
        }
    }
}

fn counts(stats: AnswerStats) -> [(&'static str, u64); 7] {
    [
        ("found", stats.found),
        ("absent", stats.absent),
        ("unreadable", stats.unreadable),
        ("unavailable", stats.unavailable),
        ("written", stats.written),
        ("too_large", stats.too_large),
        ("dropped", stats.dropped),
    ]
}
