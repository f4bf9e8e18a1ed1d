//! Stories told to a supervisor in a small world: a store, a master and agents that do as they are told.

mod changes;
mod drains;
mod failover;
mod failures;
mod journal;
mod launches;
mod random;
mod upgrades;
mod waits;
mod world;
