//! What is decided, without IO, clock or randomness.

pub mod schedule;
