//! The embedded KMS.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use medmesh_base::ClinicId;
use zeroize::Zeroizing;

use crate::kms::{Context, FileKms, Kms as _, KmsError, Unlock, Wrapped};
use crate::{DataKey, VaultError};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn context(n: u128) -> Context {
    Context {
        clinic: Some(ClinicId::from_uuid(uuid::Uuid::from_u128(n))),
        version: 1,
    }
}

fn passphrase(text: &str) -> Unlock {
    Unlock::Passphrase(Zeroizing::new(text.into()))
}

#[test]
fn keys_come_back_under_their_context_alone() {
    let dir = tempfile::tempdir().unwrap();
    let unlock = Unlock::credential_file_or_create(&dir.path().join("unlock")).unwrap();
    let kms = FileKms::load_or_create(&dir.path().join("keys"), &unlock).unwrap();
    let (key, wrapped) = block_on(kms.generate(context(1))).unwrap();
    assert_eq!(wrapped.root, "file:1");
    let again = FileKms::load_or_create(&dir.path().join("keys"), &unlock).unwrap();
    let back = block_on(again.unwrap(context(1), &wrapped)).unwrap();
    assert_eq!(back.expose(), key.expose());
    let next = Context {
        version: 2,
        ..context(1)
    };
    for other in [
        context(2),
        next,
        Context {
            clinic: None,
            ..context(1)
        },
    ] {
        assert!(matches!(
            block_on(kms.unwrap(other, &wrapped)),
            Err(KmsError::Refused(_))
        ));
    }
    let cut = Wrapped {
        blob: wrapped.blob[..20].to_vec(),
        ..wrapped.clone()
    };
    let foreign = Wrapped {
        root: "aws:x".into(),
        ..wrapped
    };
    for wrong in [cut, foreign] {
        assert!(matches!(
            block_on(kms.unwrap(context(1), &wrong)),
            Err(KmsError::Refused(_))
        ));
    }
}

#[test]
fn a_rotated_root_reads_the_old_and_other_nodes_follow() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let unlock = Unlock::credential_file_or_create(&dir.path().join("unlock")).unwrap();
    let kms = FileKms::load_or_create(&path, &unlock).unwrap();
    let second_node = FileKms::load_or_create(&path, &unlock).unwrap();
    let (key, old) = block_on(kms.generate(context(1))).unwrap();
    block_on(kms.rotate()).unwrap();
    assert_eq!(block_on(kms.root()).unwrap(), "file:2");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let new = block_on(kms.rewrap(context(1), &old)).unwrap();
    assert_eq!(new.root, "file:2");
    for (node, wrapped) in [(&kms, &old), (&kms, &new), (&second_node, &new)] {
        let back = block_on(node.unwrap(context(1), wrapped)).unwrap();
        assert_eq!(back.expose(), key.expose());
    }
    // A node whose file was not copied yet: later, not never.
    let unknown = Wrapped {
        root: "file:9".into(),
        ..new
    };
    assert!(matches!(
        block_on(kms.unwrap(context(1), &unknown)),
        Err(KmsError::Unavailable(_))
    ));
}

#[test]
fn a_passphrase_opens_what_it_sealed_and_another_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let kms = FileKms::load_or_create(&path, &passphrase("correct horse battery")).unwrap();
    let key = DataKey::generate().unwrap();
    let wrapped = block_on(kms.wrap(context(1), &key)).unwrap();
    let again = FileKms::load_or_create(&path, &passphrase("correct horse battery")).unwrap();
    assert_eq!(
        block_on(again.unwrap(context(1), &wrapped)).unwrap().expose(),
        key.expose()
    );
    let credential = Unlock::Credential(Zeroizing::new(vec![1; 32]));
    for wrong in [passphrase("correct horse batterx"), credential] {
        assert!(matches!(
            FileKms::load_or_create(&path, &wrong),
            Err(VaultError::Malformed(_))
        ));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(
        FileKms::load_or_create(&path, &passphrase("correct horse battery")),
        Err(VaultError::Exposed(_))
    ));
}

#[test]
fn weak_unlocking_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    let write = |text: &str, mode: u32| {
        let _ = fs::remove_file(&path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("too short\n", 0o600);
    assert!(matches!(
        Unlock::passphrase_file(&path),
        Err(VaultError::Malformed(_))
    ));
    assert!(matches!(
        Unlock::credential_file(&path),
        Err(VaultError::Malformed(_))
    ));
    write("a passphrase that is long enough\n", 0o640);
    assert!(matches!(
        Unlock::passphrase_file(&path),
        Err(VaultError::Exposed(_))
    ));
    write("a passphrase that is long enough\n", 0o600);
    assert_eq!(
        format!("{:?}", Unlock::passphrase_file(&path).unwrap()),
        "Passphrase"
    );
}

#[test]
fn a_file_of_a_hundred_root_keys_takes_no_more_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let unlock = Unlock::credential_file_or_create(&dir.path().join("unlock")).unwrap();
    let kms = FileKms::load_or_create(&dir.path().join("keys"), &unlock).unwrap();
    for _ in 1..100 {
        block_on(kms.rotate()).unwrap();
    }
    assert_eq!(
        block_on(kms.rotate()),
        Err(KmsError::Refused(
            "the key file holds 100 root keys, the most".into()
        ))
    );
    assert_eq!(block_on(kms.root()).unwrap(), "file:100");
    let (_, wrapped) = block_on(kms.generate(context(1))).unwrap();
    assert_eq!(wrapped.root, "file:100", "it goes on sealing");
}
