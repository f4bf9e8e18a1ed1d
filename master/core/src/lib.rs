//! The master without IO: registry, leader, allocator

pub mod registry;
