//! Ids and port numbers drawn from a seed that the driver passes in, so that a run can be repeated.

/// Two independent SplitMix64 streams: 128 bits of seed make ids of different leaders distinct.
#[derive(Debug, Clone)]
pub struct Random {
    high: u64,
    low: u64,
}

impl Random {
    pub fn new(seed: [u64; 2]) -> Self {
        Self { high: seed[0], low: seed[1] }
    }

    /// A version 4 UUID as text.
    pub fn uuid(&mut self) -> String {
        let (high, low) = (step(&mut self.high), step(&mut self.low));
        uuid::Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
            .into_uuid()
            .to_string()
    }

    /// A number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder is of no matter for spreading ports.
        step(&mut self.low) % bound
    }
}

fn step(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_ids_differ() {
        let (mut a, mut b) = (Random::new([1, 2]), Random::new([1, 2]));
        let first: Vec<_> = (0..100).map(|_| a.uuid()).collect();
        let second: Vec<_> = (0..100).map(|_| b.uuid()).collect();
        assert_eq!(first, second);
        assert_eq!(first.iter().collect::<std::collections::BTreeSet<_>>().len(), 100);
        assert_eq!(first[0].as_bytes()[14], b'4');
    }
}
