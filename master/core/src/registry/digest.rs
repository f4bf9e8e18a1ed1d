//! Fingerprints for comparing masters. They find faults, not forgers: nobody chooses records to collide.

use prost::Message;

use super::table::Fact;

/// The fingerprint of a fact: a hash of its record, which carries its kind, key and value.
pub(crate) fn of(fact: &impl Fact) -> u64 {
    bytes(&fact.record().encode_to_vec())
}

/// A hash that is the same on every machine and in every version, unlike the standard library's, whose
/// algorithm is free to change. Eight bytes a step, since values of a mebibyte pass through here.
pub(crate) fn bytes(data: &[u8]) -> u64 {
    let mut state = mix(data.len() as u64);
    let (words, rest) = data.as_chunks::<8>();
    for word in words {
        state = mix(state ^ u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(state ^ u64::from_le_bytes(last))
}

/// The finalizer of splitmix64: a bijection in which each input bit reaches each output bit.
fn mix(value: u64) -> u64 {
    let mut x = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change of the algorithm would make masters of two versions look diverged.
    #[test]
    fn values_are_fixed() {
        assert_eq!(bytes(b""), 12_035_550_249_420_947_055);
        assert_eq!(bytes(b"stoa"), 5_018_870_836_279_983_881);
    }

    #[test]
    fn length_and_every_byte_count() {
        assert_ne!(bytes(b"a"), bytes(b"a\0"));
        assert_ne!(bytes(b"12345678"), bytes(b"12345678\0"));
        let mut data = [7_u8; 33];
        let before = bytes(&data);
        for at in 0..data.len() {
            data[at] ^= 1;
            assert_ne!(bytes(&data), before, "byte {at}");
            data[at] ^= 1;
        }
    }
}
