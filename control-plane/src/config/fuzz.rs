//! What the fuzzer drives of the configuration.
//!
//! Compiled for tests and with `--cfg fuzzing` only.

use std::path::Path;

use super::{Config, ConfigError};

/// Reads `data` as a control node's file: a fault names the file and a line that is in it, or a variable.
pub fn files(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Err(ConfigError::Invalid(faults)) = Config::from_text(Path::new("control.toml"), text) else {
        return;
    };
    assert!(!faults.is_empty());
    let lines = text.matches('\n').count() + 1;
    for fault in faults {
        let line = fault
            .strip_prefix("control.toml:")
            .and_then(|rest| rest.split(':').next());
        let line = line.and_then(|line| line.parse::<usize>().ok());
        assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "{fault}");
    }
}
