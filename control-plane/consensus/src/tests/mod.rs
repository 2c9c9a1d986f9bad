//! The log byte by byte, then whole clusters over real links.

mod cluster;
mod harness;
mod log;
