//! What the fuzzer drives: bytes in, a panic if a promise is broken.
//!
//! Compiled for tests and with `--cfg fuzzing` only.

pub use crate::kms::fuzz_key_file as key_file;
