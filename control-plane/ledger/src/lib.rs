//! Pure Raft state machine: the fleet's intent
