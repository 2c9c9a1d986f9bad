//! Typed REST client of the public API
