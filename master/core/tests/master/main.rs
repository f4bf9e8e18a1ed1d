//! Tests of the whole master core, driven through its one door.

mod laws;
mod transcripts;
mod world;
