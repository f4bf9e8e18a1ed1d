//! The native launcher with real processes. What the machine does not allow is skipped with a printed reason.

mod basics;
mod ends;
mod exhaustion;
mod probes;
mod recovery;
mod rig;
