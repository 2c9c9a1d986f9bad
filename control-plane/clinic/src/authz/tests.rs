//! The mechanism, and what the policy promises above all.

mod machines;

use medmesh_base::PersonId;
use proptest::prelude::*;
use time::Duration;

use super::*;
use crate::credential::LICENSED;
use crate::identity::STEP_UP_WITHIN;
use crate::{Role, Roles, Segment, SystemActor};

fn person(roles: &[Role]) -> Principal {
    Principal::Person {
        id: PersonId::generate(),
        roles: Roles::of(roles),
        licensed: LICENSED,
    }
}

fn every_relation() -> Relations {
    Relation::ALL
        .iter()
        .fold(Relations::default(), |set, relation| set.with(*relation, true))
}

/// What tells of somebody's health.
const CLINICAL: &[Action] = &[
    Action::VisitGet,
    Action::VisitList,
    Action::VisitPulses,
    Action::VisitEvents,
    Action::VisitCheckIn,
    Action::VisitOpen,
    Action::VisitAdmit,
    Action::VisitEnd,
    Action::ParticipantAdd,
    Action::MessageList,
    Action::MessageCreate,
    Action::SignalingSession,
    Action::ReferralList,
    Action::ConsentList,
    Action::BreakGlassOpen,
];

#[test]
fn whoever_runs_the_clinic_or_its_machines_reads_nothing_clinical() {
    let context = Context {
        break_glass: Some(BreakGlassId::generate()),
        consents: Consents::default().granting(Purpose::Treatment),
        assurance: Assurance {
            second_factor: true,
            step_up_age: Some(Duration::ZERO),
        },
        purpose: None,
        restricted: false,
    };
    for role in [
        Role::Admin,
        Role::Scheduler,
        Role::Support,
        Role::Auditor,
        Role::Sre,
    ] {
        for action in CLINICAL {
            let decision = decide(
                &person(&[role]),
                *action,
                &Resource::of(Kind::Visit),
                every_relation(),
                &context,
            );
            assert_eq!(decision.unwrap_err().reason, Reason::Role, "{role} {action}");
        }
        for action in Action::ALL {
            let decision = decide(
                &person(&[role]),
                *action,
                &Resource::of(Kind::Appointment),
                every_relation(),
                &context,
            );
            let appointment = action.as_str().starts_with("appointment");
            if appointment && let Ok(grant) = decision {
                assert_eq!(grant.sees, View::Administrative, "{role} {action}");
            }
        }
    }
}

/// What is left to whoever waits for their licence to be looked at.
const BEFORE_A_LICENCE: &[Action] = &[
    Action::PrivacyOfficerGet,
    Action::ConsentTextGet,
    Action::RecordRightsGet,
    Action::BreakGlassAlerts,
    Action::BreakGlassReview,
    Action::CredentialSubmit,
    Action::CredentialMine,
    Action::CredentialWithdraw,
];

#[test]
fn whoever_has_no_verified_licence_is_not_what_their_role_says() {
    for role in LICENSED.iter() {
        for (licensed, may) in [
            (Roles::default(), false),
            (LICENSED.without(Roles::only(role)), false),
            (Roles::only(role), true),
        ] {
            let roles = Roles::only(role);
            let id = PersonId::generate();
            let principal = Principal::Person { id, roles, licensed };
            for action in Action::ALL {
                let ruled = rules_for(*action).any(|rule| rule.who.is(&principal));
                let own = rules_for(*action).any(|rule| rule.to == Relation::Oneself);
                let before = own || BEFORE_A_LICENCE.contains(action);
                let gate = gate(&principal, *action, None)
                    .map(|_| ())
                    .map_err(|denial| denial.reason);
                let expected = match (ruled, may || before) {
                    (false, _) => Err(Reason::Role),
                    (true, true) => Ok(()),
                    (true, false) => Err(Reason::Credential),
                };
                assert_eq!(gate, expected, "{role} {licensed:?} {action}");
            }
        }
    }
}

#[test]
fn a_licence_says_nothing_about_other_roles() {
    // Nobody becomes a clinician by a licence alone, and no patient needs one.
    let id = PersonId::generate();
    let patient = Principal::Person {
        id,
        roles: Roles::only(Role::Patient),
        licensed: LICENSED,
    };
    assert_eq!(
        gate(&patient, Action::VisitOpen, None).unwrap_err().reason,
        Reason::Role
    );
    let both = Roles::of(&[Role::Patient, Role::Clinician]);
    let unverified = Principal::Person {
        id,
        roles: both,
        licensed: Roles::default(),
    };
    assert!(gate(&unverified, Action::VisitCheckIn, None).is_ok());
    assert_eq!(
        gate(&unverified, Action::VisitOpen, None).unwrap_err().reason,
        Reason::Credential
    );
}

#[test]
fn nobody_without_a_role_may_do_anything() {
    for action in Action::ALL {
        let denied = decide(
            &person(&[]),
            *action,
            &Resource::of(Kind::Visit),
            every_relation(),
            &Context::default(),
        );
        assert_eq!(denied.unwrap_err().reason, Reason::Role, "{action}");
        assert!(gate(&person(&[]), *action, None).is_err());
    }
}

