//! Replicas in groups: simulated under faults, and on a real disk.

mod rocks;
mod simulated;
mod tally;
mod world;
