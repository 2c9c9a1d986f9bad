//! The audit log: what is wrong with it, and proofs that somebody else can check.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use garde::Validate;
use medmesh_base::{AuditId, ClinicId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

/// What a verification of one clinic's log found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditVerification {
    /// Whose log.
    #[schema(value_type = uuid::Uuid)]
    pub clinic_id: ClinicId,
    /// Whether nothing is wrong.
    pub is_sound: bool,
    /// Leaves with a place.
    pub size: u64,
    /// Leaves read and hashed again.
    pub leaves_checked: u64,
    /// Committed leaves that wait for their place.
    pub pending: u64,
    /// Leaves under the published head.
    pub published_size: u64,
    /// Leaves under the head the control nodes witnessed.
    pub witnessed_size: u64,
    /// Leaves under the newest head the outside witness signed, where there is a witness.
    #[schema(required)]
    pub cosigned_size: Option<u64>,
    /// What the outside witness said just now, where there is one: `signs`, `refuses`, `away`,
    /// `unknown_log` (it was not told of the log), `nothing_yet`, `not_asked`.
    #[schema(required)]
    pub outside_witness: Option<String>,
    /// Where its database was put back and the log went on without leaves it had: announced, and no
    /// finding.
    pub gaps: Vec<AuditGap>,
    /// Where the log leaves the truth first, if that can be told to the leaf.
    #[schema(required)]
    pub first_divergent: Option<AuditFinding>,
    /// What is wrong, at most a hundred.
    pub findings: Vec<AuditFinding>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditFinding {
    /// At which place of the tree.
    #[schema(required)]
    pub leaf_index: Option<u64>,
    /// With which leaf.
    #[schema(required, value_type = Option<uuid::Uuid>)]
    pub leaf_id: Option<AuditId>,
    /// A stable word.
    pub kind: String,
    /// For people.
    pub message: String,
}

/// Leaves that were witnessed and are not in the log because its database was put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditGap {
    /// When the log went on.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(format = DateTime)]
    pub at: OffsetDateTime,
    /// Leaves that were witnessed before.
    pub witnessed_size: u64,
    /// Leaves it went on from: those from here to `witnessed_size` are gone.
    pub kept_size: u64,
    /// The operator's words.
    pub reason: String,
}

/// What an operator says of why a log shall go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct AuditResumeCreate {
    /// Kept for good and published: a ticket's number and the backup's time, nobody's name. At most
    /// 200 bytes, one line.
    #[garde(length(bytes, min = 1, max = 200))]
    #[schema(min_length = 1, max_length = 200)]
    pub reason: String,
}

/// What was announced of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditAnnouncement {
    /// Verifier key of the log from now on (C2SP signed-note): for those who check proofs, and for the
    /// outside witness.
    pub key: String,
    /// Leaves that were witnessed before.
    pub witnessed_size: u64,
    /// Leaves it goes on from.
    pub kept_size: u64,
    /// The announcement with its signatures.
    pub notice: String,
}

impl AuditVerification {
    /// Of a log nothing is known of yet.
    #[must_use]
    pub const fn of(clinic_id: ClinicId) -> Self {
        Self {
            clinic_id,
            is_sound: false,
            size: 0,
            leaves_checked: 0,
            pending: 0,
            published_size: 0,
            witnessed_size: 0,
            cosigned_size: None,
            outside_witness: None,
            gaps: Vec::new(),
            first_divergent: None,
            findings: Vec::new(),
        }
    }

    /// Draws the conclusion from the findings.
    #[must_use]
    pub fn finish(mut self) -> Self {
        self.is_sound = self.findings.is_empty();
        let placed = self
            .findings
            .iter()
            .filter(|finding| finding.leaf_index.is_some());
        let first = placed.min_by_key(|finding| (finding.leaf_index, finding.leaf_id.is_none()));
        self.first_divergent = first.or(self.findings.first()).cloned();
        self
    }
}

