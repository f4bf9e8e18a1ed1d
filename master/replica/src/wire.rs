//! What peers say to each other, as length-prefixed frames.
//!
//! A stream begins with a [`Hello`] in each direction: node and group are compared before a single message is looked at,
//! because the consensus library ends the process when it meets a peer whose log contradicts its own.

use protobuf::Message as _;
use raft::eraftpb::Message;

use crate::error::{Corrupt, Stranger};
use crate::form::Hello;
use crate::limits;
use crate::pack::{Packer, Unpacker};
use crate::snapshot::SnapshotId;
use crate::types::NodeId;

/// Bytes in front of each frame: its length, big-endian.
pub const HEADER_BYTES: usize = 4;

/// One message of the replication protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerMessage {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) body: Body,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Raft(Box<Message>),
    /// The follower could not get or use the snapshot it was told of.
    SnapshotFailed(SnapshotId),
}

impl PeerMessage {
    /// Who sent it.
    pub fn from(&self) -> NodeId {
        self.from
    }

    /// Whom it is for.
    pub fn to(&self) -> NodeId {
        self.to
    }
}

/// Everything that travels on a peer stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// Who speaks; first in each direction.
    Hello(Hello),
    /// The replication protocol.
    Message(PeerMessage),
    /// Why the other side will not talk to us; last.
    Refused {
        /// The sentence for the operator.
        reason: String,
        /// The group has removed this node, so it should stop for good.
        removed: bool,
    },
}

const HELLO: u8 = 1;
const RAFT: u8 = 2;
const SNAPSHOT_FAILED: u8 = 3;
const REFUSED: u8 = 4;
const REASON_BYTES: usize = 4096;

impl Frame {
    /// The frame with its length in front.
    pub fn encode(&self) -> Vec<u8> {
        let mut packer = Packer::default();
        packer.u32(0);
        match self {
            Self::Hello(hello) => {
                packer.u8(HELLO);
                hello.pack(&mut packer);
            }
            Self::Message(message) => {
                let (kind, payload) = match &message.body {
                    Body::Raft(raft) => {
                        let bytes = raft.write_to_bytes();
                        (RAFT, bytes.expect("a message without required fields always encodes"))
                    }
                    Body::SnapshotFailed(id) => {
                        (SNAPSHOT_FAILED, Packer::default().u64(id.index).u64(id.term).finish())
                    }
                };
                packer.u8(kind).u64(message.from.0).u64(message.to.0).bytes(&payload);
            }
            Self::Refused { reason, removed } => {
                packer.u8(REFUSED).u8(u8::from(*removed)).text(reason);
            }
        }
        let mut bytes = packer.finish();
        let length = u32::try_from(bytes.len() - HEADER_BYTES).expect("frames are bounded far below 4 GiB");
        bytes[..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    /// The length a header announces, refused before anything is allocated for it.
    pub fn length(header: [u8; HEADER_BYTES]) -> Result<usize, Corrupt> {
        let length = u32::from_be_bytes(header) as usize;
        if length == 0 || length > limits::FRAME_BYTES {
            return Err(Corrupt::new(
                "peer frame",
                format!("a length of {length}, allowed are 1 to {}", limits::FRAME_BYTES),
            ));
        }
        Ok(length)
    }

    /// The frame of a payload, header removed.
    pub fn decode(payload: &[u8]) -> Result<Self, Corrupt> {
        let mut unpacker = Unpacker::new("peer frame", payload);
        let frame = match unpacker.u8()? {
            HELLO => return Ok(Self::Hello(Hello::unpack(&mut unpacker)?)),
            kind @ (RAFT | SNAPSHOT_FAILED) => {
                let (from, to) = (NodeId(unpacker.u64()?), NodeId(unpacker.u64()?));
                let payload = unpacker.bytes()?;
                let body = if kind == RAFT {
                    refuse_groups(payload, MESSAGE_FIELDS)?;
                    let raft = Message::parse_from_bytes(payload)
                        .map_err(|error| Corrupt::new("peer message", error.to_string()))?;
                    Body::Raft(Box::new(raft))
                } else {
                    let mut inner = Unpacker::new("snapshot report", payload);
                    Body::SnapshotFailed(SnapshotId { index: inner.u64()?, term: inner.u64()? })
                };
                Self::Message(PeerMessage { from, to, body })
            }
            REFUSED => Self::Refused { removed: unpacker.u8()? != 0, reason: unpacker.text(REASON_BYTES)? },
            kind => return Err(unpacker.bad(format!("kind {kind} is unknown; is the peer a newer program?"))),
        };
        unpacker.end()?;
        Ok(frame)
    }
}

/// Sub-messages by field number: (field, its own sub-messages).
struct Fields(&'static [(u64, Self)]);

const NONE: Fields = Fields(&[]);
const MESSAGE_FIELDS: Fields = Fields(&[(7, NONE), (9, Fields(&[(2, Fields(&[(1, NONE)]))]))]);

/// The generation of the protobuf library that the consensus library speaks recurses without a limit when it skips an
/// unknown group, so that a small frame could overflow the stack. No message of ours contains a group: refuse them first.
fn refuse_groups(mut bytes: &[u8], fields: Fields) -> Result<(), Corrupt> {
    let bad = |why: &str| Corrupt::new("peer message", why);
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let skip = match key & 7 {
            0 => {
                varint(&mut bytes)?;
                0
            }
            1 => 8,
            2 => {
                let length =
                    usize::try_from(varint(&mut bytes)?).map_err(|_| bad("a length beyond memory"))?;
                let inner = bytes.get(..length).ok_or_else(|| bad("ends inside a field"))?;
                if let Some((_, known)) = fields.0.iter().find(|(field, _)| *field == key >> 3) {
                    refuse_groups(inner, Fields(known.0))?;
                }
                length
            }
            5 => 4,
            _ => return Err(bad("contains a group, which no peer sends")),
        };
        bytes = bytes.get(skip..).ok_or_else(|| bad("ends inside a field"))?;
    }
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Corrupt> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let Some((first, rest)) = bytes.split_first() else { break };
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Corrupt::new("peer message", "a number that does not end"))
}

/// Kinds of message a peer of ours sends. Others are local to the library; stepping them would let a stranger start
/// elections or propose through us.
pub(crate) fn admit(message: &Message) -> Result<(), Stranger> {
    use raft::eraftpb::MessageType as Type;
    let known = matches!(
        message.get_msg_type(),
        Type::MsgAppend
            | Type::MsgAppendResponse
            | Type::MsgRequestVote
            | Type::MsgRequestVoteResponse
            | Type::MsgRequestPreVote
            | Type::MsgRequestPreVoteResponse
            | Type::MsgHeartbeat
            | Type::MsgHeartbeatResponse
            | Type::MsgSnapshot
            | Type::MsgTimeoutNow
    );
    // A term of zero marks a local message.
    if known && message.term != 0 { Ok(()) } else { Err(Stranger::Kind) }
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::{Entry, MessageType};

    use super::*;

    fn append() -> Frame {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgAppend);
        message.term = 3;
        let entry = Entry { data: b"command".to_vec().into(), ..Default::default() };
        message.set_entries(vec![entry].into());
        Frame::Message(PeerMessage { from: NodeId(1), to: NodeId(2), body: Body::Raft(Box::new(message)) })
    }

