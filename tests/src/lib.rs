//! Harness and builders for integration, browser and host tests

pub mod control;
pub mod postgres;
pub mod redis;
