//! What the voters witness cannot be forked or rolled back.

use medmesh_base::{AuditId, ClinicId};
use medmesh_tlog::note::Signer;
use medmesh_tlog::notice::{Change, Notice};
use medmesh_tlog::proof::consistency;
use medmesh_tlog::tile::Tiles;
use medmesh_tlog::{Checkpoint, Frontier, Hash, leaf_hash};
use proptest::prelude::*;
use uuid::Uuid;

use crate::command::LeafPromise;
use crate::limits::AUDIT_HEADS_KEPT;
use crate::{Command, Refused, Response, State};

const ORIGIN: &str = "medmesh/test/audit/1";

pub(super) fn clinic(number: u64) -> ClinicId {
    ClinicId::from_uuid(Uuid::from_u64_pair(4, number))
}

fn tree(size: u64, salt: u64) -> (Hash, Tiles) {
    let (mut frontier, mut tiles) = (Frontier::new(), Tiles::default());
    for n in 0..size {
        let leaf = leaf_hash(&[n.to_be_bytes(), salt.to_be_bytes()].concat());
        frontier.append(leaf, |level, index, hash| tiles.push(level, index, hash));
    }
    (frontier.root(), tiles)
}

pub(super) fn head(size: u64, salt: u64, proof: Vec<Hash>) -> Command {
    let checkpoint = Checkpoint {
        origin: ORIGIN.to_owned(),
        size,
        root: tree(size, salt).0,
    };
    let signer = Signer::from_seed(ORIGIN, &[1; 32]).unwrap();
    Command::AuditHead {
        clinic: clinic(1),
        note: checkpoint.sign(&signer),
        proof,
        now: size,
    }
}

fn grown(old: u64, new: u64) -> Command {
    head(new, 0, consistency(old, new, &tree(new, 0).1).unwrap_or_default())
}

#[test]
fn a_head_follows_the_one_before_it() {
    let mut state = State::default();
    assert_eq!(state.apply(&head(3, 0, vec![])).response, Response::Done);
    let held = state.clone();
    assert_eq!(
        state.apply(&head(3, 0, vec![])).response,
        Response::Done,
        "the same again"
    );
    let not = Response::Refused(Refused::AuditNotExtended { size: 3 });
    for bad in [
        head(3, 1, vec![]),
        head(2, 0, vec![]),
        head(7, 0, vec![]),
        head(7, 1, consistency(3, 7, &tree(7, 1).1).unwrap()),
        head(7, 1, consistency(3, 7, &tree(7, 0).1).unwrap()),
    ] {
        assert_eq!(state.apply(&bad).response, not);
        assert_eq!(state, held);
    }
    assert_eq!(state.apply(&grown(3, 7)).response, Response::Done);
    assert_eq!(state.audit_logs[&clinic(1)].newest.size, 7);
    let garbage = Command::AuditHead {
        clinic: clinic(2),
        note: "not a note".into(),
        proof: vec![],
        now: 1,
    };
    assert_eq!(
        state.apply(&garbage).response,
        Response::Refused(Refused::Invalid("audit head".into()))
    );
}

fn notice(change: Change, from: u64) -> String {
    let signer = Signer::from_seed(ORIGIN, &[1; 32]).unwrap();
    let notice = Notice {
        change,
        origin: ORIGIN.to_owned(),
        old_size: 0,
        old_root: Hash::empty(),
        key: signer.verifier().clone(),
        size: from,
        root: tree(from, 0).0,
        at: 1,
        reason: None,
    };
    notice.sign(&signer, &signer)
}

/// Going on from `from` leaves, under this name, when `held` are witnessed.
fn resume(from: u64, salt: u64, held: u64, origin: &str) -> Command {
    let checkpoint = Checkpoint {
        origin: origin.to_owned(),
        size: from,
        root: tree(from, salt).0,
    };
    let signer = Signer::from_seed(origin, &[1; 32]).unwrap();
    Command::AuditResume {
        clinic: clinic(1),
        note: checkpoint.sign(&signer),
        proof: consistency(from, held, &tree(held, 0).1).unwrap_or_default(),
        notice: notice(Change::Resume, from),
        now: 50,
    }
}

