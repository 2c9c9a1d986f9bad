//! The edge: SFU shards, signalling, embedded TURN, mesh links
