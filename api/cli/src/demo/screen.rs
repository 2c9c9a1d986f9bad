//! What a person sees while the system comes up.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Redraw of the spinner.
const TICK: Duration = Duration::from_millis(100);

/// Prints steps as they are done; a spinner on a terminal, plain lines elsewhere.
#[derive(Debug)]
pub(super) struct Screen {
    is_terminal: bool,
}

/// A step that is under way.
pub(super) struct Step {
    spinner: Option<ProgressBar>,
    what: String,
    since: Instant,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            is_terminal: std::io::stdout().is_terminal(),
        }
    }

    /// Begins a step.
    pub(super) fn step(&self, what: &str) -> Step {
        let spinner = self.is_terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(
                ProgressStyle::with_template("  {spinner} {msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.set_message(what.to_owned());
            bar.enable_steady_tick(TICK);
            bar
        });
        Step {
            spinner,
            what: what.to_owned(),
            since: Instant::now(),
        }
    }

    /// Prints a line.
    pub(super) fn line(&self, text: &str) {
        // Whoever closed our output does not want to read it.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

impl Step {
    /// Ends a step that worked.
    pub(super) fn done(self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        let seconds = self.since.elapsed().as_secs_f32();
        let _ = writeln!(std::io::stdout(), "  ✓ {} ({seconds:.1} s)", self.what);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
