//! The secrets file: one `epoch secret` a line, the newest epoch in force, the one before it
//! still accepted. Blank lines and lines that begin with `#` are skipped.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use medmesh_turn::{Secret, Secrets, ShortTermCredential};

/// Shorter secrets can be found from one captured password.
const SECRET_BYTES_MIN: usize = 32;
/// Longer files are no secrets file.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// Reads the secrets file; the error names the line, never what is on it.
pub(crate) fn read(path: &Path) -> anyhow::Result<Secrets> {
    let text = private(path, "turn.secrets_file")?;
    parse(&text).with_context(|| format!("in {}", path.display()))
}

/// Reads a file with one line, `username password`; the error does not say what is on it.
pub(crate) fn credential(path: &Path) -> anyhow::Result<ShortTermCredential> {
    let text = private(path, "turn.binding_credential_file")?;
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [username, password] = parts[..] else {
        bail!("in {}: not `username password`", path.display())
    };
    ensure!(
        password.len() >= SECRET_BYTES_MIN,
        "in {}: a password needs {SECRET_BYTES_MIN} characters",
        path.display()
    );
    Ok(ShortTermCredential {
        username: username.to_owned(),
        password: password.to_owned(),
    })
}

/// The text of a file that `key` of the configuration names and not everybody may read.
fn private(path: &Path, key: &str) -> anyhow::Result<String> {
    let shown = path.display();
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {shown} ({key})"))?;
    ensure!(
        metadata.permissions().mode() & 0o007 == 0,
        "{shown}: everybody may read it; chmod o= it"
    );
    ensure!(
        metadata.len() <= FILE_BYTES_MAX,
        "{shown}: too long for a secrets file"
    );
    fs::read_to_string(path).with_context(|| format!("cannot read {shown} ({key})"))
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
    fn a_credential_is_one_line_that_only_we_may_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("binding");
        let said = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            credential(&path).map_err(|error| format!("{error:#}"))
        };
        let found = said(&format!("probe {A}\n"), 0o600).unwrap();
        assert_eq!((found.username.as_str(), found.password.as_str()), ("probe", A));
        for (text, mode, wrong) in [
            (format!("probe {A}\n"), 0o604, "everybody may read it"),
            ("probe short".to_owned(), 0o600, "a password needs"),
            (format!("probe {A} more"), 0o600, "not `username password`"),
        ] {
            let error = said(&text, mode).unwrap_err();
            assert!(error.contains(wrong) && !error.contains(A), "{error}");
        }
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
