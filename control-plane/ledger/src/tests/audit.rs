//! What the voters witness cannot be forked or rolled back.

use medmesh_base::{AuditId, ClinicId};
use medmesh_tlog::note::Signer;
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
