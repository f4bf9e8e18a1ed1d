//! A cluster of real processes on loopback, for tests that do what users do and break what breaks.
//!
//! `Cluster` starts roles on ports of its own, each in a folder below one temporary directory, and ends by pid whatever
//! it started, also when a test fails. Nothing sleeps to wait: `wait::until` asks again until a deadline.

pub mod chronos;
pub mod cluster;
pub mod faults;
pub mod guide;
pub mod load;
pub mod process;
pub mod records;
pub mod scheduler;
pub mod site;
pub mod sse;
pub mod state;
pub mod tasks;
pub mod wait;

pub use ports;
