//! Whole masters on loopback, spoken to byte by byte.

mod abuse;
mod agent;
mod alone;
mod authentication;
mod client;
mod group;
mod key_value;
mod legacy;
mod links;
mod logs;
mod maintenance;
mod operator_changes;
mod policy;
mod reconciling;
mod scheduler;
mod state_api;
