//! Changes to seeds.

/// Numbers that look random and follow from a seed: splitmix64 (Steele, Lea and Flood 2014).
pub(super) struct Random(u64);

/// Pieces of JSON, TOML, HTTP and numbers that parsers treat in ways of their own.
const PIECES: [&[u8]; 22] = [
    b"\"",
    b"[",
    b"]",
    b"{",
    b"}",
    b":",
    b",",
    b"-",
    b"\r\n",
    b"null",
    b"NaN",
    b"1e999",
    b"-1",
    b"0",
    b"9223372036854775808",
    b"18446744073709551615",
    b"\\ud800",
    b"\xff\xff\xff\xff",
    b"\0",
    b"\"shape\": [",
    b"=",
    b"\n[x]\n",
];

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(super) fn choose<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A seed with one to six changes: bytes removed, put in, turned over or said twice.
    pub(super) fn mutate(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(6) {
            let at = self.below(bytes.len() + 1);
            let until = (at + self.below(24)).min(bytes.len());
            match self.below(5) {
                0 => drop(bytes.drain(at..until)),
                1 => {
                    let piece = *self.choose(&PIECES);
                    bytes.splice(at..at, piece.iter().copied());
                }
                2 => {
                    let piece = *self.choose(&PIECES);
                    bytes.splice(at..until, piece.iter().copied());
                }
                3 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                _ => {
                    let copy = bytes[at..until].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_changed_in_the_same_way_again() {
        let changes = |seed| {
            let mut random = Random::new(seed);
            (0..50)
                .map(|_| random.mutate(b"{\"shape\": [1, 2]}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(changes(7), changes(7));
        assert_ne!(changes(7), changes(8));
    }
}