#[test]
fn every_action_has_a_rule_and_every_rule_an_action() {
    for action in Action::ALL {
        assert!(rules_for(*action).next().is_some(), "{action} is nobody's");
    }
    for rule in RULES {
        assert!(!rule.may.is_empty() && rule.because.len() > 10, "{rule:?}");
    }
}

#[test]
fn the_system_does_what_it_is_for() {
    let seed = Principal::System(SystemActor::Seed);
    let login = Principal::System(SystemActor::Login);
    assert!(gate(&seed, Action::PersonCreate, None).is_ok());
    assert!(gate(&seed, Action::MessageList, None).is_err());
    for action in Action::ALL {
        assert!(gate(&login, *action, None).is_err(), "{action}");
    }
}

/// A nurse of the care team, before a protected visit.
fn nurse(consents: Consents, purpose: Option<Purpose>, break_glass: bool) -> Decision {
    let resource = Resource {
        kind: Kind::Visit,
        patient: Some(PersonId::generate()),
        segment: Segment::Part2,
    };
    let context = Context {
        purpose,
        consents,
        assurance: Assurance::default(),
        break_glass: break_glass.then(BreakGlassId::generate),
        restricted: false,
    };
    let relations = Relations::only(Relation::Clinic).with(Relation::CareTeam, true);
    decide(
        &person(&[Role::Nurse]),
        Action::MessageList,
        &resource,
        relations,
        &context,
    )
}

#[test]
fn a_protected_segment_needs_consent_and_does_not_exist_without_it() {
    let granted = Consents::default().granting(Purpose::Treatment);
    let denied = nurse(Consents::default(), None, false).unwrap_err();
    assert_eq!((denied.reason, denied.hidden), (Reason::Consent, true));
    assert_eq!(nurse(granted, None, false).unwrap().purpose, Purpose::Treatment);
    let other = Consents::default().granting(Purpose::Payment);
    assert!(nurse(other, None, false).is_err(), "agreed to something else");
    let withdrawn = granted.withdrawing(Purpose::Treatment);
    assert!(nurse(withdrawn, None, false).is_err());
}

#[test]
fn broken_glass_opens_what_consent_keeps_and_is_marked() {
    let emergency = nurse(Consents::default(), None, true).unwrap();
    assert_eq!(emergency.purpose, Purpose::Emergency);
    assert!(emergency.break_glass.is_some());
    let granted = Consents::default().granting(Purpose::Treatment);
    let usual = nurse(granted, None, true).unwrap();
    assert_eq!(usual.break_glass, None, "what is allowed anyway is no emergency");
}

/// A record that rests is out of reach but for the patient, those they meet, and emergencies.
#[test]
fn a_record_that_rests_is_for_the_patient_whom_they_meet_and_emergencies() {
    let context = Context {
        restricted: true,
        break_glass: Some(BreakGlassId::generate()),
        consents: Consents::default().granting(Purpose::Treatment),
        ..Context::default()
    };
    let ask = |role, action, kind, relation| {
        let relations = Relations::only(Relation::Clinic).with(relation, true);
        let without_glass = Context {
            break_glass: context.break_glass.filter(|_| relation == Relation::BreakGlass),
            ..context
        };
        decide(
            &person(&[role]),
            action,
            &Resource::of(kind),
            relations,
            &without_glass,
        )
    };
    use Action::{AppointmentCreate, AppointmentGet, CareTeamList, MessageList, VisitOpen};
    for (role, action, kind, relation, may) in [
        (
            Role::Patient,
            AppointmentGet,
            Kind::Appointment,
            Relation::Own,
            true,
        ),
        (
            Role::Patient,
            AppointmentCreate,
            Kind::Clinic,
            Relation::Own,
            true,
        ),
        (
            Role::Clinician,
            AppointmentGet,
            Kind::Appointment,
            Relation::Host,
            true,
        ),
        (Role::Clinician, VisitOpen, Kind::Visit, Relation::Host, true),
        (Role::Nurse, MessageList, Kind::Visit, Relation::Participant, true),
        (Role::Nurse, MessageList, Kind::Visit, Relation::BreakGlass, true),
        (
            Role::Clinician,
            AppointmentCreate,
            Kind::Clinic,
            Relation::Host,
            false,
        ),
        (Role::Nurse, MessageList, Kind::Visit, Relation::CareTeam, false),
        (
            Role::Clinician,
            MessageList,
            Kind::Visit,
            Relation::Referral,
            false,
        ),
        (
            Role::Clinician,
            CareTeamList,
            Kind::Patient,
            Relation::Treating,
            false,
        ),
        (
            Role::Scheduler,
            AppointmentGet,
            Kind::Appointment,
            Relation::Clinic,
            false,
        ),
        (
            Role::Admin,
            AppointmentCreate,
            Kind::Clinic,
            Relation::Clinic,
            false,
        ),
    ] {
        let decision = ask(role, action, kind, relation);
        assert_eq!(decision.is_ok(), may, "{role} {action} {relation}: {decision:?}");
    }
    let hidden = ask(Role::Nurse, MessageList, Kind::Visit, Relation::CareTeam).unwrap_err();
    assert_eq!((hidden.reason, hidden.hidden), (Reason::Restricted, true));
}

