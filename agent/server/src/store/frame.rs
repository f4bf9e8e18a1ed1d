//! Frames of the log: a mark, a length, a checksum, records.
//!
//! A frame is written and synced before the next one is begun. So only the last can be torn, and a broken frame with
//! a whole one behind it is damage that must not be taken for the end of the log.

/// Begins every frame, so that frames are found again behind a broken one.
const MARK: [u8; 4] = *b"sTo\x01";
const HEAD: usize = 12;

/// Adds a frame with `payload` to `bytes`.
pub(super) fn append(bytes: &mut Vec<u8>, payload: &[u8]) {
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

/// What a log holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Log<'a> {
    pub(super) payloads: Vec<&'a [u8]>,
    /// Where the last whole frame ends; what follows is torn.
    pub(super) end: usize,
}

/// The offset of a broken frame that is not the last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage(pub(super) usize);

/// Takes a log apart.
pub(super) fn read(bytes: &[u8]) -> Result<Log<'_>, Damage> {
    let mut log = Log { payloads: Vec::new(), end: 0 };
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
            let whole = read(&bytes[..cut]).expect("only the end is missing");
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
            match read(&bytes) {
                Ok(whole) => prop_assert!(at >= last && whole.end == last),
                Err(Damage(offset)) => prop_assert!(at < last && offset <= at),
            }
        }
    }

    #[test]
    fn an_empty_log_and_zeroes_from_a_lost_write_are_no_damage() {
        assert_eq!(read(&[]), Ok(Log { payloads: Vec::new(), end: 0 }));
        let mut bytes = log(&[vec![1, 2, 3]]);
        let end = bytes.len();
        bytes.extend_from_slice(&[0; 4096]);
        assert_eq!(read(&bytes).map(|log| log.end), Ok(end));
    }
}
