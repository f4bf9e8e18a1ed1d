//! The smallest machine worth replicating: a set of numbers, each written once, with some weight to fill the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use replica::{Chunks, Corrupt, Index, Machine};

#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) seen: Arc<BTreeSet<u64>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) number: u64,
    pub(crate) weight: usize,
}

/// Order-dependent over the sorted set, so equal sets and nothing else give equal digests.
pub(crate) fn digest(seen: &BTreeSet<u64>) -> u64 {
    seen.iter().fold(0xcbf2_9ce4_8422_2325, |hash, number| {
        (hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
    })
}

fn number(bytes: &[u8]) -> Result<u64, Corrupt> {
    let head = bytes.first_chunk().ok_or_else(|| Corrupt::new("note", "too short"))?;
    Ok(u64::from_be_bytes(*head))
}

impl Machine for Tally {
    type Command = Note;
    type Outcome = usize;
    type Frozen = Arc<BTreeSet<u64>>;

    fn encode(note: &Note) -> Vec<u8> {
        let mut bytes = note.number.to_be_bytes().to_vec();
        bytes.resize(8 + note.weight, 0xaa);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Note, Corrupt> {
        Ok(Note { number: number(bytes)?, weight: bytes.len() - 8 })
    }

    fn apply(&mut self, _: Index, note: Note) -> usize {
        Arc::make_mut(&mut self.seen).insert(note.number);
        self.seen.len()
    }

    fn freeze(&self) -> Self::Frozen {
        self.seen.clone()
    }

    fn chunks(frozen: &Self::Frozen) -> Chunks<'_> {
        let numbers: Vec<u64> = frozen.iter().copied().collect();
        let chunks: Vec<Vec<u8>> = numbers
            .chunks(16)
            .map(|some| some.iter().flat_map(|number| number.to_be_bytes()).collect())
            .collect();
        Box::new(chunks.into_iter())
    }

    fn thaw(chunks: &mut dyn Iterator<Item = Result<Vec<u8>, Corrupt>>) -> Result<Self, Corrupt> {
        let mut seen = BTreeSet::new();
        for chunk in chunks {
            for bytes in chunk?.chunks(8) {
                seen.insert(number(bytes)?);
            }
        }
        Ok(Self { seen: Arc::new(seen) })
    }

    fn digest(&self) -> u64 {
        digest(&self.seen)
    }
}
