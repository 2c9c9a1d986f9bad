//! What programs not written here need: got or built once, however many tests ask for it at the same time.

use std::fs::{File, create_dir_all, read_to_string, write};
use std::path::Path;

/// Makes `dir` as `wanted` says (the list of packages, the sources) unless it was made so before.
///
/// Others who want it meanwhile wait, in this process and in any other; what was left half done is made again.
///
/// # Panics
/// When `make` does, or when `dir` cannot be written to.
pub(crate) fn prepared(dir: &Path, wanted: &str, make: impl FnOnce()) {
    create_dir_all(dir).expect("it is ours");
    let lock = File::create(dir.with_extension("lock")).expect("its parent is ours");
    lock.lock().expect("the file system has locks");
    if read_to_string(dir.join(MADE)).ok().as_deref() != Some(wanted) {
        make();
        create_dir_all(dir).expect("it is ours");
        write(dir.join(MADE), wanted).expect("it is ours");
    }
}

/// The text of a file that is part of the sources.
///
/// # Panics
/// When it is not.
pub(crate) fn source(path: &Path) -> String {
    read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Says in a directory what it was made of; written last.
const MADE: &str = ".made-of";

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread::scope;

    use super::*;

    #[test]
    fn it_is_made_once_for_all_and_again_for_other_wishes_or_when_it_was_left_half_done() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("packages");
        let made = AtomicUsize::new(0);
        let make = || {
            // Nobody else is at it, and nobody uses what is not ready.
            assert!(File::create_new(dir.join("begun")).is_ok());
            made.fetch_add(1, Ordering::SeqCst);
        };
        scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    prepared(&dir, "one", make);
                    assert!(dir.join("begun").exists());
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
        std::fs::remove_file(dir.join("begun")).unwrap();
        prepared(&dir, "two", make);
        assert_eq!(made.load(Ordering::SeqCst), 2);
        let given_up = std::panic::catch_unwind(|| prepared(&dir, "three", || panic!("no network")));
        assert!(given_up.is_err());
        std::fs::remove_file(dir.join("begun")).unwrap();
        prepared(&dir, "three", make);
        assert_eq!(made.load(Ordering::SeqCst), 3);
    }
}
