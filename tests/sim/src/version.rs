//! Two versions of the program: this one, and the next, which says more than this one knows.
//!
//! The next version has the code of this one. What it writes has members that this one does not know: in its records on disk
//! and in the key-value space, in messages, and, once every master is of that version, in the commands of the log.

use std::cell::Cell;

use master::machine::Registrar as Now;
use master_core::registry::{Command, Import, LEVEL, Outcome, Registry};
use prost::Message;
use replica::wire::{Frame, HEADER_BYTES};
use replica::{Chunks, Corrupt, Index, Machine, PeerMessage};

/// The level of the next version.
pub const NEXT: u32 = LEVEL + 1;

/// Field 2000 with the number one: a member that no message has yet.
const MEMBER: [u8; 3] = [0x80, 0x7d, 0x01];

thread_local! {
    /// What the program knows whose turn it is, and what its group's log may hold.
    static TURN: Cell<(u32, u32)> = const { Cell::new((LEVEL, LEVEL)) };
}

/// A program that knows `level` has its turn, and the log of its group may hold what programs of level `group` write.
pub(crate) fn turn(level: u32, group: u32) {
    TURN.set((level, group));
}

/// The registry, as the master that has its turn sees it.
#[derive(Debug, Default)]
pub struct Registrar(Now);

impl Machine for Registrar {
    type Command = Command;
    type Outcome = Outcome;
    type Frozen = Registry;

    fn encode(command: &Command) -> Vec<u8> {
        let mut bytes = Now::encode(command);
        let (known, group) = TURN.get();
        if known.min(group) >= NEXT {
            bytes.extend_from_slice(&MEMBER);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Command, Corrupt> {
        let (known, _) = TURN.get();
        if known < NEXT {
            return Now::decode(bytes);
        }
        let bytes = bytes.strip_suffix(&MEMBER).unwrap_or(bytes);
        Command::from_bytes_knowing(bytes, known)
            .map_err(|error| Corrupt::new("committed command", error.to_string()))
    }

    fn apply(&mut self, index: Index, command: Command) -> Outcome {
        self.0.apply(index, command)
    }

    fn freeze(&self) -> Registry {
        self.0.freeze()
    }

    fn chunks(frozen: &Registry) -> Chunks<'_> {
        Now::chunks(frozen)
    }

    fn thaw(chunks: &mut dyn Iterator<Item = Result<Vec<u8>, Corrupt>>) -> Result<Self, Corrupt> {
        let (known, _) = TURN.get();
        if known < NEXT {
            return Now::thaw(chunks).map(Self);
        }
        let bad =
            |error: master_core::registry::Corrupt| Corrupt::new("registry snapshot", error.to_string());
        let mut import = Import::knowing(known);
        for chunk in chunks {
            import.push(&chunk?).map_err(bad)?;
        }
        Ok(Self(import.finish().map_err(bad)?.into()))
    }

    fn digest(&self) -> u64 {
        self.0.digest()
    }
}

/// A message of the next version, as this one reads it: through its bytes, with a member more.
pub(crate) fn read_by_this<M: Message + Default>(message: &M) -> Result<M, String> {
    let mut bytes = message.encode_to_vec();
    bytes.extend_from_slice(&MEMBER);
    M::decode(&*bytes).map_err(|error| error.to_string())
}

/// Records of the next version on a disk.
pub(crate) fn with_member(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend_from_slice(&MEMBER);
    bytes
}

/// A JSON document of the next version.
pub(crate) fn document(value: &[u8]) -> Vec<u8> {
    match value.strip_prefix(b"{") {
        Some(rest) if rest.len() > 1 => [b"{\"ofTheNextVersion\":[1],", rest].concat(),
        _ => value.to_vec(),
    }
}

/// A message to another master, as it is read there: with a member more in what the consensus library says, which is the
/// last part of the frame and has its length in front.
pub(crate) fn peer(message: PeerMessage) -> Result<PeerMessage, String> {
    /// Kind, sender and receiver, after the frame's own length.
    const BEFORE: usize = HEADER_BYTES + 1 + 8 + 8;
    const RAFT: u8 = 2;
    let mut bytes = Frame::Message(message).encode();
    if bytes[HEADER_BYTES] == RAFT {
        for at in [0, BEFORE] {
            let length = bytes[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
            bytes[at..at + 4].copy_from_slice(&(length + 3).to_be_bytes());
        }
        bytes.extend_from_slice(&MEMBER);
    }
    match Frame::decode(&bytes[HEADER_BYTES..]) {
        Ok(Frame::Message(message)) => Ok(message),
        Ok(_) => Err("it is read as something else".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use master_core::registry::LevelCommand;

    use super::*;

    #[test]
    fn this_version_refuses_what_only_the_next_one_knows_and_reads_the_rest() {
        let raise = Command::Level(LevelCommand { level: NEXT });
        let mine = Command::Level(LevelCommand { level: LEVEL });
        turn(NEXT, NEXT);
        let (raised, extended) = (Registrar::encode(&raise), Registrar::encode(&mine));
        assert_eq!(Registrar::decode(&extended), Ok(mine.clone()));
        turn(LEVEL, LEVEL);
        assert_eq!(Registrar::decode(&Registrar::encode(&mine)), Ok(mine));
        for (bytes, word) in [(Now::encode(&raise), "start a newer version"), (extended, "does not know")] {
            let sentence = Registrar::decode(&bytes).expect_err("of the next version").to_string();
            assert!(sentence.contains(word), "{sentence}");
        }
        assert_ne!(raised, Now::encode(&raise));
    }

    #[test]
    fn documents_are_those_of_before_with_a_member_more() {
        let document: serde_json::Value =
            serde_json::from_slice(&document(br#"{"id":"/a"}"#)).expect("still JSON");
        assert_eq!(document["id"], "/a");
        assert_eq!(super::document(b"{}"), b"{}");
        assert_eq!(super::document(b"text"), b"text");
    }
}
