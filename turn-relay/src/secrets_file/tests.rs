use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn said(error: &SecretsFileError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("turn.secrets");
    (directory, path)
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_newest_epoch_is_in_force_wherever_it_stands() {
    let secrets = parse(&format!("# rotation of May\n\n3 {A}\n4\t{A}\n")).unwrap();
    assert_eq!(secrets.epochs(), [4, 3]);
}

#[test]
fn errors_name_the_line_and_not_the_secret() {
    for (text, expected) in [
        (format!("3 {A}\nx {A}"), "line 2: the epoch"),
        (format!("\n{A}"), "line 2: not"),
        ("1 short".to_owned(), "line 1: a secret needs"),
        (format!("1 {A}\n1 {A}"), "line 2: epoch 1"),
        (format!("1 {A}\n2 {A}\n3 {A}"), "more than two"),
        (String::new(), "no secret"),
    ] {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains(A) && !error.contains("short"), "{error}");
    }
}

#[test]
fn a_file_is_read_only_if_not_everybody_can() {
    let (_directory, path) = place();
    assert!(said(&read(&path).unwrap_err()).starts_with("cannot read "));
    for (mode, may) in [(0o600, true), (0o640, true), (0o604, false), (0o602, false)] {
        write(&path, &format!("1 {A}\n"), mode);
        assert_eq!(read(&path).is_ok(), may, "{mode:o}");
    }
    write(&path, &"#\n".repeat(10_000), 0o600);
    assert!(said(&read(&path).unwrap_err()).contains("too long"));
    write(&path, &format!("1 {A}\n2 short\n"), 0o600);
    let error = said(&read(&path).unwrap_err());
    assert!(error.ends_with("line 2: a secret needs 32 characters"), "{error}");
    assert!(!error.contains(A) && !error.contains("short"), "{error}");
}

#[test]
fn a_secret_is_rotated_in_two_steps_and_each_is_one_rename() {
    let (directory, path) = place();
    assert_eq!(rotate(&path).unwrap(), [1]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    let first = fs::read_to_string(&path).unwrap();
    assert!(matches!(
        retire(&path).unwrap_err(),
        SecretsFileError::NothingOlder(_)
    ));
    assert_eq!(
        rotate(&path).unwrap(),
        [2, 1],
        "the old one stays in force beside it"
    );
    let both = fs::read_to_string(&path).unwrap();
    assert!(both.starts_with(&first));
    assert!(matches!(
        rotate(&path).unwrap_err(),
        SecretsFileError::TwoAlready(_)
    ));
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        both,
        "refused: nothing is touched"
    );
    assert_eq!(retire(&path).unwrap(), [2]);
    let second = fs::read_to_string(&path).unwrap();
    assert_eq!(format!("{first}{second}"), both);
    let secret = |text: &str| text.split_once(' ').unwrap().1.trim().to_owned();
    assert_ne!(secret(&first), secret(&second));
    assert!(secret(&second).len() >= SECRET_CHARACTERS_MIN);
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn what_an_operator_wrote_around_them_stays() {
    let (_directory, path) = place();
    write(&path, &format!("# of the north\n7 {A}\n\n# last"), 0o640);
    assert_eq!(rotate(&path).unwrap(), [8, 7]);
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with(&format!("# of the north\n7 {A}\n\n# last\n8 ")),
        "the rest is as it was"
    );
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640,
        "its readers still can"
    );
    retire(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("# of the north\n\n# last\n8 ") && !text.contains(A),
        "only the older one went"
    );
}

#[test]
fn a_faulty_file_is_neither_rotated_nor_retired() {
    let (_directory, path) = place();
    for (text, mode) in [
        (format!("1 {A}\nx"), 0o600),
        (format!("1 {A}\n"), 0o644),
        (format!("1 {A}\n2 {A}\n3 {A}"), 0o600),
    ] {
        write(&path, &text, mode);
        assert!(rotate(&path).is_err() && retire(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn a_changed_file_is_told_once_and_so_is_a_fault() {
    let (_directory, path) = place();
    write(&path, &format!("1 {A}\n"), 0o600);
    let (mut file, secrets) = SecretsFile::open(&path).unwrap();
    assert_eq!(secrets.epochs(), [1]);
    assert!(file.look().unwrap().is_none());
    write(&path, &format!("1 {A}\n2 {B}\n"), 0o600);
    assert_eq!(file.look().unwrap().unwrap().epochs(), [2, 1]);
    assert!(file.look().unwrap().is_none());
    write(&path, "half", 0o600);
    assert!(file.look().is_err());
    assert!(file.look().unwrap().is_none(), "the same fault is no news");
    fs::remove_file(&path).unwrap();
    assert!(file.look().is_err(), "another is");
    write(&path, &format!("1 {A}\n2 {B}\n"), 0o600);
    assert!(
        file.look().unwrap().is_none(),
        "it is again as it was, and that is in force"
    );
    write(&path, "half", 0o600);
    assert!(file.look().is_err(), "after a good look a fault is news again");
}
