//! Tests of the whole master core, driven through its one door.

mod laws;
mod render;
mod transcripts;
mod world;