#[test]
fn a_log_goes_on_from_a_beginning_of_what_was_witnessed_and_says_so() {
    let mut state = State::default();
    for size in [3, 7, 20] {
        let held = state.audit_logs.get(&clinic(1)).map_or(0, |log| log.newest.size);
        assert_eq!(state.apply(&grown(held, size)).response, Response::Done);
    }
    let again = format!("{ORIGIN}#1");
    let held = state.clone();
    for bad in [
        // Of other leaves; more than was witnessed; under the old name, or one too far.
        resume(12, 1, 20, &again),
        resume(21, 0, 20, &again),
        resume(12, 0, 20, ORIGIN),
        resume(12, 0, 20, &format!("{ORIGIN}#2")),
    ] {
        assert!(
            matches!(state.apply(&bad).response, Response::Refused(_)),
            "{bad:?}"
        );
        assert_eq!(state, held);
    }
    assert_eq!(state.apply(&resume(12, 0, 20, &again)).response, Response::Done);
    crate::invariant::check(&state, &held);
    let log = &state.audit_logs[&clinic(1)];
    assert_eq!((log.newest.size, log.origin.as_str()), (12, again.as_str()));
    assert_eq!(
        log.earlier.iter().map(|head| head.size).collect::<Vec<_>>(),
        [3, 7]
    );
    assert_eq!(log.notices[0].left, Some(held.audit_logs[&clinic(1)].newest));
    // What follows extends that, under that name, and nothing else does.
    assert!(matches!(
        state.apply(&grown(12, 15)).response,
        Response::Refused(_)
    ));
    let grown_again = |salt| {
        let checkpoint = Checkpoint {
            origin: again.clone(),
            size: 15,
            root: tree(15, salt).0,
        };
        Command::AuditHead {
            clinic: clinic(1),
            note: checkpoint.sign(&Signer::from_seed(&again, &[1; 32]).unwrap()),
            proof: consistency(12, 15, &tree(15, salt).1).unwrap(),
            now: 60,
        }
    };
    assert!(matches!(
        state.apply(&grown_again(1)).response,
        Response::Refused(_)
    ));
    assert_eq!(state.apply(&grown_again(0)).response, Response::Done);
    assert_eq!(state.audit_logs[&clinic(1)].generation(), 1);
}

#[test]
fn keys_follow_one_another() {
    let mut state = State::default();
    let rotate = |epoch| Command::AuditKeyRotate {
        clinic: clinic(1),
        epoch,
        notice: notice(Change::Key, u64::from(epoch)),
        now: 9,
    };
    let invalid = |response| matches!(response, Response::Refused(Refused::Invalid(_)));
    assert!(invalid(state.apply(&rotate(1)).response), "without a log");
    assert_eq!(state.apply(&head(3, 0, vec![])).response, Response::Done);
    assert!(invalid(state.apply(&rotate(2)).response));
    assert_eq!(state.apply(&rotate(1)).response, Response::Done);
    assert_eq!(state.apply(&rotate(1)).response, Response::Done, "the same again");
    assert!(invalid(state.apply(&rotate(3)).response));
    assert_eq!(state.apply(&rotate(2)).response, Response::Done);
    assert_eq!(state.apply(&grown(3, 5)).response, Response::Done);
    let log = &state.audit_logs[&clinic(1)];
    assert_eq!((log.key_epoch, log.notices.len(), log.generation()), (2, 2, 0));
    assert_eq!(State::decode(&state.encode()), Ok(state));
}

#[test]
fn alarms_stay() {
    let mut state = State::default();
    let alarm = Command::AuditAlarm {
        clinic: clinic(1),
        leaf: LeafPromise {
            id: AuditId::from_uuid(Uuid::from_u64_pair(5, 1)),
            commitment: Hash([1; 32]),
        },
        now: 1,
    };
    assert_eq!(state.apply(&alarm).response, Response::Done);
    assert_eq!(state.apply(&alarm).response, Response::Done);
    assert_eq!(state.audit_alarms.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_growth_is_taken_and_history_is_bounded(steps in proptest::collection::vec(1_u64..9, 1..60)) {
        let mut state = State::default();
        let mut size = 0;
        for step in steps {
            let command = grown(size, size + step);
            size += step;
            prop_assert_eq!(state.apply(&command).response, Response::Done);
            let log = &state.audit_logs[&clinic(1)];
            prop_assert_eq!(log.newest.size, size);
            prop_assert!(log.earlier.len() <= AUDIT_HEADS_KEPT);
            prop_assert!(log.earlier.iter().is_sorted_by(|a, b| a.size < b.size));
        }
    }
}
