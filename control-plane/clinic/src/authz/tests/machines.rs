//! What the policy promises about machines above all.

use medmesh_base::ClientId;

use super::*;
use crate::client::{Scope, Scopes};

fn machine(scopes: Scopes) -> Principal {
    let id = ClientId::generate();
    Principal::Client { id, scopes }
}

/// As much as there is of everything else.
fn best() -> Context {
    Context {
        break_glass: Some(BreakGlassId::generate()),
        consents: Consents::default().granting(Purpose::Treatment),
        assurance: Assurance {
            second_factor: true,
            step_up_age: Some(Duration::ZERO),
        },
        ..Context::default()
    }
}

#[test]
fn no_scope_opens_what_tells_of_health_or_takes_a_person() {
    for rule in RULES {
        if let Who::Client(scope) = rule.who {
            let said = format!("{scope}: {}", rule.because);
            assert_eq!(
                (rule.level, rule.to),
                (Level::Session, Relation::Clinic),
                "{said}"
            );
            assert_ne!(rule.sees, View::Clinical, "{said}");
            assert_eq!(rule.purpose, Purpose::Operations, "{said}");
            let clinical = rule.may.iter().find(|action| CLINICAL.contains(action));
            assert_eq!(clinical, None, "{said}");
        }
    }
    for action in Action::ALL {
        let takes_a_proof = rules_for(*action).any(|rule| rule.level != Level::Session);
        if takes_a_proof || CLINICAL.contains(action) {
            let all = machine(Scopes::ALL);
            let resource = Resource::of(Kind::Clinic);
            let decision = decide(&all, *action, &resource, every_relation(), &best());
            assert_eq!(decision.unwrap_err().reason, Reason::Role, "{action}");
        }
    }
}

#[test]
fn each_scope_opens_its_own_and_none_opens_nothing() {
    for action in Action::ALL {
        let resource = Resource::of(Kind::Clinic);
        let ask = |scopes| decide(&machine(scopes), *action, &resource, every_relation(), &best());
        assert!(ask(Scopes::default()).is_err(), "{action}");
        let opening: Scopes = Scope::ALL
            .iter()
            .copied()
            .filter(|scope| ask(Scopes::only(*scope)).is_ok())
            .collect();
        assert_eq!(opening, scopes_for(*action), "{action}");
        assert_eq!(ask(Scopes::ALL).is_ok(), !opening.is_empty(), "{action}");
        if !opening.is_empty() {
            let reason = ask(Scopes::default()).unwrap_err().reason;
            assert_eq!(reason, Reason::Scope, "{action}");
        }
    }
}

/// 45 CFR 164.522(a): a record that rests, rests for machines too.
#[test]
fn a_machine_yields_where_a_record_rests() {
    let resting = Context {
        restricted: true,
        ..best()
    };
    let appointment = Resource::of(Kind::Appointment);
    let clinic = Relations::only(Relation::Clinic);
    let reading = machine(Scopes::only(Scope::AppointmentRead));
    let denial = decide(&reading, Action::AppointmentGet, &appointment, clinic, &resting).unwrap_err();
    assert_eq!((denial.reason, denial.hidden), (Reason::Restricted, true));
}
