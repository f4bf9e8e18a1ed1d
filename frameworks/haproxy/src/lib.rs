//! The HAProxy sidecar: an event feed in, a configured balancer out
