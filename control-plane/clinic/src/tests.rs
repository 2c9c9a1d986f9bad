//! The rules, by example and by property.

use medmesh_base::{AppointmentId, ParticipantId, PersonId, Phi, ProblemCode, RoomId, VisitId};
use proptest::prelude::*;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::*;

const START: OffsetDateTime = datetime!(2026-11-22 15:00 UTC);

fn slot() -> Slot {
    Slot::new(START, START + Duration::minutes(30)).unwrap()
}

fn person() -> PersonRef {
    PersonRef {
        id: PersonId::generate(),
        display_name: Phi::new("Ana Díaz".to_owned()),
    }
}

fn visit() -> Visit {
    let participant = |role| Participant {
        id: ParticipantId::generate(),
        person: person(),
        role,
        state: ParticipantState::Expected,
    };
    Visit {
        id: VisitId::generate(),
        appointment_id: AppointmentId::generate(),
        room_id: RoomId::generate(),
        slot: slot(),
        phase: Phase::Scheduled,
        participants: vec![
            participant(ParticipantRole::Patient),
            participant(ParticipantRole::Clinician),
        ],
        version: Version(1),
    }
}

#[test]
fn addresses() {
    for (text, kept) in [
        (" Ana@Clinic.Example ", "ana@clinic.example"),
        ("a+b@x.y", "a+b@x.y"),
        ("Ü@x", "ü@x"),
    ] {
        assert_eq!(text.parse::<Email>().unwrap().expose(), kept);
    }
    let long = format!("{}@x", "a".repeat(EMAIL_BYTES_MAX));
    for bad in [
        "", "@", "a@", "@b", "a b@c", "a@b@c", "a@.b", "a@b.", "a\n@b", &long,
    ] {
        assert_eq!(bad.parse::<Email>(), Err(Invalid::Email), "{bad}");
    }
}

#[test]
fn names_reasons_and_messages_are_bounded_and_kept_out_of_debug() {
    assert_eq!("  Ana  ".parse::<DisplayName>().unwrap().expose(), "Ana");
    for bad in ["", "   ", "a\tb", &"x".repeat(DISPLAY_NAME_CHARS_MAX + 1)] {
        assert_eq!(bad.parse::<DisplayName>(), Err(Invalid::DisplayName));
    }
    "é".repeat(DISPLAY_NAME_CHARS_MAX).parse::<DisplayName>().unwrap();
    for bad in ["", " ", "a\0b", &"x".repeat(REASON_CHARS_MAX + 1)] {
        assert_eq!(bad.parse::<Reason>(), Err(Invalid::Reason));
    }
    for bad in ["", " \n ", "a\0b", &"x".repeat(MESSAGE_CHARS_MAX + 1)] {
        assert_eq!(bad.parse::<MessageBody>(), Err(Invalid::MessageBody));
    }
    let kept = "  as written\n".parse::<MessageBody>().unwrap();
    assert_eq!(kept.expose(), "  as written\n");
    let shown = format!(
        "{kept:?} {:?} {:?}",
        "Ana".parse::<DisplayName>(),
        "a@b".parse::<Email>()
    );
    assert!(
        !shown.contains("written") && !shown.contains("Ana") && !shown.contains('@'),
        "{shown}"
    );
}

#[test]
fn time_zones_have_a_shape() {
    for good in [
        "UTC",
        "America/New_York",
        "Etc/GMT+5",
        "America/Argentina/ComodRivadavia",
    ] {
        assert_eq!(good.parse::<TimeZone>().unwrap().as_str(), good);
    }
    for bad in ["", "../etc", "a b", "Ünix", "1st"] {
        assert_eq!(bad.parse::<TimeZone>(), Err(Invalid::TimeZone));
    }
}

