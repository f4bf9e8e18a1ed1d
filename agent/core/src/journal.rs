//! The bytes of an agent's checkpoint: frames with a mark, a length, a checksum and records, and how far they are safe.
//!
//! A frame is written and synced before the next one is begun. So only the last can be torn, and a broken frame with
//! a whole one behind it is damage that must not be taken for the end of the log. That alone would take damage in the
//! last frame for a torn write, and forget what was acknowledged: so after each sync a [`Mark`] says how far the log is
//! on the disk for certain. It is written without a sync of its own, so that after a power cut it may be an older one,
//! which says less and nothing wrong.
//!
//! The files are the driver's; what is in them, and what an answer of the disk means, is decided here.

use crate::checkpoint::{self, Record, Unreadable};

/// Begins every frame, so that frames are found again behind a broken one.
const MARK: [u8; 4] = *b"sTo\x01";
const HEAD: usize = 12;

/// Bytes of a [`Mark`].
pub const MARK_BYTES: usize = 20;

/// What a checkpoint holds.
#[derive(Debug)]
pub struct Checkpoint {
    /// In the order in which they were written.
    pub records: Vec<Record>,
    /// Bytes of whole frames. What follows is a torn write that nobody was told about: to be cut off.
    pub end: usize,
}

/// Why a checkpoint cannot be used. The agent must not start from what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A frame that was synced is broken or missing.
    #[error("damaged at byte {0}, where records were safe once")]
    Damaged(usize),
    /// The log of this generation was safe once, and is not there.
    #[error("the log of generation {0} is missing")]
    Missing(u64),
    /// Whole frames with records that do not decode.
    #[error(transparent)]
    Records(#[from] Unreadable),
}

/// How far a log is on the disk for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Which log: they are counted as compactions replace them.
    pub generation: u64,
    /// So many of its bytes.
    pub end: u64,
}

impl Mark {
    /// As it is written.
    pub fn encode(self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[..8].copy_from_slice(&self.generation.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.end.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..16]);
        bytes[16..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// What [`Mark::encode`] gave; the mark of an empty log for anything else. It is no promise of its own: without it,
    /// damage in the last frame is taken for a torn write.
    pub fn decode(bytes: &[u8]) -> Self {
        let read = || {
            let (generation, rest) = bytes.split_first_chunk::<8>()?;
            let (end, rest) = rest.split_first_chunk::<8>()?;
            let sum = u32::from_le_bytes(rest.try_into().ok()?);
            let mark = Self { generation: u64::from_le_bytes(*generation), end: u64::from_le_bytes(*end) };
            (crc32fast::hash(&bytes[..16]) == sum).then_some(mark)
        };
        read().unwrap_or_default()
    }
}

/// Takes the newest log apart, with the mark that was found beside it.
///
/// # Errors
/// See [`Unusable`].
pub fn read(bytes: &[u8], generation: u64, mark: Mark) -> Result<Checkpoint, Unusable> {
    if mark.generation > generation {
        return Err(Unusable::Missing(mark.generation));
    }
    let log = frames(bytes).map_err(|Damage(at)| Unusable::Damaged(at))?;
    if mark.generation == generation && (log.end as u64) < mark.end {
        return Err(Unusable::Damaged(log.end));
    }
    let mut records = Vec::new();
    for payload in &log.payloads {
        records.extend(checkpoint::decode(payload)?);
    }
    Ok(Checkpoint { records, end: log.end })
}

/// A log that is written to: how much of it is safe.
#[derive(Debug, Clone, Copy)]
pub struct Journal {
    generation: u64,
    end: u64,
    /// Bytes after the last compaction.
    base: u64,
}

impl Journal {
    /// Goes on with what [`read`] found.
    pub fn new(generation: u64, checkpoint: &Checkpoint) -> Self {
        let end = checkpoint.end as u64;
        Self { generation, end, base: end }
    }

    /// How far the log is safe.
    pub fn mark(&self) -> Mark {
        Mark { generation: self.generation, end: self.end }
    }

    /// Which log is written.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A frame was written and synced, or that failed. Whether the log is longer than `least` and twice what its last
    /// compaction left: it should be compacted.
    ///
    /// # Errors
    /// The disk's, and then the agent must end: after a failed sync nobody knows what the disk holds, and to ask again
    /// would only seem to help, as the system may have dropped what it could not write.
    pub fn appended<E>(&mut self, frame: &[u8], done: Result<(), E>, least: u64) -> Result<bool, E> {
        #[cfg(feature = "mutants")]
        let done = if mutant::planted("agent-goes-on-after-a-failed-sync") { Ok(()) } else { done };
        done?;
        self.end += frame.len() as u64;
        Ok(self.end > least.max(self.base * 2))
    }

