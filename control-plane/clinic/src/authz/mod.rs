//! Who may do what to which thing, and for what reason.
//!
//! One pure function, [`decide`], reads one table, [`RULES`]. Whoever is not
//! named there may not: there is no other place that says yes. A rule says who
//! (roles), what (actions), to whose things (a [`Relation`]), for what purpose,
//! how much of it is seen ([`View`]), whether the patient's consent is needed and
//! how well the caller must have proved who they are ([`Level`]). Whoever holds a role that needs
//! a licence acts in it only once that is verified ([`Principal::acting`]).
//!
//! It never asks anyone for anything: relations, consents and the session's
//! assurance come in as facts, which the store reads in the transaction that acts.
//! What a visit's or appointment's *state* allows is not decided here but by
//! [`crate::Visit`] and [`crate::Appointment`].
//!
//! ```
//! use medmesh_clinic::authz::{Action, Context, Kind, Principal, Reason, Relation, Relations, Resource, decide};
//! use medmesh_clinic::{Role, Roles};
//! # use medmesh_base::PersonId;
//! let admin = Principal::Person { id: PersonId::generate(), roles: Roles::only(Role::Admin), licensed: Roles::default() };
//! let visit = Resource::of(Kind::Visit);
//! let denial = decide(&admin, Action::MessageList, &visit, Relations::only(Relation::Clinic), &Context::default());
//! assert_eq!(denial.unwrap_err().reason, Reason::Role);   // administrators have no clinical read
//! ```
//!
//! To add an action: a variant of [`Action`] with the operation's name, and the
//! rules that allow it. Nothing else in this module changes.

mod action;
mod facts;
mod rules;

pub use action::Action;
pub use facts::{
    Assurance, Consents, Context, Kind, Level, Principal, Reason, Relation, Relations, Resource, View,
};
pub use rules::{RULES, Rule, Who};

use crate::Roles;
use crate::audit::Purpose;
use crate::client::Scopes;
use medmesh_base::BreakGlassId;

/// What [`decide`] says.
pub type Decision = Result<Grant, Denial>;

/// Leave to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The sentence of the rule that allows it.
    pub because: &'static str,
    /// What it is for; goes into the audit log.
    pub purpose: Purpose,
    /// How much may be seen.
    pub sees: View,
    /// The glass that was broken for it, if that is the only reason.
    pub break_glass: Option<BreakGlassId>,
}

/// No leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What was missing, of the rule that came nearest.
    pub reason: Reason,
    /// The caller may not learn that the thing exists.
    pub hidden: bool,
}

/// Decides. The first rule of [`RULES`] that fits allows it; without one, what the nearest
/// rule missed is the reason.
///
/// # Errors
/// The denial. It is hidden unless the caller could read the thing, or no thing is named.
pub fn decide(
    principal: &Principal,
    action: Action,
    resource: &Resource,
    relations: Relations,
    context: &Context,
) -> Decision {
    let mut nearest = Reason::Role;
    for rule in rules_for(action) {
        match rule.judge(principal, resource, relations, context) {
            Ok(grant) => return Ok(grant),
            Err(reason) => nearest = nearest.max(reason),
        }
    }
    let about_the_thing = matches!(nearest, Reason::Relation | Reason::Consent | Reason::Restricted);
    let reading = resource.kind.reading();
    let hidden = about_the_thing
        && reading.is_some_and(|reading| {
            reading == action || decide(principal, reading, resource, relations, context).is_err()
        });
    Err(Denial {
        reason: nearest,
        hidden,
    })
}

/// Whether there is any thing at all that the caller may do this to; gives the first rule that
/// says so. It depends on the caller and the request alone, so it may be said before anything
/// is looked up.
///
/// # Errors
/// The denial, never hidden.
pub fn gate(
    principal: &Principal,
    action: Action,
    purpose: Option<Purpose>,
) -> Result<&'static Rule, Denial> {
    let mut reason = Reason::Role;
    for rule in rules_for(action) {
        match rule.admits(principal, purpose) {
            Ok(()) => return Ok(rule),
            Err(missed) => reason = reason.max(missed),
        }
    }
    Err(Denial {
        reason,
        hidden: false,
    })
}

/// The rule that lets the caller do this to every such thing of the clinic, if there is one:
/// a listing then need not look for those in reach.
#[must_use]
pub fn reaches_all(principal: &Principal, action: Action, purpose: Option<Purpose>) -> Option<&'static Rule> {
    rules_for(action).find(|rule| rule.to == Relation::Clinic && rule.admits(principal, purpose).is_ok())
}

/// The roles that may do this to something.
#[must_use]
pub fn roles_for(action: Action) -> Roles {
    let of = |rule: &Rule| match rule.who {
        Who::Roles(roles) => roles,
        Who::Client(_) | Who::System(_) => Roles::default(),
    };
    rules_for(action).flat_map(|rule| of(rule).iter()).collect()
}

/// The scopes by which machines may do this.
#[must_use]
pub fn scopes_for(action: Action) -> Scopes {
    rules_for(action)
        .filter_map(|rule| match rule.who {
            Who::Client(scope) => Some(scope),
            Who::Roles(_) | Who::System(_) => None,
        })
        .collect()
}

fn rules_for(action: Action) -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(move |rule| rule.may.contains(&action))
}

impl Rule {
    fn admits(&self, principal: &Principal, purpose: Option<Purpose>) -> Result<(), Reason> {
        if !self.who.is(principal) {
            return Err(match (self.who, principal) {
                (Who::Client(_), Principal::Client { .. }) => Reason::Scope,
                _ => Reason::Role,
            });
        }
        if self.acting && !self.who.is(&principal.acting()) {
            return Err(Reason::Credential);
        }
        if purpose.is_some_and(|declared| declared != self.purpose) {
            return Err(Reason::Purpose);
        }
        Ok(())
    }

    fn judge(
        &self,
        principal: &Principal,
        resource: &Resource,
        relations: Relations,
        context: &Context,
    ) -> Result<Grant, Reason> {
        self.admits(principal, context.purpose)?;
        let break_glass = match self.to {
            Relation::BreakGlass => Some(context.break_glass.ok_or(Reason::Relation)?),
            relation if relations.contains(relation) => None,
            _ => return Err(Reason::Relation),
        };
        if self.consent && !context.consents.allow(self.purpose, resource.segment) {
            return Err(Reason::Consent);
        }
        if context.restricted && self.yields(resource.kind) {
            return Err(Reason::Restricted);
        }
        context.assurance.reaches(self.level)?;
        Ok(Grant {
            break_glass,
            ..self.grant()
        })
    }

    /// Whether it gives way when the patient lets their record rest (45 CFR 164.522(a), GDPR article
    /// 18). What they do themselves, whom they meet, emergencies and privacy do not.
    const fn yields(&self, kind: Kind) -> bool {
        match (self.who, self.purpose, self.to) {
            (Who::System(_), ..) | (_, Purpose::Emergency, _) => false,
            // Meeting is as agreed; a time that does not exist yet is not.
            (.., Relation::Host) => matches!(kind, Kind::Clinic),
            (.., Relation::Clinic | Relation::Treating | Relation::CareTeam | Relation::Referral) => true,
            (
                ..,
                Relation::Oneself
                | Relation::Own
                | Relation::Participant
                | Relation::BreakGlass
                | Relation::PrivacyOfficer,
            ) => false,
        }
    }

    /// The leave this rule gives.
    #[must_use]
    pub const fn grant(&self) -> Grant {
        Grant {
            because: self.because,
            purpose: self.purpose,
            sees: self.sees,
            break_glass: None,
        }
    }
}

#[cfg(test)]
mod tests;
