//! The secrets file: one `epoch secret` a line, the newest epoch in force, the one before it
//! still accepted. Blank lines and lines that begin with `#` are skipped.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use medmesh_turn::{Secret, Secrets};

/// Shorter secrets can be found from one captured password.
const SECRET_BYTES_MIN: usize = 32;
/// Longer files are no secrets file.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// Reads the file; the error names the line, never what is on it.
pub(crate) fn read(path: &Path) -> anyhow::Result<Secrets> {
    let shown = path.display();
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {shown} (turn.secrets_file)"))?;
    ensure!(
        metadata.permissions().mode() & 0o007 == 0,
        "{shown}: everybody may read it; chmod o= it"
    );
    ensure!(
        metadata.len() <= FILE_BYTES_MAX,
        "{shown}: too long for a secrets file"
    );
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {shown} (turn.secrets_file)"))?;
    parse(&text).with_context(|| format!("in {shown}"))
}

fn parse(text: &str) -> anyhow::Result<Secrets> {
    let mut found: Vec<(u64, &str)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((epoch, secret)) = line.split_once(char::is_whitespace) else {
            bail!("line {number}: not `epoch secret`");
        };
        let Ok(epoch) = epoch.parse() else {
            bail!("line {number}: the epoch is not a number")
        };
        let secret = secret.trim();
        ensure!(
            secret.len() >= SECRET_BYTES_MIN,
            "line {number}: a secret needs {SECRET_BYTES_MIN} characters"
        );
        ensure!(
            found.iter().all(|(other, _)| *other != epoch),
            "line {number}: epoch {epoch} is there twice"
        );
        found.push((epoch, secret));
    }
    found.sort_unstable_by_key(|(epoch, _)| std::cmp::Reverse(*epoch));
    let mut found = found
        .into_iter()
        .map(|(epoch, secret)| Secret::new(epoch, secret));
    let Some(current) = found.next() else {
        bail!("no secret in it")
    };
    let previous = found.next();
    ensure!(
        found.next().is_none(),
        "more than two epochs; a third would outlive its rotation"
    );
    Ok(Secrets::new(current, previous))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn the_newest_epoch_is_in_force_wherever_it_stands() {
        let secrets = parse(&format!("# rotation of May\n\n3 {A}\n4\t{A}\n")).unwrap();
        assert_eq!(secrets.epochs(), [4, 3]);
    }

    #[test]
    fn errors_name_the_line_and_not_the_secret() {
        for (text, said) in [
            (format!("3 {A}\nx {A}"), "line 2: the epoch"),
            (format!("\n{A}"), "line 2: not"),
            ("1 short".to_owned(), "line 1: a secret needs"),
            (format!("1 {A}\n1 {A}"), "line 2: epoch 1"),
            (format!("1 {A}\n2 {A}\n3 {A}"), "more than two"),
            (String::new(), "no secret"),
        ] {
            let error = format!("{:#}", parse(&text).unwrap_err());
            assert!(error.starts_with(said), "{error}");
            assert!(!error.contains(A) && !error.contains("short"), "{error}");
        }
    }
}
