//! The version that answers a request.
//!
//! A request with a sticky key has a point from 0 to [`PARTS`](crate::policy::PARTS): a hash of the
//! key. Each version owns segments of the points, as long as its weight. When weights change, versions
//! that lose give up exactly what they lose, and versions that gain take exactly that
//! ([`Segments::change`]). So the smallest possible share of keys moves, and no key moves between two
//! versions that keep their weights. Weighted rendezvous hashing would need no segments, but moves
//! keys between third versions when more than one weight changes, and costs a hash and a logarithm
//! per version. Segments depend on the past, so they are persisted with the policy, and every replica
//! reads the same ones.
//!
//! A request without a key takes the next point of a sequence that fills the line evenly
//! ([`sequence`]): the counts stay within a few requests of the weights, where random draws are off
//! by the square root of the number of requests.

mod assignment;
mod compiled;
mod experiments;
mod first_seen;
mod point;
mod router;
mod segments;
pub mod sequence;

pub use assignment::Assignment;
pub use experiments::Exposure;
pub use first_seen::FirstSeen;
pub use point::Salt;
pub use router::{AssignmentMismatch, Choice, Router};
pub use segments::{InvalidSegments, Segment, Segments};
