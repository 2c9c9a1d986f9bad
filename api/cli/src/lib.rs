//! The SRE's capacity CLI, and the whole system on one machine

pub mod command;
pub mod demo;
pub mod machine;
pub mod operator;
