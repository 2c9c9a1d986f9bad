//! STUN and TURN on the wire.
