//! Who may do what, as the requirements say it. Written by hand; shares nothing with the code
//! it is held against.

use super::{Cell, Consent, Relation, Route};

/// What a caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    /// Let in, whatever then came of it.
    Allowed,
    /// 403.
    Forbidden,
    /// 404: it may not be known that it exists.
    NotThere,
    /// Nothing a decision could be.
    Broken,
}

pub(super) fn expected(cell: &Cell) -> Answer {
    // Whoever waits for their licence is not what their role says, whatever else holds.
    if !cell.is_verified {
        return Answer::Forbidden;
    }
    if is_allowed(cell) {
        return Answer::Allowed;
    }
    // What no thing of that kind could ever be asked by this role is said at once and tells nothing.
    if !may_ever(cell.route, cell.role) {
        return Answer::Forbidden;
    }
    // Booking makes something new: there is nothing to hide.
    if cell.route == Route::AppointmentCreate {
        return Answer::Forbidden;
    }
    // Whoever may read the thing knows of it and is told no; for others it is not there.
    let reading = Cell {
        route: if is_about_visit(cell.route) {
            Route::VisitGet
        } else {
            Route::AppointmentGet
        },
        ..*cell
    };
    if is_allowed(&reading) {
        Answer::Forbidden
    } else {
        Answer::NotThere
    }
}

fn is_about_visit(route: Route) -> bool {
    !matches!(
        route,
        Route::AppointmentCreate
            | Route::AppointmentGet
            | Route::AppointmentUpdate
            | Route::AppointmentLabel
            | Route::AppointmentCancel
    )
}

/// Which roles can do this to some record or other.
fn may_ever(route: Route, role: &str) -> bool {
    let roles: &[&str] = match route {
        Route::AppointmentCreate | Route::AppointmentUpdate | Route::AppointmentCancel => {
            &["patient", "clinician", "care_coordinator", "scheduler", "admin"]
        }
        Route::AppointmentGet => &[
            "patient",
            "clinician",
            "nurse",
            "care_coordinator",
            "scheduler",
            "admin",
        ],
        Route::AppointmentLabel
        | Route::VisitOpen
        | Route::VisitAdmit
        | Route::VisitEnd
        | Route::ParticipantAdd => &["clinician"],
        Route::VisitGet
        | Route::VisitCheckIn
        | Route::MessageList
        | Route::MessageCreate
        | Route::SignalingCandidates
        | Route::SignalingSession => &["patient", "clinician", "nurse", "care_coordinator", "pharmacist"],
    };
    roles.contains(&role)
}

fn is_allowed(cell: &Cell) -> bool {
    let desk = ["scheduler", "admin"].contains(&cell.role);
    // Another clinic is another world. Only booking names people by id before anything is known.
    if cell.is_foreign {
        return cell.route == Route::AppointmentCreate && desk;
    }
    // Patients act on their own appointments, clinicians on those they are the clinician of.
    let concerned = matches!(
        (cell.role, cell.relation),
        ("patient", Relation::Own) | ("clinician", Relation::Host)
    );
    let coordinates = |segment| {
        cell.role == "care_coordinator"
            && cell.relation == Relation::CareTeam
            && is_agreed(cell.consent, segment)
    };
    match cell.route {
        // Protected records are labelled by those who keep them, not by patients.
        Route::AppointmentCreate if cell.role == "patient" => concerned && cell.segment == "general",
        // Nothing protected is disclosed by a booking that does not exist yet.
        Route::AppointmentCreate => desk || concerned || coordinates("general"),
        Route::AppointmentGet => desk || concerned || reads_record(cell),
        Route::AppointmentUpdate | Route::AppointmentCancel => desk || concerned || coordinates(cell.segment),
        Route::AppointmentLabel => cell.role == "clinician" && cell.relation == Relation::Host,
        Route::VisitGet | Route::MessageList => takes_part(cell) || reads_record(cell),
        // Whoever runs the visit does not wait in front of it.
        Route::VisitCheckIn => takes_part(cell) && cell.relation != Relation::Host,
        Route::MessageCreate | Route::SignalingCandidates | Route::SignalingSession => takes_part(cell),
        Route::VisitOpen | Route::VisitAdmit | Route::VisitEnd | Route::ParticipantAdd => {
            cell.role == "clinician" && cell.relation == Relation::Host
        }
    }
}

/// In the visit, in a role that treats or is treated. Administration never is.
fn takes_part(cell: &Cell) -> bool {
    matches!(
        cell.relation,
        Relation::Own | Relation::Host | Relation::Participant
    ) && ["patient", "clinician", "nurse", "care_coordinator", "pharmacist"].contains(&cell.role)
}

/// From outside of the visit: the care team and whom the patient was referred to, as far as the
/// patient agreed; whoever broke the glass, in any case.
fn reads_record(cell: &Cell) -> bool {
    let cares = ["clinician", "nurse", "care_coordinator"].contains(&cell.role);
    match cell.relation {
        Relation::CareTeam => cares && is_agreed(cell.consent, cell.segment),
        Relation::Referral => cell.role == "clinician" && is_agreed(cell.consent, cell.segment),
        Relation::BreakGlass => cares,
        Relation::None | Relation::Own | Relation::Host | Relation::Participant | Relation::Treating => false,
    }
}

/// Treatment needs no consent in the general segment but yields to a restriction; the protected
/// segments (42 CFR Part 2 and what states protect alike) need one.
fn is_agreed(consent: Consent, segment: &str) -> bool {
    match segment {
        "general" => consent != Consent::Withdrawn,
        _ => consent == Consent::Granted,
    }
}
