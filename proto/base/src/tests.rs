use std::time::Duration;

use crate::drain::Drain;
use crate::{ParticipantId, Phi, ProblemCode, Region, RoomId};

#[test]
fn ids_survive_text_bytes_and_json() {
    let id = RoomId::generate();
    assert_eq!(id.to_string().parse::<RoomId>().unwrap(), id);
    assert_eq!(RoomId::from_slice(&id.to_vec()).unwrap(), id);
    let json = serde_json::to_string(&id).unwrap();
    assert_eq!(serde_json::from_str::<RoomId>(&json).unwrap(), id);
    assert!("room".parse::<RoomId>().is_err());
    assert!(ParticipantId::from_slice(&[0; 15]).is_err());
}

#[test]
fn health_data_does_not_print() {
    let name = Phi::new("Ada Lovelace".to_owned());
    assert_eq!(
        format!("{name} {name:?} {:?}", Some(&name)),
        "[phi] [phi] Some([phi])"
    );
    assert_eq!(serde_json::to_string(&name).unwrap(), "\"Ada Lovelace\"");
}

#[test]
fn regions_are_labels() {
    assert!("eu-central".parse::<Region>().is_ok());
    for bad in ["", "EU", "eu central", "é", &"a".repeat(33)] {
        assert!(bad.parse::<Region>().is_err(), "{bad}");
    }
    assert!(serde_json::from_str::<Region>("\"EU\"").is_err());
}

#[test]
fn problem_codes_are_distinct_errors() {
    let mut codes: Vec<_> = ProblemCode::ALL.iter().map(|c| c.code()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), ProblemCode::ALL.len());
    assert!(ProblemCode::ALL.iter().all(|c| (400..600).contains(&c.status())));
}

#[tokio::test]
async fn a_drain_waits_for_its_tasks_and_counts_the_stuck() {
    let drain = Drain::new();
    let inner = drain.clone();
    drain.spawn(async move { inner.stopping().await });
    assert_eq!(drain.finish(Duration::from_secs(5)).await, 0);

    let drain = Drain::new();
    drain.spawn(std::future::pending::<()>());
    assert_eq!(drain.finish(Duration::from_millis(1)).await, 1);
}
