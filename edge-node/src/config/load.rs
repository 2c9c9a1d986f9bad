//! Reading `edge.toml`, and saying where it is wrong.

use std::fmt;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use medmesh_turn::Network;

use super::{Config, SHARDS_MAX};

/// What our environment variables begin with.
const ENVIRONMENT_PREFIX: &str = "MEDMESH_";
/// Longest edge name: it is a DNS label and a metric label.
const NAME_LENGTH_MAX: usize = 63;

/// A configuration that cannot be used, with the line to look at.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    file: PathBuf,
    line: Option<usize>,
    key: String,
    message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Config {
    /// Reads the file, lets the environment override it, and checks the whole.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line where it has one.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError {
            file: file.to_owned(),
            line: None,
            key: String::new(),
            message: error.to_string(),
        })?;
        Self::from_text(file, &text)
    }

    /// As [`Config::load`], for text that is already in memory.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub fn from_text(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let fault = |line, key: String, message| ConfigError {
            file: file.to_owned(),
            line,
            key,
            message,
        };
        if let Err(error) = text.parse::<toml::Table>() {
            let line = error.span().map(|span| line_at(text, span.start));
            return Err(fault(line, String::new(), error.message().to_owned()));
        }
        let config: Self = Figment::from(Toml::string(text))
            .merge(environment())
            .extract()
            .map_err(|error| {
                let mut path = error.path.clone();
                if let figment::error::Kind::UnknownField(name, _) = &error.kind
                    && path.last() != Some(name)
                {
                    path.push(name.clone());
                }
                let from_environment = error
                    .metadata
                    .as_ref()
                    .is_some_and(|source| source.name.contains("environment"));
                if from_environment {
                    let name = format!("{ENVIRONMENT_PREFIX}{}", path.join("__").to_uppercase());
                    return ConfigError {
                        file: PathBuf::from("environment"),
                        line: None,
                        key: name,
                        message: error.kind.to_string(),
                    };
                }
                fault(line_of(text, &path), path.join("."), error.kind.to_string())
            })?;
        config.check().map_err(|(key, message)| {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            fault(line_of(text, &path), key.to_owned(), message)
        })?;
        Ok(config)
    }

    /// The rules that span fields or that a type cannot say.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let name = &self.edge.name;
        let plain = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if name.is_empty() || name.len() > NAME_LENGTH_MAX || !plain {
            return Err(("edge.name", "1 to 63 of a-z, 0-9 and '-' expected".into()));
        }
        let signalling = &self.signalling;
        match (&signalling.cert_file, &signalling.key_file) {
            (None, None) if !signalling.listen.ip().is_loopback() => {
                return Err((
                    "signalling.listen",
                    "plain HTTP only on loopback; give cert_file and key_file".into(),
                ));
            }
            (Some(_), None) => return Err(("signalling.key_file", "needed beside cert_file".into())),
            (None, Some(_)) => return Err(("signalling.cert_file", "needed beside key_file".into())),
            _ => {}
        }
        if signalling.rate_per_second == 0 || signalling.burst == 0 {
            return Err(("signalling.burst", "a rate of 0 lets nobody in".into()));
        }
        let media = &self.media;
        if media.address.is_unspecified() {
            return Err((
                "media.address",
                "browsers must be able to send to it; not 0.0.0.0 or ::".into(),
            ));
        }
        if media.shards > SHARDS_MAX {
            return Err(("media.shards", format!("at most {SHARDS_MAX}")));
        }
        if media.port_base > 0 && media.port_base.checked_add(media.shard_count() - 1).is_none() {
            return Err(("media.port_base", "the last shard's port would pass 65535".into()));
        }
        if self.turn.enabled && self.turn.listen.is_none() {
            return Err(("turn.listen", "needed when turn.enabled".into()));
        }
        self.check_turn_streams()?;
        if self.turn.port_range.0 > self.turn.port_range.1 {
            return Err(("turn.port_range", "first port is above the last".into()));
        }
        Ok(())
    }
}

impl Config {
    fn check_turn_streams(&self) -> Result<(), (&'static str, String)> {
        let turn = &self.turn;
        for (section, key) in [(&turn.tcp, "turn.tcp.proxies"), (&turn.tls, "turn.tls.proxies")] {
            let proxies = section.iter().flat_map(|section| &section.proxies);
            for text in proxies {
                if let Err(error) = text.parse::<Network>() {
                    return Err((key, format!("{text:?}: {error}")));
                }
            }
        }
        if turn
            .tcp
            .as_ref()
            .is_some_and(|tcp| tcp.cert_file.is_some() || tcp.key_file.is_some())
        {
            return Err((
                "turn.tcp.cert_file",
                "TCP needs no certificate; see [turn.tls]".into(),
            ));
        }
        match &turn.tls {
            Some(tls) if tls.cert_file.is_some() != tls.key_file.is_some() => {
                Err(("turn.tls.key_file", "cert_file and key_file go together".into()))
            }
            Some(tls) if tls.cert_file.is_none() && self.signalling.cert_file.is_none() => Err((
                "turn.tls.cert_file",
                "needed: the signalling has no certificate to share".into(),
            )),
            _ => Ok(()),
        }
    }
}

/// Only names with a section: `MEDMESH_LOG` is the log filter, no section called `log`.
fn environment() -> Env {
    Env::prefixed(ENVIRONMENT_PREFIX)
        .filter(|name| name.as_str().contains("__"))
        .split("__")
}

/// 1-based line of a byte offset.
fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}

/// The line of `section.key`, or of the section when the key is not there.
fn line_of(text: &str, path: &[String]) -> Option<usize> {
    let header_of = |section: &str| {
        let header = format!("[{section}]");
        text.lines()
            .position(|line| line.trim_start().starts_with(&header))
    };
    // The deepest section that is there: `[turn.tls]` before `[turn]`.
    let (depth, header) = (1..=path.len())
        .rev()
        .find_map(|depth| Some((depth, header_of(&path[..depth].join("."))?)))?;
    let Some(key) = path.get(depth) else {
        return Some(header + 1);
    };
    let within = text
        .lines()
        .skip(header + 1)
        .take_while(|line| !line.trim_start().starts_with('['))
        .position(|line| {
            line.split_once('=')
                .is_some_and(|(name, _)| name.trim() == key.as_str())
        });
    Some(within.map_or(header + 1, |index| header + 2 + index))
}
