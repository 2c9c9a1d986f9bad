//! The public error codes: one list for both planes, so that a client learns
//! it once (RFC 9457 problem documents carry it as `code`).

use serde::{Deserialize, Serialize};

macro_rules! problem_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $title:literal;)+) => {
        /// Why a request failed, as a stable word a program can act on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ProblemCode {
            $($(#[$doc])* #[serde(rename = $code)] $name,)+
        }

        impl ProblemCode {
            /// Every code, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable word, e.g. `slot_taken`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The HTTP status it travels with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// A short sentence for people; says nothing about the request's content.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

problem_codes! {
    /// The body or query does not parse or breaks a rule of its type.
    InvalidRequest = "invalid_request", 400, "The request is not valid.";
    /// A creating request came without an `Idempotency-Key`.
    IdempotencyKeyMissing = "idempotency_key_missing", 400, "An Idempotency-Key header is required.";
    /// No session or token, or one that has ended.
    Unauthenticated = "unauthenticated", 401, "Sign in to continue.";
    /// Wrong mail address or password; which one is not said.
    LoginFailed = "login_failed", 401, "The address or the password is wrong.";
    /// A code or passkey that is wrong, old or used; which is not said.
    SecondFactorRefused = "second_factor_refused", 401, "That did not prove it; try again.";
    /// What an outside provider says is not believed, or it let nobody in; which is not said.
    ProviderRefused = "provider_refused", 401, "Signing in with that provider did not work; try again.";
    /// A media token that is expired, foreign, replayed or for another room.
    TokenRefused = "token_refused", 401, "The token was refused.";
    /// The session owes a second factor.
    MfaRequired = "mfa_required", 403, "Confirm with your second factor to continue.";
    /// The session owes the setting up of a second factor.
    MfaEnrolmentRequired = "mfa_enrolment_required", 403, "Set up a second factor to continue.";
    /// The act wants a proof that is only minutes old.
    StepUpRequired = "step_up_required", 403, "Prove that it is you to continue.";
    /// The role takes a licence that is not verified yet, or no longer.
    CredentialRequired = "credential_required", 403, "Your licence has to be verified before you can do this.";
    /// An outside identity that is linked to nobody here.
    IdentityUnlinked = "identity_unlinked", 403, "That identity is linked to nobody here; sign in another way and link it first.";
    /// Known, but not allowed.
    Forbidden = "forbidden", 403, "You may not do this.";
    /// The CSRF token is missing or wrong.
    CsrfRefused = "csrf_refused", 403, "The request did not come from this portal.";
    /// It does not exist, or the caller may not know that it does.
    NotFound = "not_found", 404, "There is nothing here.";
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, "That method is not offered here.";
    /// The client takes no form that there is an answer in.
    NotAcceptable = "not_acceptable", 406, "There is no answer in a form you accept.";
    /// The clinician or patient is already taken in that time.
    SlotTaken = "slot_taken", 409, "That time is no longer free.";
    /// A request with the same `Idempotency-Key` is still running.
    RequestInFlight = "request_in_flight", 409, "The same request is still being worked on.";
    /// The thing is not in a state that allows this.
    StateConflict = "state_conflict", 409, "That is not possible in the present state.";
    /// No signed head of the audit log covers what was asked for; a moment later one does.
    AuditHeadPending = "audit_head_pending", 409, "No signed head of the log covers this yet; ask again in a moment.";
    /// What the database holds is not what was logged. The whole log has to be verified.
    AuditLeafAltered = "audit_leaf_altered", 409, "The entry is not what was logged; the log has to be verified.";
    /// The patient has not been admitted from the waiting room.
    NotAdmitted = "not_admitted", 409, "The clinician has not opened the visit yet.";
    /// The visit has as many people in it as its room carries.
    VisitFull = "visit_full", 409, "The visit is full; somebody has to leave first.";
    /// The room's assignment has moved on.
    StaleEpoch = "stale_epoch", 409, "The visit has moved; ask for a new session.";
    /// No edge stands in a region where the clinic lets its visits run.
    OutsideResidency = "outside_residency", 409, "No media server stands where this clinic lets its visits run.";
    /// A link that is old, used or unknown; which is not said.
    LinkSpent = "link_spent", 410, "The link is no longer good; ask for a new one.";
    /// `If-Match` names an older version.
    VersionMismatch = "version_mismatch", 412, "It was changed in the meantime.";
    /// The body is larger than this route takes.
    BodyTooLarge = "body_too_large", 413, "The request is too large.";
    /// The content type is not the one this route takes.
    UnsupportedMediaType = "unsupported_media_type", 415, "The content type is not supported.";
    /// The same `Idempotency-Key` came with another body.
    IdempotencyKeyReused = "idempotency_key_reused", 422, "The Idempotency-Key was used for another request.";
    /// Well-formed, but a rule of the domain forbids it.
    Unprocessable = "unprocessable", 422, "A rule does not allow this.";
    /// An update came without `If-Match`.
    PreconditionRequired = "precondition_required", 428, "An If-Match header is required.";
    /// Too many requests; `Retry-After` says when.
    RateLimited = "rate_limited", 429, "Too many requests; try again later.";
    /// Our fault. The log has the cause under the request id.
    Internal = "internal", 500, "Something went wrong on our side.";
    /// Something needed is away: the database, a quorum, an edge with room.
    Unavailable = "unavailable", 503, "The service is not available right now.";
    /// The outside provider is away; other ways to sign in work.
    ProviderUnavailable = "provider_unavailable", 503, "That provider does not answer right now; sign in another way.";
    /// No edge has room or may carry this visit.
    NoCapacity = "no_capacity", 503, "No edge can take the visit right now.";
}
