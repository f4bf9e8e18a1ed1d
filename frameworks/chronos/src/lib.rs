//! The batch scheduler: decides which job runs when.
//!
//! [`core`] holds what is decided: schedules, jobs, runs, and one passive machine with inputs and effects.

pub mod core;
pub mod limits;
