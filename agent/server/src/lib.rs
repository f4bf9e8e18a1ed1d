//! The agent process: link to the master, checkpoints on disk, containers, HTTP routes
