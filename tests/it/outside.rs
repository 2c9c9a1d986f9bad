//! A proof of the audit log, checked by a program that was not written here: the code of Go's
//! checksum database, as it comes with the Go toolchain.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use medmesh_api_types::audit::AuditProof;
use medmesh_tests::outside::go_program;

use crate::audit::leaf_of_a_login;
use crate::clinic::World;

/// The checker.
pub(crate) fn checker() -> PathBuf {
    go_program(Path::new(env!("CARGO_TARGET_TMPDIR")), "proof")
}

pub(crate) fn check(proof: &AuditProof, key: &str) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), serde_json::to_vec(proof).unwrap()).unwrap();
    Command::new(checker())
        .arg(file.path())
        .arg(key)
        .output()
        .unwrap()
}

/// Another base64 of the same length.
fn bend(text: &str) -> String {
    let at = text.len() / 2;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_check_a_proof_and_refuse_a_changed_one() {
    let world = World::new().await;
    // So that the tree has more than one leaf, and the proof a path.
    for login in ["admin", "colleague", "patient"] {
        world.signed_in(login).await;
    }
    let (_, proof) = leaf_of_a_login(&world).await;
    assert!(!proof.path.is_empty());
    let output = check(&proof, &proof.key);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.starts_with("proved: leaf"),
        "{said}"
    );

    let mut lies = Vec::new();
    let mut lie = |name: &'static str, change: &dyn Fn(&mut AuditProof)| {
        let mut changed = proof.clone();
        change(&mut changed);
        assert_ne!(changed, proof, "{name}");
        lies.push((name, changed));
    };
    lie("event", &|proof| proof.event = bend(&proof.event));
    lie("salt", &|proof| proof.salt = bend(&proof.salt));
    lie("place", &|proof| proof.leaf_index ^= 1);
    lie("path", &|proof| proof.path[0] = bend(&proof.path[0]));
    lie("shorter path", &|proof| drop(proof.path.pop()));
    lie("longer path", &|proof| proof.path.push(proof.path[0].clone()));
    lie("size", &|proof| {
        let size = proof.checkpoint.lines().nth(1).unwrap().to_owned();
        proof.checkpoint = proof.checkpoint.replacen(&size, &format!("{size}0"), 1);
    });
    lie("root", &|proof| {
        let root = proof.checkpoint.lines().nth(2).unwrap().to_owned();
        proof.checkpoint = proof.checkpoint.replacen(&root, &bend(&root), 1);
    });
    lie("signature", &|proof| {
        let signature = proof
            .checkpoint
            .lines()
            .last()
            .unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .to_owned();
        proof.checkpoint = proof.checkpoint.replacen(&signature, &bend(&signature), 1);
    });
    for (name, changed) in lies {
        assert!(
            !check(&changed, &proof.key).status.success(),
            "a changed {name} passed"
        );
    }
    let stranger = medmesh_tlog::note::Signer::from_seed("medmesh/other", &[1; 32]).unwrap();
    assert!(!check(&proof, &stranger.verifier().to_string()).status.success());
    world.node.stop().await;
}
