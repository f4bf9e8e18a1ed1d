//! The master without IO: registry, leader, allocator
