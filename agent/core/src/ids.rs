//! Names and jitter from a seed that the driver drew once.
//!
//! The core draws no randomness itself, so that a run can be repeated from its seed. The driver gives a fresh
//! seed at each start of the process: a repeated seed would repeat uuids, and an update whose uuid was seen
//! before is taken for a duplicate.

use std::fmt;

/// Sixteen bytes of an RFC 4122 version 4 uuid: the name of a status update or of a container.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// Any sixteen bytes; `None` for another length. Acknowledgements may carry uuids that are not of version 4.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The generator: a counter mixed with the seed.
#[derive(Clone, Debug)]
pub struct Ids {
    seed: [u64; 2],
    counter: u64,
}

impl Ids {
    pub fn new(seed: [u64; 2]) -> Self {
        Self { seed, counter: 0 }
    }

    /// A new uuid. The first half is a bijection of the counter, so that one seed never repeats a uuid
    /// within 2^58 draws.
    pub fn uuid(&mut self) -> Uuid {
        self.counter += 1;
        let high = mix(self.seed[0] ^ self.counter);
        let low = mix(self.seed[1] ^ high);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Uuid(bytes)
    }

    /// A number below `bound`, or 0 for a bound of 0. Good enough for jitter; not for secrets.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.counter += 1;
        mix(self.seed[1].wrapping_add(self.counter)).checked_rem(bound).unwrap_or(0)
    }
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection on 64 bits that spreads every bit.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn uuids_are_version_4_of_the_rfc_variant_and_distinct() {
        let mut ids = Ids::new([7, 9]);
        let drawn: BTreeSet<Uuid> = (0..10_000).map(|_| ids.uuid()).collect();
        assert_eq!(drawn.len(), 10_000);
        assert!(drawn.iter().all(|u| u.0[6] >> 4 == 4 && u.0[8] >> 6 == 2));
    }

    #[test]
    fn the_same_seed_gives_the_same_names() {
        let draw = |seed| {
            let mut ids = Ids::new(seed);
            (ids.uuid(), ids.below(1000), ids.uuid())
        };
        assert_eq!(draw([1, 2]), draw([1, 2]));
        assert_ne!(draw([1, 2]), draw([1, 3]));
    }

    #[test]
    fn text_form_has_five_groups() {
        let text = Ids::new([1, 2]).uuid().to_string();
        let groups: Vec<usize> = text.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
    }

    #[test]
    fn jitter_stays_below_its_bound() {
        let mut ids = Ids::new([3, 4]);
        assert!((0..1000).all(|_| ids.below(7) < 7));
        assert_eq!(ids.below(0), 0);
    }
}
