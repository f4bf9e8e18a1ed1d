//! Tests of the whole master core, driven through its one door.

mod authority;
mod completed;
mod constraints;
mod laws;
mod reconciling;
mod refusals;
mod render;
mod transcripts;
mod world;