#[test]
fn a_named_purpose_narrows() {
    let granted = Consents::default().granting(Purpose::Treatment);
    assert!(nurse(granted, Some(Purpose::Treatment), false).is_ok());
    let denied = nurse(granted, Some(Purpose::Operations), false).unwrap_err();
    assert_eq!((denied.reason, denied.hidden), (Reason::Purpose, false));
    let emergency = nurse(granted, Some(Purpose::Emergency), true).unwrap();
    assert_eq!(emergency.purpose, Purpose::Emergency);
}

#[test]
fn the_general_segment_is_open_to_treatment_until_restricted() {
    let none = Consents::default();
    assert!(none.allow(Purpose::Treatment, Segment::General));
    assert!(
        !none
            .withdrawing(Purpose::Treatment)
            .allow(Purpose::Treatment, Segment::General)
    );
    assert!(
        none.withdrawing(Purpose::Payment)
            .allow(Purpose::Treatment, Segment::General)
    );
    for segment in Segment::ALL {
        let granted = none.granting(Purpose::Treatment);
        assert!(granted.allow(Purpose::Treatment, *segment), "{segment}");
    }
}

#[test]
fn a_level_needs_a_factor_and_a_fresh_one() {
    let at = |second_factor, step_up_age| Assurance {
        second_factor,
        step_up_age,
    };
    let late = STEP_UP_WITHIN + Duration::SECOND;
    for (assurance, level, outcome) in [
        (at(false, None), Level::Session, Ok(())),
        (at(false, None), Level::SecondFactor, Err(Reason::SecondFactor)),
        (at(true, None), Level::SecondFactor, Ok(())),
        (at(true, None), Level::StepUp, Err(Reason::StepUp)),
        (at(true, Some(late)), Level::StepUp, Err(Reason::StepUp)),
        (at(true, Some(STEP_UP_WITHIN)), Level::StepUp, Ok(())),
        (
            at(false, Some(Duration::ZERO)),
            Level::StepUp,
            Err(Reason::SecondFactor),
        ),
    ] {
        assert_eq!(assurance.reaches(level), outcome, "{assurance:?} {level:?}");
    }
}

#[test]
fn whoever_can_read_a_thing_is_told_no_and_others_that_it_is_not_there() {
    let visit = Resource::of(Kind::Visit);
    let guest = Relations::only(Relation::Clinic).with(Relation::Participant, true);
    let stranger = Relations::only(Relation::Clinic);
    let ask = |relations| {
        decide(
            &person(&[Role::Clinician]),
            Action::VisitEnd,
            &visit,
            relations,
            &Context::default(),
        )
    };
    assert!(!ask(guest).unwrap_err().hidden);
    assert!(ask(stranger).unwrap_err().hidden);
}

fn any_relations() -> impl Strategy<Value = Relations> {
    proptest::collection::vec(proptest::sample::select(Relation::ALL), 0..6).prop_map(|held| {
        held.iter()
            .fold(Relations::default(), |set, one| set.with(*one, true))
    })
}

fn any_roles() -> impl Strategy<Value = Roles> {
    proptest::collection::vec(proptest::sample::select(Role::ALL), 0..4)
        .prop_map(|roles| roles.into_iter().collect())
}

proptest! {
    /// More roles, relations, consents or assurance never take a leave away.
    #[test]
    fn more_is_never_less(
        roles in any_roles(), more_roles in any_roles(),
        held in any_relations(), extra in proptest::sample::select(Relation::ALL),
        action in proptest::sample::select(Action::ALL),
        segment in proptest::sample::select(Segment::ALL),
        kind in proptest::sample::select(&[Kind::Clinic, Kind::Patient, Kind::Appointment, Kind::Visit][..]),
        glass in any::<bool>(), licensed in any_roles(), more_licensed in any_roles(),
    ) {
        let id = PersonId::generate();
        let resource = Resource { kind, patient: None, segment };
        let less = Context { break_glass: glass.then(BreakGlassId::generate), ..Context::default() };
        let more = Context {
            consents: less.consents.granting(Purpose::Treatment),
            assurance: Assurance { second_factor: true, step_up_age: Some(Duration::ZERO) },
            ..less
        };
        let before = decide(&Principal::Person { id, roles, licensed }, action, &resource, held, &less);
        let roles_after = roles.iter().chain(more_roles.iter()).collect();
        let licensed_after = licensed.iter().chain(more_licensed.iter()).collect();
        let after = decide(
            &Principal::Person { id, roles: roles_after, licensed: licensed_after }, action, &resource, held.with(extra, true), &more);
        prop_assert!(before.is_err() || after.is_ok());
        if before.is_ok() {
            prop_assert!(gate(&Principal::Person { id, roles, licensed }, action, None).is_ok(), "the gate is wider");
        }
    }
}
