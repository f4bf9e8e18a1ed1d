//! The agent without IO: tasks, status updates, checkpoints, health
