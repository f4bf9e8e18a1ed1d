//! From what the supervisor knows to the documents that readers get: pure, one file a document.

pub(super) mod app;
pub(super) mod deployment;
pub(super) mod drain;
pub(super) mod group;
pub(super) mod queue;
pub(super) mod task;