    /// The log of the next generation, with so many bytes, is in place and synced.
    pub fn compacted(&mut self, bytes: u64) {
        self.generation += 1;
        self.end = bytes;
        self.base = bytes;
    }
}

/// Adds a frame with `payload` to `bytes`.
pub fn append(bytes: &mut Vec<u8>, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("batches are bounded far below 4 GiB").to_le_bytes();
    bytes.extend_from_slice(&MARK);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&checksum(length, payload).to_le_bytes());
    bytes.extend_from_slice(payload);
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// The frames of a log.
#[derive(Debug, PartialEq, Eq)]
struct Frames<'a> {
    payloads: Vec<&'a [u8]>,
    /// Where the last whole frame ends; what follows is torn.
    end: usize,
}

/// The offset of a broken frame that is not the last.
#[derive(Debug, PartialEq, Eq)]
struct Damage(usize);

fn frames(bytes: &[u8]) -> Result<Frames<'_>, Damage> {
    let mut log = Frames { payloads: Vec::new(), end: 0 };
    while let Some(payload) = frame(&bytes[log.end..]) {
        log.payloads.push(payload);
        log.end += HEAD + payload.len();
    }
    if any_frame(bytes.get(log.end + 1..).unwrap_or_default()) { Err(Damage(log.end)) } else { Ok(log) }
}

/// The payload of the frame at the start of `bytes`.
fn frame(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(&MARK)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let payload = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    #[cfg(feature = "mutants")]
    if mutant::planted("torn-records-are-taken-for-whole") {
        return Some(payload);
    }
    (checksum(*length, payload) == u32::from_le_bytes(*sum)).then_some(payload)
}

fn any_frame(bytes: &[u8]) -> bool {
    let marks = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    marks.map(|(at, _)| at).any(|at| frame(&bytes[at..]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn log(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        payloads.iter().for_each(|payload| append(&mut bytes, payload));
        bytes
    }

    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..8)
    }

    proptest! {
        #[test]
        fn a_log_cut_anywhere_keeps_its_whole_frames(payloads in payloads(), cut in any::<prop::sample::Index>()) {
            let bytes = log(&payloads);
            let cut = cut.index(bytes.len() + 1);
            let whole = frames(&bytes[..cut]).expect("only the end is missing");
            let mut ends = payloads.iter().scan(0, |end, payload| {
                *end += HEAD + payload.len();
                Some(*end)
            });
            prop_assert_eq!(whole.payloads.len(), ends.by_ref().take_while(|end| *end <= cut).count());
            prop_assert!(whole.payloads.iter().zip(&payloads).all(|(read, written)| read == written));
        }

        #[test]
        fn a_flipped_byte_is_torn_at_the_end_and_damage_before(
            payloads in payloads(),
            at in any::<prop::sample::Index>(),
            flip in 1..=255u8,
        ) {
            let mut bytes = log(&payloads);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let last = bytes.len() - HEAD - payloads[payloads.len() - 1].len();
            match frames(&bytes) {
                Ok(whole) => prop_assert!(at >= last && whole.end == last),
                Err(Damage(offset)) => prop_assert!(at < last && offset <= at),
            }
        }
    }

    #[test]
    fn an_empty_log_and_zeroes_from_a_lost_write_are_no_damage() {
        assert_eq!(frames(&[]), Ok(Frames { payloads: Vec::new(), end: 0 }));
        let mut bytes = log(&[vec![1, 2, 3]]);
        let end = bytes.len();
        bytes.extend_from_slice(&[0; 4096]);
        assert_eq!(frames(&bytes).map(|log| log.end), Ok(end));
    }

    /// Three records, each in a frame of its own, and where the last frame begins.
    fn three() -> (Vec<u8>, usize) {
        let frames: Vec<Vec<u8>> = (1..=3).map(|n| checkpoint::encode([&Record::Term(n)])).collect();
        let bytes = log(&frames);
        let last = bytes.len() - HEAD - frames[2].len();
        (bytes, last)
    }

    #[test]
    fn damage_in_the_last_frame_is_refused_when_it_was_safe_and_cut_off_when_it_was_not() {
        let (whole, last) = three();
        for at in last..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let torn =
                read(&bytes, 4, Mark { generation: 4, end: last as u64 }).expect("nobody was told of it");
            assert_eq!((torn.records.len(), torn.end), (2, last));
            let safe = Mark { generation: 4, end: whole.len() as u64 };
            assert_eq!(read(&bytes, 4, safe).expect_err("it was safe"), Unusable::Damaged(last));
        }
    }

    #[test]
    fn an_older_mark_says_less_and_a_newer_one_that_a_log_is_missing() {
        let (whole, last) = three();
        let older = Mark { generation: 3, end: 1 << 40 };
        assert_eq!(read(&whole[..last], 4, older).expect("a log since then").records.len(), 2);
        let newer = Mark { generation: 5, end: 0 };
        assert_eq!(read(&whole, 4, newer).expect_err("an older log"), Unusable::Missing(5));
    }

    #[test]
    fn a_mark_with_a_flipped_bit_says_nothing() {
        let mark = Mark { generation: 7, end: 4_711 };
        let bytes = mark.encode();
        assert_eq!(Mark::decode(&bytes), mark);
        for bit in 0..MARK_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Mark::decode(&flipped), Mark::default(), "bit {bit}");
        }
        assert_eq!(Mark::decode(&bytes[..12]), Mark::default());
    }
}
