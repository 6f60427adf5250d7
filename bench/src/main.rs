//! Benchmarks against bare baselines and public peers.

fn main() {}
