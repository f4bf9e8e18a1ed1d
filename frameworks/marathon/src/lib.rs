//! The app supervisor: Marathon v2 REST over a pure reconciler

pub mod core;
pub mod limits;
pub mod supervisor;
