//! Containers: launching, limiting, watching, fetching, probing
