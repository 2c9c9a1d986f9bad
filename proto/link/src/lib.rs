//! QUIC sessions with mutual TLS: identity, stream classes, gRPC over them, datagrams, backoff
