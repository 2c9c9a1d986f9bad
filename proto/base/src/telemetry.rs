//! How a process speaks: JSON log lines on stderr, Prometheus text on request.

use prometheus::{Encoder as _, Registry, TextEncoder};
use tracing_subscriber::EnvFilter;

/// Form of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// Short text, for a developer's terminal.
    Text,
}

/// Starts logging to stderr. `filter` follows `EnvFilter` (`info,medmesh_edge=debug`);
/// the environment's `MEDMESH_LOG` wins over it. A second call changes nothing.
pub fn init(filter: &str, format: LogFormat) {
    let filter = std::env::var("MEDMESH_LOG").unwrap_or_else(|_| filter.to_owned());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // An error means a subscriber is already there, which in tests is the normal case.
    let _ = match format {
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init(),
        LogFormat::Text => builder.compact().try_init(),
    };
}

/// From now on a panic is a line of the log that says where, and not what: its message may hold
/// what the code was working on. Slicing a text in the middle of a letter, for one, quotes the text.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, thread = thread.name().unwrap_or("unnamed"), "panicked");
    }));
}

/// The registry as Prometheus text, with its content type.
#[must_use]
pub fn render(registry: &Registry) -> (String, &'static str) {
    let mut text = Vec::new();
    // Encoding into memory fails only for a metric without samples, which gather() leaves out.
    let _ = TextEncoder::new().encode(&registry.gather(), &mut text);
    (
        String::from_utf8(text).unwrap_or_default(),
        "text/plain; version=0.0.4; charset=utf-8",
    )
}
