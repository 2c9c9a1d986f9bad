//! Where in the file a key stands, so that an error can say the line.

use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

/// The file as it was read.
#[derive(Debug, Default)]
pub(crate) struct Source {
    path: PathBuf,
    text: String,
}

/// What the relay calls a value, and the key it has in the file, where that is another.
const ALIASES: [(&str, &str); 3] = [
    ("turn.ports", "turn.port_range"),
    ("turn.limits.lifetime_max", "turn.limits.lifetime_max_s"),
    ("turn.tls", "turn.tls[0]"),
];

/// The tables of the file.
const TABLES: [&str; 4] = ["turn", "peers", "admin", "log"];

impl Source {
    pub(super) fn new(path: PathBuf, text: String) -> Self {
        Self { path, text }
    }

    /// `turn.toml:12: key: why`, for an error that begins with the key it is about; without a table the key
    /// is one of `[turn]`. An error about nothing in the file stays as it is.
    pub(crate) fn locate(&self, error: &anyhow::Error) -> anyhow::Error {
        let said = format!("{error:#}");
        // Of several keys the first.
        let head = said.split(": ").next().unwrap_or_default();
        let key = head.split(' ').next().unwrap_or_default();
        let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._[]".contains(c);
        let is_prose = key != head && !key.contains('.');
        if key.is_empty() || is_prose || !key.chars().all(is_letter) {
            return anyhow::anyhow!(said);
        }
        let table = key.split(['.', '[']).next().unwrap_or_default();
        let key = match TABLES.contains(&table) {
            true => key.to_owned(),
            false => format!("turn.{key}"),
        };
        let alias = ALIASES.iter().find(|(name, _)| *name == key);
        let key = alias.map_or(key.as_str(), |(_, written)| written);
        let shown = self.path.display();
        match self.line(key) {
            Some(line) => anyhow::anyhow!("{shown}:{line}: {said}"),
            None => anyhow::anyhow!("in {shown}: {said}"),
        }
    }

    /// The line of the key, or of the nearest table around it; `None` where not even its table is there.
    fn line(&self, key: &str) -> Option<usize> {
        let root = DeTable::parse(&self.text).ok()?.into_inner();
        let mut table = &root;
        let mut line = None;
        for part in key.split('.') {
            let (name, index) = match part.split_once('[') {
                Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
                None => (part, None),
            };
            let Some((found, mut value)) = table.iter().find(|(k, _)| k.get_ref().as_ref() == name) else {
                break;
            };
            line = Some(self.line_at(found.span().start));
            if let (Some(index), DeValue::Array(items)) = (index, value.get_ref())
                && let Some(item) = items.get(index)
            {
                line = Some(self.line_at(item.span().start));
                value = item;
            }
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        line
    }

    fn line_at(&self, offset: usize) -> usize {
        self.text[..offset.min(self.text.len())].matches('\n').count() + 1
    }
}
