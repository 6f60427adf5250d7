//! Takes from the rates that servers share: from all of a request or from none, with one question to
//! Redis at most.

use tidegate_redis::RedisClient;

use super::bucket::Rate;
use super::limiter::{Charged, Limiter, Unit, rate_of};
use super::rate::Empty;
use super::shared_rate::{Ask, FromLease, SharedRate};

/// Rates whose leases are returned with one question.
const RETURNED_AT_ONCE: usize = 100;

/// What Redis is asked for a request. Given up if the request goes away meanwhile.
struct Asking<'a> {
    buckets: &'a [Charged],
    unit: Unit,
    /// By the places of the buckets.
    asks: Vec<(usize, Ask)>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    NotSent,
    Sent,
    Answered,
}

impl Limiter {
    /// Takes from all shared rates of a request; while Redis is away, from the share of this server.
    ///
    /// # Errors
    /// The place of the bucket that has too few tokens. Then nothing was taken.
    pub(super) async fn take_shared(
        &self,
        redis: &RedisClient,
        buckets: &[Charged],
        unit: Unit,
        count: u64,
    ) -> Result<(), (usize, Empty)> {
        let mut asking = Asking {
            buckets,
            unit,
            asks: Vec::new(),
            progress: Progress::NotSent,
        };
        let now_ns = self.now_ns();
        for index in 0..buckets.len() {
            let Some(shared) = asking.shared(index) else {
                continue;
            };
            match shared.take(count, now_ns) {
                FromLease::Taken => {}
                FromLease::Needs(ask) => asking.asks.push((index, ask)),
                FromLease::Refused(empty) => {
                    asking.give_back_taken(index, count);
                    return Err((index, empty));
                }
            }
        }
        if asking.asks.is_empty() {
            return Ok(());
        }
        // Boxed: most requests find what they need in a lease.
        let asked = Box::pin(self.ask(redis, &mut asking, count)).await;
        if asked.is_err() {
            asking.give_back_taken(buckets.len(), count);
        }
        asked
    }

    async fn ask(
        &self,
        redis: &RedisClient,
        asking: &mut Asking<'_>,
        count: u64,
    ) -> Result<(), (usize, Empty)> {
        // Noted before the question is sent: if the request goes away while Redis answers, the
        // tokens may have left Redis, and `drop` must know.
        if redis.is_connected() {
            asking.progress = Progress::Sent;
        }
        let asked = asking.asks.iter().filter_map(|(index, ask)| {
            let shared = asking.shared(*index)?;
            Some(shared.request(*ask))
        });
        let Ok(leases) = redis.lease(&asked.collect::<Vec<_>>()).await else {
            return self.take_own_share(redis, asking, count);
        };
        let now_ns = self.now_ns();
        let mut refused = Ok(());
        for ((index, ask), lease) in asking.asks.iter().zip(leases) {
            if let Some(shared) = asking.shared(*index) {
                shared.add(*ask, lease, now_ns);
            }
            if lease.wait_us > 0 {
                let wait_ns = lease.wait_us.saturating_mul(1000);
                refused = Err((*index, Empty { wait_ns }));
            }
        }
        asking.progress = Progress::Answered;
        refused
    }

    /// The share of this server in what Redis cannot be asked for: the rate and the burst, divided by
    /// the number of servers. A token of the share is worth as many of the whole as there are servers.
    fn take_own_share(
        &self,
        redis: &RedisClient,
        asking: &Asking<'_>,
        count: u64,
    ) -> Result<(), (usize, Empty)> {
        let worth = count.saturating_mul(u64::from(redis.servers()));
        let now_ns = self.now_ns();
        for (place, (index, _)) in asking.asks.iter().enumerate() {
            let Some(rate) = rate_of(&asking.buckets[*index], asking.unit) else {
                continue;
            };
            if let Err(empty) = rate.own.take(worth, now_ns) {
                for (taken, _) in &asking.asks[..place] {
                    if let Some(rate) = rate_of(&asking.buckets[*taken], asking.unit) {
                        rate.own.give_back(worth);
                    }
                }
                return Err((*index, empty));
            }
        }
        Ok(())
    }

    /// Gives tokens back that were taken of a rate.
    pub(super) fn give_back_rate(&self, rate: &Rate, count: u64) {
        match (&rate.shared, &self.redis) {
            (Some(shared), Some(redis)) if redis.is_connected() => shared.give_back(count),
            (Some(_), Some(redis)) => {
                let worth = count.saturating_mul(u64::from(redis.servers()));
                rate.own.give_back(worth);
            }
            _ => rate.own.give_back(count),
        }
    }

    /// What is left of a rate, and in how many nanoseconds all is there again.
    pub(super) fn remaining(&self, rate: &Rate, now_ns: u64) -> (u64, u64) {
        match (&rate.shared, &self.redis) {
            (Some(shared), Some(redis)) if redis.is_connected() => shared.remaining(now_ns),
            (Some(_), Some(redis)) => {
                let (left, full_in_ns) = rate.own.remaining(now_ns);
                (left / u64::from(redis.servers()), full_in_ns)
            }
            _ => rate.own.remaining(now_ns),
        }
    }

    /// Returns all leases of rates. For the end of a server; what Redis does not get counts as used.
    pub(super) async fn surrender_rates(&self) {
        let Some(redis) = &self.redis else {
            return;
        };
        let buckets = self.all_buckets();
        let rates = buckets.iter().flat_map(|bucket| bucket.rates());
        let leases = rates.filter_map(|rate| rate.shared.as_ref()?.surrender());
        let leases: Vec<_> = leases.collect();
        for leases in leases.chunks(RETURNED_AT_ONCE) {
            if redis.lease(leases).await.is_err() {
                return;
            }
        }
    }
}

impl<'a> Asking<'a> {
    fn shared(&self, index: usize) -> Option<&'a SharedRate> {
        rate_of(&self.buckets[index], self.unit)?.shared.as_ref()
    }

    /// Gives back what the buckets before `end` had in their leases.
    fn give_back_taken(&self, end: usize, count: u64) {
        for index in 0..end {
            let was_asked = self.asks.iter().any(|(asked, _)| *asked == index);
            if let Some(shared) = self.shared(index).filter(|_| !was_asked) {
                shared.give_back(count);
            }
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.progress == Progress::Answered {
            return;
        }
        let was_sent = self.progress == Progress::Sent;
        for (index, ask) in &self.asks {
            if let Some(shared) = self.shared(*index) {
                shared.give_up(*ask, was_sent);
            }
        }
    }
}

#[cfg(test)]
mod tests;
