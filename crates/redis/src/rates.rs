//! Rates over all servers: tokens are leased from buckets in Redis by one script.

use std::fmt::Write;

use redis::Cmd;

use crate::client::{Connection, RedisAway, RedisClient, SendError};
use crate::stats::RedisCommand;

pub(crate) const SCRIPT: &str = include_str!("lease.lua");
/// Numbers of the answer for each bucket.
const ANSWERS: usize = 4;

/// Tokens of one bucket that are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseRequest<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// New tokens in a second.
    pub per_second: f64,
    /// Tokens in a full bucket.
    pub burst: u64,
    /// Tokens to lease, if there are so many.
    pub want: u64,
    /// Tokens without which the others are of no use.
    pub need: u64,
    /// Tokens leased before that were not used.
    pub returned: u64,
}

/// What a bucket has given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// The tokens; none if some bucket of the request lacks what is needed.
    pub given: u64,
    /// What is left in the bucket.
    pub left: u64,
    /// When the bucket will be full, in microseconds.
    pub full_in_us: u64,
    /// When the needed tokens will be there, in microseconds; zero if they are.
    pub wait_us: u64,
}

/// The answer for each bucket.
pub type Leases = Vec<Lease>;

impl RedisClient {
    /// Leases tokens of all buckets, or of none. What is returned is taken back in any case.
    ///
    /// # Errors
    /// [`RedisAway`]. Whether tokens were given is then unknown: they count as used.
    pub async fn lease(&self, requests: &[LeaseRequest<'_>]) -> Result<Leases, RedisAway> {
        let by_name = self.send(RedisCommand::Lease, |connection| {
            self.script(Some(connection), requests)
        });
        let numbers: Vec<u64> = match by_name.await {
            Ok(numbers) => numbers,
            // Scripts are forgotten by `SCRIPT FLUSH`. The whole one makes Redis remember it.
            Err(SendError::UnknownScript) => {
                let whole = self.send(RedisCommand::Lease, |_| self.script(None, requests));
                whole.await?
            }
            Err(SendError::Away) => return Err(RedisAway),
        };
        if numbers.len() != requests.len() * ANSWERS {
            return Err(RedisAway);
        }
        let leases = numbers.as_chunks::<ANSWERS>().0.iter().map(|answer| Lease {
            given: answer[0],
            left: answer[1],
            full_in_us: answer[2],
            wait_us: answer[3],
        });
        Ok(leases.collect())
    }

    fn script(&self, by_name: Option<&Connection>, requests: &[LeaseRequest<'_>]) -> Cmd {
        let mut command = match by_name {
            Some(connection) => {
                let mut command = redis::cmd("EVALSHA");
                command.arg(&connection.lease_script);
                command
            }
            None => {
                let mut command = redis::cmd("EVAL");
                command.arg(SCRIPT);
                command
            }
        };
        command.arg(requests.len());
        for request in requests {
            command.arg(self.rate_key(request.bucket));
        }
        for request in requests {
            command
                .arg(1e6 / request.per_second)
                .arg(request.burst)
                .arg(request.want)
                .arg(request.need)
                .arg(request.returned);
        }
        command
    }

    /// Of a bounded size, and without the names of tenants and principals.
    fn rate_key(&self, bucket: &str) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, bucket.as_bytes());
        let mut key = self.key("rate:");
        for byte in &digest.as_ref()[..16] {
            // Writing to a string cannot fail.
            let _ = write!(key, "{byte:02x}");
        }
        key
    }
}

#[cfg(test)]
mod tests;
