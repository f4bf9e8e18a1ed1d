//! The master without IO: registry, leader, allocator

pub mod alloc;
pub mod authority;
pub mod call;
pub mod constraints;
pub mod effect;
pub mod input;
pub mod leader;
pub mod limits;
pub mod master;
pub mod profile;
pub mod refusal;
pub mod registry;
pub mod render;
pub mod report;
pub mod settings;
pub mod snapshot;
