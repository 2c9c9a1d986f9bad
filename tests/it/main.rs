//! One binary for everything that needs more than one crate.

mod clinic;
mod house;
