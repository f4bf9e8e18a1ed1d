//! A replicated state machine: raft over RocksDB, generic over the machine