#[test]
fn roles_are_a_set_of_words() {
    let both: Roles = [Role::Admin, Role::Patient, Role::Admin].into_iter().collect();
    assert_eq!(serde_json::to_string(&both).unwrap(), r#"["patient","admin"]"#);
    assert_eq!(
        serde_json::from_str::<Roles>(r#"["admin","patient"]"#).unwrap(),
        both
    );
    assert!(serde_json::from_str::<Roles>(r#"["root"]"#).is_err());
    assert!(both.contains(Role::Admin) && !both.contains(Role::Clinician) && !both.is_empty());
    for role in Role::ALL {
        assert_eq!(role.as_str().parse::<Role>(), Ok(*role));
        let only: Vec<Role> = Roles::only(*role).into();
        assert_eq!(only, [*role], "every role has a bit of its own");
    }
}

#[test]
fn slots_have_bounds() {
    for (minutes, fits) in [
        (-30, false),
        (0, false),
        (4, false),
        (5, true),
        (480, true),
        (481, false),
    ] {
        assert_eq!(
            Slot::new(START, START + Duration::minutes(minutes)).is_ok(),
            fits,
            "{minutes}"
        );
    }
    let odd = START + Duration::nanoseconds(1_999);
    assert_eq!(
        Slot::new(odd, odd + SLOT_MIN).unwrap().starts_at(),
        START + Duration::microseconds(1)
    );
    assert_eq!(slot().bookable(START + PAST_GRACE), Ok(()));
    assert_eq!(
        slot().bookable(START + PAST_GRACE + Duration::SECOND),
        Err(Refusal::SlotInPast)
    );
    assert_eq!(slot().bookable(START - BOOKING_HORIZON), Ok(()));
    assert_eq!(
        slot().bookable(START - BOOKING_HORIZON - Duration::SECOND),
        Err(Refusal::SlotTooFar)
    );
    let next = Slot::new(slot().ends_at(), slot().ends_at() + SLOT_MIN).unwrap();
    assert!(!slot().overlaps(&next) && !next.overlaps(&slot()) && slot().overlaps(&slot()));
}

#[test]
fn refusals_have_public_codes() {
    for (refusal, code) in [
        (Refusal::NotYours, ProblemCode::Forbidden),
        (Refusal::NotAdmitted, ProblemCode::NotAdmitted),
        (Refusal::SlotInPast, ProblemCode::Unprocessable),
        (Refusal::VisitEnded, ProblemCode::StateConflict),
    ] {
        assert_eq!(refusal.problem(), code);
    }
}

/// Everything anyone can do to a visit.
#[derive(Clone, Copy, Debug)]
enum Step {
    CheckIn(usize),
    Open(usize),
    Admit(usize, usize),
    End(usize),
    Add(usize),
    Presence(usize, bool),
    Move,
    CallOff,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..8_usize;
    prop_oneof![
        3 => who.clone().prop_map(Step::CheckIn),
        3 => who.clone().prop_map(Step::Open),
        3 => (who.clone(), who.clone()).prop_map(|(by, whom)| Step::Admit(by, whom)),
        1 => who.clone().prop_map(Step::End),
        3 => who.clone().prop_map(Step::Add),
        3 => (who, any::<bool>()).prop_map(|(who, connected)| Step::Presence(who, connected)),
        1 => Just(Step::Move),
        1 => Just(Step::CallOff),
    ]
}

/// `who` counts through the participants and one stranger.
fn apply(visit: &Visit, step: Step, guest: &PersonRef, now: OffsetDateTime) -> Result<Visit, Refusal> {
    let stranger = (ParticipantId::generate(), PersonId::generate());
    let pick = |who: usize| {
        let one = visit.participants.get(who % (visit.participants.len() + 1));
        one.map_or(stranger, |one| (one.id, one.person.id))
    };
    match step {
        Step::CheckIn(who) => visit.check_in(pick(who).1, now),
        Step::Open(who) => visit.open(pick(who).1, now),
        Step::Admit(by, whom) => visit.admit(pick(by).1, pick(whom).0),
        Step::End(who) => visit.end(pick(who).1, now),
        Step::Add(by) => visit.add_guest(pick(by).1, ParticipantId::generate(), guest.clone()),
        Step::Presence(who, connected) => Ok(visit.presence(pick(who).0, connected)),
        Step::Move => visit.moved(Slot::new(START, START + Duration::minutes(45)).unwrap()),
        Step::CallOff => visit.called_off(now),
    }
}

fn check_invariants(before: &Visit, after: &Visit, now: OffsetDateTime) {
    let state = after.phase.state();
    assert!(after.participants.len() <= PARTICIPANTS_MAX);
    if after.participants.len() > before.participants.len() {
        assert!(after.seats_held() <= SEATS_MAX, "nobody is asked in to stand");
    }
    assert_eq!((before.id, before.room_id), (after.id, after.room_id));
    let waiting = after
        .participants
        .iter()
        .any(|one| one.state == ParticipantState::Waiting);
    match state {
        VisitState::Scheduled => assert!(!waiting, "somebody waiting makes the visit wait"),
        VisitState::Waiting | VisitState::Open => {}
        VisitState::Ended => assert!(!waiting, "nobody waits for what is over"),
    }
    for one in &after.participants {
        let inside = matches!(one.state, ParticipantState::Admitted | ParticipantState::InCall);
        if one.role == ParticipantRole::Patient && inside {
            assert_eq!(
                state,
                VisitState::Open,
                "a patient is let in only by opening and admitting"
            );
        }
        let may = after.may_join(one.person.id, now).is_ok();
        if may && one.role != ParticipantRole::Clinician {
            assert_eq!(state, VisitState::Open);
            assert!(!matches!(
                one.state,
                ParticipantState::Expected | ParticipantState::Waiting
            ));
        }
        assert!(!(may && state == VisitState::Ended));
    }
    if before.phase.state() == VisitState::Ended {
        assert_eq!(before, after, "what is over stays as it was");
    }
    if before.phase.state() == VisitState::Open {
        assert!(
            matches!(state, VisitState::Open | VisitState::Ended),
            "nothing closes an open visit but its end"
        );
    }
}

proptest! {
    /// Whatever happens in whatever order: the invariants hold, and a step that
    /// was just taken changes nothing when it is taken again.
    #[test]
    fn a_visit_cannot_go_wrong(steps in prop::collection::vec(step(), 1..40)) {
        let now = START - Duration::minutes(5);
        let guests: Vec<PersonRef> = steps.iter().map(|_| person()).collect();
        let mut present = visit();
        for (step, guest) in steps.into_iter().zip(&guests) {
            let Ok(next) = apply(&present, step, guest, now) else { continue };
            check_invariants(&present, &next, now);
            let again = match step {
                // Counts through the participants, of whom there is now one more.
                Step::Add(_) | Step::CallOff => next.clone(),
                _ => apply(&next, step, guest, now).unwrap_or_else(|refusal| panic!("{step:?}: {refusal}")),
            };
            prop_assert_eq!(&again, &next);
            present = next;
        }
    }

    /// Words survive the way through a database.
    #[test]
    fn unknown_words_are_refused(word in "[a-z_]{0,12}") {
        let known = ParticipantState::ALL.iter().any(|state| state.as_str() == word);
        prop_assert_eq!(word.parse::<ParticipantState>().is_ok(), known);
    }
}

#[test]
fn a_visit_carries_six() {
    let mut present = visit();
    let host = present.participants[1].person.id;
    for _ in 2..SEATS_MAX {
        present = present
            .add_guest(host, ParticipantId::generate(), person())
            .unwrap();
    }
    let add = |visit: &Visit| visit.add_guest(host, ParticipantId::generate(), person());
    assert_eq!(add(&present), Err(Refusal::VisitFull));

    // A guest who leaves makes room for one; patient and clinician do not.
    let mut present = present.open(host, START).unwrap();
    for participant in present.participants.clone() {
        present = present.presence(participant.id, true);
    }
    for keeps in [&present.participants[0], &present.participants[1]] {
        assert_eq!(add(&present.presence(keeps.id, false)), Err(Refusal::VisitFull));
    }
    let guest = present.participants[3].clone();
    let left = present.presence(guest.id, false);
    assert!(
        left.may_join(guest.person.id, START).is_ok(),
        "the seat is still theirs to take"
    );
    let next = add(&left).unwrap();
    assert_eq!(add(&next), Err(Refusal::VisitFull));
    assert_eq!(next.may_join(guest.person.id, START), Err(Refusal::VisitFull));
    let other = next.participants[4].id;
    let free = next.presence(other, false);
    assert!(free.may_join(guest.person.id, START).is_ok());
}

#[test]
fn a_visit_does_not_grow_without_end() {
    let mut present = visit();
    let host = present.participants[1].person.id;
    present = present.open(host, START).unwrap();
    for _ in 2..PARTICIPANTS_MAX {
        present = present
            .add_guest(host, ParticipantId::generate(), person())
            .unwrap();
        let who = present.participants.last().unwrap().id;
        present = present.presence(who, true).presence(who, false);
    }
    let next = present.add_guest(host, ParticipantId::generate(), person());
    assert_eq!(next, Err(Refusal::VisitFull));
}

#[test]
fn the_waiting_room_has_hours() {
    let present = visit();
    let patient = present.participants[0].person.id;
    let opens = START - CHECK_IN_LEAD;
    assert_eq!(
        present.check_in(patient, opens - Duration::SECOND),
        Err(Refusal::TooEarly)
    );
    assert_eq!(present.check_in(patient, opens).unwrap().phase, Phase::Waiting);
    let closes = present.closes_at();
    assert_eq!(
        present
            .check_in(patient, closes - Duration::SECOND)
            .unwrap()
            .phase,
        Phase::Waiting
    );
    assert_eq!(present.check_in(patient, closes), Err(Refusal::TooLate));
    let host = present.participants[1].person.id;
    assert_eq!(
        present.check_in(host, START),
        Err(Refusal::NotYours),
        "clinicians do not wait"
    );
}

/// A reload in the middle of a visit, and a late comer.
#[test]
fn who_left_comes_back_without_being_admitted_again() {
    let present = visit();
    let (patient, host) = (present.participants[0].clone(), present.participants[1].person.id);
    let present = present
        .open(host, START)
        .unwrap()
        .check_in(patient.person.id, START)
        .unwrap();
    assert_eq!(
        present.may_join(patient.person.id, START),
        Err(Refusal::NotAdmitted),
        "late comers wait too"
    );
    let present = present.admit(host, patient.id).unwrap();
    let present = present.presence(patient.id, true).presence(patient.id, false);
    assert_eq!(
        present.participant(patient.id).unwrap().state,
        ParticipantState::Left
    );
    assert!(present.may_join(patient.person.id, START).is_ok());
}

#[test]
fn who_listens_or_waits_is_not_idle() {
    let visit = visit();
    let (patient, doctor) = (&visit.participants[0], &visit.participants[1]);
    let closes = visit.closes_at();
    assert_eq!(
        visit.attendance(patient.person.id),
        Attendance::Away,
        "not come yet"
    );

    let waiting = visit.check_in(patient.person.id, START).unwrap();
    let waits = Attendance::Waits { until: closes };
    assert_eq!(waiting.attendance(patient.person.id), waits);
    assert!(waits.is_at(closes - Duration::SECOND) && !waits.is_at(closes));
    assert_eq!(waiting.attendance(doctor.person.id), Attendance::Away);
    assert_eq!(waiting.attendance(PersonId::generate()), Attendance::Away);

    // Having opened it, or been let in, is an act; what follows is theirs to do.
    let open = waiting.open(doctor.person.id, START).unwrap();
    let open = open.admit(doctor.person.id, patient.id).unwrap();
    for person in [patient, doctor] {
        assert_eq!(open.attendance(person.person.id), Attendance::Away);
    }
    let alone = open.presence(patient.id, true);
    assert_eq!(alone.attendance(patient.person.id), waits);
    let both = alone.presence(doctor.id, true);
    for person in [patient, doctor] {
        assert_eq!(both.attendance(person.person.id), Attendance::Converses);
    }
    assert!(Attendance::Converses.is_at(closes + Duration::hours(9)));
    assert_eq!(
        both.presence(doctor.id, false).attendance(patient.person.id),
        waits
    );
    let over = both.end(doctor.person.id, START).unwrap();
    assert_eq!(over.attendance(patient.person.id), Attendance::Away);
}
