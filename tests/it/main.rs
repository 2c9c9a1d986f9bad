//! One binary for everything that needs more than one crate.
#![allow(clippy::unwrap_used, reason = "an integration test is a test throughout")]

mod audit;
mod canary;
mod clinic;
mod cosigned;
mod fleet;
mod fuzzed;
mod house;
mod keys;
mod kms;
mod manuals;
mod nodes;
mod objects;
mod opening;
mod outside;
mod postgres_tls;
mod redis_tls;
mod restored;
mod tampered;
