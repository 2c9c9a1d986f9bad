//! Who may act as what, and who decides it.

use time::macros::{date, datetime};

use super::*;

const TODAY: Date = date!(2026 - 03 - 01);

fn license(role: Role, end: Date) -> Claim {
    Claim::new(
        CredentialKind::License,
        Some(role),
        Some("ny"),
        "a-123",
        Some(end),
    )
    .unwrap()
}

fn credential(status: CredentialStatus, end: Date) -> Credential {
    let name = Phi::new("Name".to_owned());
    Credential {
        id: CredentialId::generate(),
        person: PersonRef {
            id: PersonId::generate(),
            display_name: name,
        },
        claim: license(Role::Clinician, end),
        status,
        submitted_at: datetime!(2026-02-01 00:00 UTC),
        decisions: Vec::new(),
        version: Version(1),
    }
}

#[test]
fn a_role_needs_all_of_its_own() {
    use CredentialKind::{Dea, License, Npi};
    let clinician = [(License, Some(Role::Clinician)), (Npi, None)];
    assert_eq!(licensed(&clinician), Roles::only(Role::Clinician));
    for held in [
        &[][..],
        &[(License, Some(Role::Clinician))],
        &[(Npi, None)],
        &[(Dea, None), (Npi, None)],
        &[(License, None), (Npi, None)],
    ] {
        assert!(licensed(held).is_empty(), "{held:?}");
    }
    // A nurse's licence makes no clinician.
    let nurse = [(License, Some(Role::Nurse)), (Npi, None)];
    assert_eq!(licensed(&nurse), Roles::only(Role::Nurse));
    let both = [
        (License, Some(Role::Pharmacist)),
        (License, Some(Role::Clinician)),
        (Npi, None),
    ];
    assert_eq!(licensed(&both), Roles::of(&[Role::Clinician, Role::Pharmacist]));
}

#[test]
fn every_licensed_role_needs_something_and_no_other_does() {
    for role in Role::ALL {
        assert_eq!(LICENSED.contains(*role), !required(*role).is_empty(), "{role}");
        let made_up: Vec<Held> = Claim::made_up(*role)
            .iter()
            .map(|claim| (claim.kind(), claim.profession()))
            .collect();
        assert_eq!(
            licensed(&made_up),
            if LICENSED.contains(*role) {
                Roles::only(*role)
            } else {
                Roles::default()
            }
        );
    }
}

#[test]
fn parts_fit_the_kind() {
    let end = Some(date!(2030 - 01 - 01));
    let new = Claim::new;
    let parts = Err(Invalid::CredentialParts);
    assert_eq!(new(CredentialKind::License, None, Some("NY"), "1", end), parts);
    assert_eq!(
        new(CredentialKind::License, Some(Role::Nurse), None, "1", end),
        parts
    );
    assert_eq!(
        new(CredentialKind::License, Some(Role::Nurse), Some("NY"), "1", None),
        parts
    );
    assert_eq!(
        new(CredentialKind::License, Some(Role::Admin), Some("NY"), "1", end),
        parts
    );
    assert_eq!(
        new(CredentialKind::Npi, None, Some("NY"), "1234567893", None),
        parts
    );
    assert_eq!(new(CredentialKind::Npi, None, None, "1234567893", end), parts);
    assert_eq!(new(CredentialKind::Dea, None, None, "AB1234563", end), parts);
    assert_eq!(
        new(
            CredentialKind::Dea,
            Some(Role::Clinician),
            Some("NY"),
            "AB1234563",
            end
        ),
        parts
    );
    assert_eq!(
        new(CredentialKind::Dea, None, Some("ZZ"), "AB1234563", end),
        Err(Invalid::State)
    );
}

#[test]
fn the_last_day_counts_and_the_next_does_not() {
    let claim = license(Role::Nurse, TODAY);
    assert_eq!(claim.current(TODAY), Ok(()));
    assert_eq!(
        claim.current(date!(2026 - 03 - 02)),
        Err(Refusal::CredentialExpired)
    );
    assert_eq!(
        license(Role::Nurse, date!(2050 - 01 - 01)).current(TODAY),
        Err(Refusal::CredentialTooLong)
    );
    let status = |stored, end| Credential::status_on(stored, end, TODAY);
    assert_eq!(
        status(CredentialStatus::Verified, Some(TODAY)),
        CredentialStatus::Verified
    );
    assert_eq!(
        status(CredentialStatus::Verified, TODAY.previous_day()),
        CredentialStatus::Expired
    );
    assert_eq!(
        status(CredentialStatus::Verified, None),
        CredentialStatus::Verified
    );
    assert_eq!(
        status(CredentialStatus::Rejected, TODAY.previous_day()),
        CredentialStatus::Rejected
    );
}

#[test]
fn nobody_judges_their_own() {
    let pending = credential(CredentialStatus::Pending, TODAY);
    let (own, other) = (pending.person.id, PersonId::generate());
    let no: Verdict = Verdict::Reject("the board knows nothing of it".parse().unwrap());
    assert_eq!(
        pending.decide(own, &Verdict::Verify, TODAY),
        Err(Refusal::OwnCredential)
    );
    assert_eq!(pending.decide(own, &no, TODAY), Err(Refusal::OwnCredential));
    assert_eq!(
        pending.decide(other, &Verdict::Withdraw, TODAY),
        Err(Refusal::NotYours)
    );
    assert_eq!(
        pending.decide(other, &Verdict::Verify, TODAY),
        Ok(CredentialStatus::Verified)
    );
    assert_eq!(pending.decide(other, &no, TODAY), Ok(CredentialStatus::Rejected));
    assert_eq!(
        pending.decide(own, &Verdict::Withdraw, TODAY),
        Ok(CredentialStatus::Withdrawn)
    );
}

#[test]
fn what_was_decided_stays_but_for_what_is_taken_back() {
    let no = Verdict::Reject("revoked".parse().unwrap());
    let other = PersonId::generate();
    let verified = credential(CredentialStatus::Verified, TODAY);
    assert_eq!(
        verified.decide(other, &Verdict::Verify, TODAY),
        Err(Refusal::CredentialDecided)
    );
    assert_eq!(verified.decide(other, &no, TODAY), Ok(CredentialStatus::Rejected));
    for status in [
        CredentialStatus::Rejected,
        CredentialStatus::Withdrawn,
        CredentialStatus::Expired,
    ] {
        let decided = credential(status, TODAY);
        for verdict in [&Verdict::Verify, &no] {
            assert_eq!(
                decided.decide(other, verdict, TODAY),
                Err(Refusal::CredentialDecided),
                "{status}"
            );
        }
        let own = decided.person.id;
        assert_eq!(
            decided.decide(own, &Verdict::Withdraw, TODAY),
            Err(Refusal::CredentialDecided)
        );
    }
    let late = credential(CredentialStatus::Pending, TODAY);
    let tomorrow = TODAY.next_day().unwrap();
    assert_eq!(
        late.decide(other, &Verdict::Verify, tomorrow),
        Err(Refusal::CredentialExpired)
    );
}
