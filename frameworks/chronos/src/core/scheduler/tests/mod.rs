//! The scheduler in conversation: transcripts of what it is told and does, and what holds wherever it is killed.

mod answers;
mod arrays;
mod dependencies;
mod fate;
mod inherited;
mod kills;
mod lost;
mod missed;
mod policies;
mod preemption;
mod requests;
mod retries;
mod runs;
mod turns;
mod workflows;
mod world;
