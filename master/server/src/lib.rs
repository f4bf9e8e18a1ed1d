//! The master process: driver loop, HTTP routes, peers, metrics