    fn payload(frame: &Frame) -> Vec<u8> {
        let bytes = frame.encode();
        let header = bytes[..HEADER_BYTES].try_into().expect("four bytes");
        assert_eq!(Frame::length(header).expect("own length"), bytes.len() - HEADER_BYTES);
        bytes[HEADER_BYTES..].to_vec()
    }

    #[test]
    fn frames_survive_their_encoding() {
        for frame in [
            append(),
            Frame::Message(PeerMessage {
                from: NodeId(5),
                to: NodeId(6),
                body: Body::SnapshotFailed(SnapshotId { index: 9, term: 2 }),
            }),
            Frame::Refused { reason: "another group".into(), removed: true },
        ] {
            assert_eq!(Frame::decode(&payload(&frame)).expect("own encoding"), frame);
        }
    }

    /// A later program may say more behind what is known here, and an earlier one said less.
    #[test]
    fn greetings_of_other_versions_are_understood() {
        let hello = Hello {
            node: NodeId(5),
            address: "a:1".into(),
            peers: vec!["a:1".into()],
            founding: None,
            level: 7,
        };
        let own = payload(&Frame::Hello(hello.clone()));
        let mut later = own.clone();
        later.extend_from_slice(b"something new");
        assert_eq!(Frame::decode(&later).expect("a later program"), Frame::Hello(hello.clone()));
        let earlier = &own[..own.len() - 4];
        let Frame::Hello(heard) = Frame::decode(earlier).expect("an earlier program") else { panic!() };
        assert_eq!(heard, Hello { level: 1, ..hello });
    }

    #[test]
    fn every_cut_of_a_frame_is_refused_and_none_panics() {
        let whole = payload(&append());
        for length in 0..whole.len() {
            assert!(Frame::decode(&whole[..length]).is_err(), "{length} bytes of {}", whole.len());
        }
    }

    #[test]
    fn oversized_frames_are_refused_by_their_header() {
        assert!(Frame::length(u32::MAX.to_be_bytes()).is_err());
        assert!(Frame::length([0; 4]).is_err());
    }

    #[test]
    fn nested_groups_are_refused_before_the_parser_sees_them() {
        // Field 100, wire type 3, a hundred thousand deep.
        let mut bomb = Vec::new();
        for _ in 0..100_000 {
            bomb.extend_from_slice(&[0xa3, 0x06]);
        }
        let mut inside_entry = vec![0x3a];
        let mut length = bomb.len();
        while length >= 0x80 {
            inside_entry.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        inside_entry.push(length as u8);
        inside_entry.extend_from_slice(&bomb);
        for bytes in [bomb, inside_entry] {
            assert_eq!(
                refuse_groups(&bytes, MESSAGE_FIELDS),
                Err(Corrupt::new("peer message", "contains a group, which no peer sends"))
            );
        }
    }
}
