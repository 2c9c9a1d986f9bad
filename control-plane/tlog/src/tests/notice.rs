//! Notices lead from key to key, and only for those who were named.

use crate::Hash;
use crate::note::Signer;
use crate::notice::{Change, Notice, NoticeError, REASON_BYTES_MAX, is_reason, successors};

fn signer(name: &str, seed: u8) -> Signer {
    Signer::from_seed(name, &[seed; 32]).unwrap()
}

fn notice(change: Change, origin: &str, after: &Signer) -> Notice {
    Notice {
        change,
        origin: origin.to_owned(),
        old_size: 9,
        old_root: Hash([9; 32]),
        key: after.verifier().clone(),
        size: 7,
        root: Hash([7; 32]),
        at: 1_700_000_000,
        reason: Some("restored from the backup of Monday".to_owned()),
    }
}

#[test]
fn whoever_believes_a_key_comes_to_those_after_it() {
    let keys = [signer("log", 1), signer("log", 2), signer("log/1", 2)];
    let notices = [
        notice(Change::Key, "log", &keys[1]).sign(&keys[0], &keys[1]),
        notice(Change::Resume, "log", &keys[2]).sign(&keys[1], &keys[2]),
    ];
    for (from, left) in [(0, 3), (1, 2), (2, 1)] {
        assert_eq!(successors(keys[from].verifier(), &notices).len(), left, "{from}");
    }
    let stranger = signer("log", 5);
    assert_eq!(successors(stranger.verifier(), &notices).len(), 1);
    let read = Notice::open(&notices[1], keys[1].verifier()).unwrap();
    assert_eq!(read, notice(Change::Resume, "log", &keys[2]));
}

#[test]
fn both_keys_must_have_signed() {
    let (old, new, other) = (signer("log", 1), signer("log", 2), signer("log", 3));
    let announced = notice(Change::Key, "log", &new);
    let good = announced.sign(&old, &new);
    assert!(Notice::open(&good, old.verifier()).is_ok());
    // The one after did not, another did; the one before did not.
    assert!(Notice::open(&announced.sign(&old, &other), old.verifier()).is_err());
    assert!(Notice::open(&announced.sign(&other, &new), old.verifier()).is_err());
    // Of another log.
    let moved = notice(Change::Key, "other", &new).sign(&old, &new);
    assert_eq!(Notice::open(&moved, old.verifier()), Err(NoticeError::Malformed));
    let changed = good.replacen("\n7\n", "\n8\n", 1);
    assert!(Notice::open(&changed, old.verifier()).is_err());
}

#[test]
fn reasons_are_one_line() {
    assert!(is_reason("ticket 4711"));
    for bad in [
        "",
        "-",
        " padded",
        "two\nlines",
        &"x".repeat(REASON_BYTES_MAX + 1),
    ] {
        assert!(!is_reason(bad), "{bad:?}");
    }
}
