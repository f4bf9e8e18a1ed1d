//! The scheduler in conversation: transcripts of what it is told and does, and what holds wherever it is killed.

mod dependencies;
mod kills;
mod missed;
mod requests;
mod runs;
mod world;
