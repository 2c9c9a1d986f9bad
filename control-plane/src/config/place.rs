//! Where in the file a value stands, so that an error can say the line.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{ConfigError, ENV_PREFIX, ENV_SPLIT};

/// The file's text, for finding lines.
pub(super) struct Source<'a> {
    path: PathBuf,
    text: &'a str,
    root: DeTable<'a>,
}

impl<'a> Source<'a> {
    pub(super) fn parse(path: &Path, text: &'a str) -> Result<Self, ConfigError> {
        let root = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            ConfigError::Invalid(vec![format!("{}:{line}: {}", path.display(), error.message())])
        })?;
        Ok(Self {
            path: path.to_owned(),
            text,
            root: root.into_inner(),
        })
    }

    /// One line for each fault figment found: the file's line, or the variable.
    pub(super) fn explain(&self, error: figment::Error) -> Vec<String> {
        error
            .into_iter()
            .map(|fault| {
                let key = fault.path.join(".");
                let from_env = fault
                    .metadata
                    .as_ref()
                    .is_some_and(|m| m.name.contains("environment"));
                let kind = fault.kind.to_string();
                if from_env {
                    format!("{}: {kind}", variable(&key))
                } else {
                    self.line(&key, &kind)
                }
            })
            .collect()
    }

    /// `control.toml:12: http.listen: why`. A value the environment set is named by its variable.
    pub(super) fn line(&self, key: &str, why: &str) -> String {
        let name = variable(key);
        if std::env::var_os(&name).is_some() {
            return format!("{name}: {why}");
        }
        format!("{}:{}: {key}: {why}", self.path.display(), self.find(key))
    }

    /// The line of the key, or of the nearest table around it, or 1.
    fn find(&self, key: &str) -> usize {
        let mut line = 1;
        let mut table = &self.root;
        for part in key.split('.') {
            let (name, index) = match part.split_once('[') {
                Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
                None => (part, None),
            };
            let Some((found, mut value)) = table.iter().find(|(k, _)| k.get_ref().as_ref() == name) else {
                break;
            };
            line = line_of(self.text, found.span().start);
            if let (Some(index), DeValue::Array(items)) = (index, value.get_ref())
                && let Some(item) = items.get(index)
            {
                line = line_of(self.text, item.span().start);
                value = item;
            }
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        line
    }
}

fn variable(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.to_uppercase().replace('.', ENV_SPLIT))
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].matches('\n').count() + 1
}
