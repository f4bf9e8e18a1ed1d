//! Bytes to messages and back: the only crate that knows serde and protobuf.
//!
//! The messages are generated from the files below `proto/`. The short names here are those the rest of the
//! program uses: [`v1`] for the shared messages of the Mesos v1 API, one module for each of its APIs, [`link`]
//! for the frames between agent and master, [`registry`] for what the masters replicate, and one more for each
//! package of `proto/internal`.

// Generated from descriptors: neither the lints of hand-written code nor the wish for documentation apply.
#[allow(clippy::all, clippy::use_self, unreachable_pub, rustdoc::all)]
#[rustfmt::skip]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/tree.rs"));
}

pub use generated::google::protobuf::Duration;
pub use generated::mesos::v1;
pub use generated::mesos::v1::{agent, allocator, executor, maintenance, master, quota, scheduler};
pub use generated::stoa::*;

mod error;
pub mod json;
pub mod marathon;
pub mod media;
pub mod protobuf;
pub mod recordio;
#[cfg(test)]
mod roundtrip;
pub mod state;

pub use error::{DecodeError, Problem, SyntaxError};
pub use media::Codec;

/// A message of the public API, which has both encodings.
pub trait Message: protobuf::Described + json::Json {}

impl<M: protobuf::Described + json::Json> Message for M {}