/// Proof that an event is in a clinic's log. To check it: SHA-256 over `salt` and `event` is the
/// commitment; the hash of a leaf with the commitment as its data is in the tree of `checkpoint`
/// by `path` at `leaf_index` (RFC 9162 section 2.1.3.2); `checkpoint` is signed by `key`, which
/// must have come to you by another way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditProof {
    /// Place in the tree.
    pub leaf_index: u64,
    /// Base64.
    pub salt: String,
    /// The event's canonical encoding, base64.
    pub event: String,
    /// Hashes from the leaf to the root, base64.
    pub path: Vec<String>,
    /// Signed head (C2SP tlog-checkpoint).
    pub checkpoint: String,
    /// Verifier key of the log (C2SP signed-note), for comparison.
    pub key: String,
    /// What was announced of the log, oldest first: whoever has an earlier key comes to this one by them.
    #[serde(default)]
    pub notices: Vec<String>,
}

impl AuditProof {
    /// From bytes.
    #[must_use]
    pub fn new(
        leaf_index: u64,
        salt: &[u8],
        event: &[u8],
        path: Vec<String>,
        checkpoint: String,
        key: String,
    ) -> Self {
        Self {
            leaf_index,
            salt: STANDARD.encode(salt),
            event: STANDARD.encode(event),
            path,
            checkpoint,
            key,
            notices: Vec::new(),
        }
    }

    /// With what was announced of the log.
    #[must_use]
    pub fn with_notices(mut self, notices: Vec<String>) -> Self {
        self.notices = notices;
        self
    }
}

/// The audit log of one clinic, as the control plane has witnessed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditLogHead {
    /// Whose log.
    #[schema(value_type = uuid::Uuid)]
    pub clinic_id: ClinicId,
    /// Leaves under the newest witnessed head.
    pub size: u64,
    /// The newest signed head (C2SP tlog-checkpoint).
    pub checkpoint: String,
    /// Verifier key of the log (C2SP signed-note).
    pub key: String,
    /// What was announced of it, oldest first, signed.
    pub notices: Vec<String>,
}

/// The newest signed head of a clinic's log, for those who keep heads: a kept one shows later that nothing
/// under it was changed ([`AuditConsistency`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditHead {
    /// Leaves under it.
    pub size: u64,
    /// Root over them (RFC 9162), base64.
    pub root: String,
    /// The head, signed by the log (C2SP tlog-checkpoint).
    pub checkpoint: String,
    /// When the control nodes agreed on it.
    #[serde(with = "time::serde::rfc3339")]
    pub witnessed_at: OffsetDateTime,
    /// Verifier key of the log (C2SP signed-note): keep it apart from what it is to check.
    pub key: String,
    /// What was announced of the log, oldest first: whoever has an earlier key comes to this one by them.
    pub notices: Vec<String>,
    /// What somebody outside says of the log, where somebody is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_witness: Option<AuditWitness>,
}

/// Somebody who is not us and signs that each head extends the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditWitness {
    /// Its verifier key (C2SP tlog-cosignature), for comparison.
    pub key: String,
    /// The newest head it signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<AuditCosigned>,
    /// Since when it refuses: the log it was shown before is not the one it is shown now.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub refused_at: Option<OffsetDateTime>,
}

/// A head that an outside witness signed, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditCosigned {
    /// Leaves under it.
    pub size: u64,
    /// When it signed, by its own clock.
    #[serde(with = "time::serde::rfc3339")]
    pub signed_at: OffsetDateTime,
    /// The head with both signatures.
    pub checkpoint: String,
}

/// Between which heads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditConsistencyQuery {
    /// Leaves under the earlier head, as its second line says; at least 1.
    #[param(minimum = 1)]
    pub from: u64,
    /// Leaves under the later one; the newest when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1)]
    pub to: Option<u64>,
}

/// Proof that what was under an earlier head is still there, in its place: the tree of `from_size` leaves is
/// the beginning of that of `to_size` (RFC 9162 section 2.1.4.2). The earlier root is in the head you kept; the
/// later in `checkpoint`, or in another head you kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditConsistency {
    /// Leaves under the earlier head.
    pub from_size: u64,
    /// Leaves under the later one.
    pub to_size: u64,
    /// Hashes, base64; none where both are the same.
    pub path: Vec<String>,
    /// The later head, signed, where it is the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Verifier key of the log, for comparison.
    pub key: String,
    /// What was announced of the log, oldest first.
    pub notices: Vec<String>,
}
