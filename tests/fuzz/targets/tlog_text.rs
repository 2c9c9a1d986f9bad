//! What others read of a log, and what it reads of its witnesses: checkpoints, notes and their
//! signatures, keys, tiles, frontiers, notices.
#![no_main]

use libfuzzer_sys::fuzz_target;
use medmesh_fuzz::input::Input;
use medmesh_tlog::note::{Signer, Verifier};
use medmesh_tlog::notice::{Notice, successors};
use medmesh_tlog::proof::{verify_consistency, verify_inclusion};
use medmesh_tlog::{Checkpoint, Frontier, Hash, leaf_hash, tile};

/// Of the log and of its witness.
const SEEDS: [[u8; 32]; 2] = [[1; 32], [2; 32]];

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let what = input.byte() % 8;
    let text = String::from_utf8_lossy(input.0);
    match what {
        0 => {
            if let Ok(checkpoint) = Checkpoint::parse(&text) {
                assert_eq!(Checkpoint::parse(&checkpoint.to_string()), Ok(checkpoint));
            }
        }
        1 => {
            if let Ok(verifier) = text.parse::<Verifier>() {
                assert_eq!(verifier.to_string(), text);
            }
        }
        2 => notes(&text),
        3 => {
            if let Some(entries) = tile::entries(input.0) {
                assert_eq!(tile::bundle(entries), input.0);
            }
        }
        4 => {
            let size = u64::from_be_bytes(input.array());
            if let Ok(frontier) = Frontier::from_bytes(size, input.0) {
                assert_eq!((frontier.size(), frontier.to_bytes()), (size, input.0.to_vec()));
                let _ = frontier.root();
            }
        }
        5 => proofs(input),
        6 => {
            if let Ok(notice) = Notice::parse(&text) {
                assert_eq!(Notice::parse(&notice.to_string()), Ok(notice));
            }
        }
        _ => {
            let log = Signer::from_seed("log.test", &SEEDS[0]).expect("a good name");
            let notices: Vec<String> = text.split('\0').map(str::to_owned).collect();
            let keys = successors(log.verifier(), &notices);
            assert!(keys.len() <= notices.len() + 1);
        }
    }
});

/// Hashes anybody can make up prove nothing about a root nobody made.
fn proofs(mut input: Input<'_>) {
    let (old, new) = (
        u64::from_be_bytes(input.array()),
        u64::from_be_bytes(input.array()),
    );
    let text = String::from_utf8_lossy(input.0);
    let mut proof: Vec<Hash> = text.lines().filter_map(|line| line.parse().ok()).collect();
    proof.extend(
        input
            .0
            .chunks_exact(32)
            .filter_map(|hash| Some(Hash(hash.try_into().ok()?))),
    );
    let (leaf, one, other) = (
        leaf_hash(b"leaf"),
        leaf_hash(b"one root"),
        leaf_hash(b"other root"),
    );
    assert!(verify_inclusion(&leaf, old, new, &proof, &one).is_err());
    assert!(verify_consistency(old, &one, new, &other, &proof).is_err());
}

/// A note that was not signed here is refused, whoever it says it is by; one that was is read as it was.
fn notes(text: &str) {
    let [log, witness] = SEEDS;
    let log = Signer::from_seed("log.test", &log).expect("a good name");
    let witness = Signer::witness_from_seed("witness.test", &witness).expect("a good name");
    for verifier in [log.verifier(), witness.verifier()] {
        assert!(verifier.verify(text).is_err(), "nobody signed this");
    }
    assert!(Checkpoint::open(text, log.verifier()).is_err());
    let note = log.sign(text);
    if let Ok((read, at)) = log.verifier().verify(&note) {
        assert_eq!((read, at), (text, None));
        let cosigned = format!("{note}{}", witness.cosign(text, 7));
        if let Ok((read, at)) = witness.verifier().verify(&cosigned) {
            assert_eq!((read, at), (text, Some(7)));
        }
    }
}
