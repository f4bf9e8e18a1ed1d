//! What is decided, without IO, clock or randomness.

pub mod answer;
pub mod book;
pub mod constraint;
pub mod container;
pub mod definition;
pub mod fair;
pub mod hook;
pub mod indexes;
pub mod job;
pub mod message;
pub mod millis;
pub mod parts;
pub mod refusal;
pub mod retry;
pub mod run;
pub mod schedule;
pub mod scheduler;
pub mod step;
pub mod stored;
pub mod unreachable;
