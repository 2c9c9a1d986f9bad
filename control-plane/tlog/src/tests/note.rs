//! Signed notes and checkpoints.

use proptest::prelude::*;

use crate::note::{NoteError, Signer, Verifier};
use crate::{Checkpoint, CheckpointError, Hash};

/// The example of Go's `golang.org/x/mod/sumdb/note`, whose format this is.
#[test]
fn a_note_of_another_implementation_verifies() {
    let verifier: Verifier = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
        .parse()
        .unwrap();
    let note = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let (text, at) = verifier.verify(note).unwrap();
    assert!(text.ends_with("your problem is.\n") && at.is_none());
    assert_eq!(
        verifier.verify(&note.replace("cryptography", "steganography")),
        Err(NoteError::NotSigned)
    );
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: "medmesh/test/audit/1".into(),
        size: 7,
        root: Hash([3; 32]),
    }
}

#[test]
fn a_checkpoint_is_its_logs_alone() {
    let signer = Signer::from_seed("medmesh/test/audit/1", &[1; 32]).unwrap();
    let other = Signer::from_seed("medmesh/test/audit/1", &[2; 32]).unwrap();
    let elsewhere = Signer::from_seed("medmesh/test/audit/2", &[1; 32]).unwrap();
    let note = checkpoint().sign(&signer);
    let open = |note: &str, signer: &Signer| Checkpoint::open(note, signer.verifier());
    assert_eq!(open(&note, &signer), Ok(checkpoint()));
    assert_eq!(open(&note, &other), Err(NoteError::NotSigned.into()));
    assert_eq!(open(&note, &elsewhere), Err(NoteError::NotSigned.into()));
    let foreign = checkpoint().sign(&elsewhere);
    assert_eq!(open(&foreign, &elsewhere), Err(CheckpointError::OtherLog));
    let key = signer.verifier().to_string();
    assert_eq!(key.parse::<Verifier>().as_ref(), Ok(signer.verifier()));
    assert!(key.replace("/1+", "/2+").parse::<Verifier>().is_err());
    assert!(Signer::from_seed("a name", &[1; 32]).is_err());
}

#[test]
fn a_witness_signs_beside_the_log() {
    let log = Signer::from_seed("medmesh/test/audit/1", &[1; 32]).unwrap();
    let witness = Signer::witness_from_seed("witness.example", &[9; 32]).unwrap();
    let note = checkpoint().sign(&log);
    assert_eq!(witness.verifier().verify(&note), Err(NoteError::NotSigned));
    let note = note + &witness.cosign(&checkpoint().to_string(), 1_700_000_000);
    let verifier: Verifier = witness.verifier().to_string().parse().unwrap();
    assert_eq!(verifier.verify(&note).unwrap().1, Some(1_700_000_000));
    assert_eq!(Checkpoint::open(&note, log.verifier()), Ok(checkpoint()));
}

#[test]
fn sizes_have_one_form() {
    for size in ["07", "+7", "-1", "", "9223372036854775807", "seven"] {
        let text = format!("log\n{size}\n{}\n", Hash([3; 32]));
        assert_eq!(
            Checkpoint::parse(&text),
            Err(CheckpointError::Malformed),
            "{size}"
        );
    }
    assert!(Checkpoint::parse(&format!("log\n0\n{}\n", Hash::empty())).is_ok());
}

proptest! {
    #[test]
    fn a_bent_note_is_refused(at: prop::sample::Index, bit in 0_u8..7) {
        let signer = Signer::from_seed("medmesh/test/audit/1", &[1; 32]).unwrap();
        let note = checkpoint().sign(&signer);
        let mut bytes = note.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(bent) = String::from_utf8(bytes) {
            prop_assert_ne!(Checkpoint::open(&bent, signer.verifier()), Ok(Checkpoint { size: 8, ..checkpoint() }));
            // Base64 has no second spelling here, so any change of a byte is a change of content.
            prop_assert!(Checkpoint::open(&bent, signer.verifier()).is_err());
        }
    }

    #[test]
    fn garbage_never_panics(text: String) {
        let signer = Signer::from_seed("log", &[1; 32]).unwrap();
        let _ = signer.verifier().verify(&text);
        let _ = text.parse::<Verifier>();
        let _ = Checkpoint::parse(&text);
    }
}
