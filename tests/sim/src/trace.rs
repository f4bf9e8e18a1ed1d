//! A run as one number: two runs that did the same have the same.

/// A hash of everything that was noted, in order. The same in every process, unlike the standard library's.
#[derive(Debug, Default)]
pub struct Trace(u64);

impl Trace {
    /// Takes a number in.
    pub fn note(&mut self, value: u64) {
        let mut x = (self.0 ^ value).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = x ^ (x >> 31);
    }

    /// Takes a text in.
    pub fn text(&mut self, text: &str) {
        for bytes in text.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            self.note(u64::from_le_bytes(word));
        }
        self.note(text.len() as u64);
    }

    /// The number so far.
    pub fn value(&self) -> u64 {
        self.0
    }
}
