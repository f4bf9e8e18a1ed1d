//! The scheduler in conversation: transcripts of what it is told and does, and what holds wherever it is killed.

mod arrays;
mod dependencies;
mod fate;
mod kills;
mod missed;
mod policies;
mod requests;
mod runs;
mod workflows;
mod world;
