//! The credential of Binding requests, from its file.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use medmesh_turn::ShortTermCredential;
use medmesh_turn::secrets_file::{SECRET_CHARACTERS_MIN, private_text};

/// Reads a file with one line, `username password`; the error does not say what is on it.
pub(crate) fn credential(path: &Path) -> anyhow::Result<ShortTermCredential> {
    let text = private_text(path).context("turn.binding_credential_file")?;
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [username, password] = parts[..] else {
        bail!("in {}: not `username password`", path.display())
    };
    ensure!(
        password.len() >= SECRET_CHARACTERS_MIN,
        "in {}: a password needs {SECRET_CHARACTERS_MIN} characters",
        path.display()
    );
    Ok(ShortTermCredential {
        username: username.to_owned(),
        password: password.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

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
}
