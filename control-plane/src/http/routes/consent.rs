//! What patients agreed to.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use medmesh_api_types::consent::{
    Consent, ConsentDecision, ConsentPurpose, ConsentRecord, ConsentText, ConsentTextQuery, SignedBy,
};
use medmesh_api_types::page::{Page, PageQuery};
use medmesh_base::PersonId;
use medmesh_clinic::audit::Purpose;
use medmesh_clinic::authz::Action;
use medmesh_clinic::{self as clinic, Signature};
use medmesh_store::{NewConsent, consent_text_digest};
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::Signed;
use crate::http::creation::{Claimed, Creation};
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id, IdempotencyKey, Query};
use crate::http::mapping;
use crate::http::state::Api;

const TAG: &str = "consent";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::ConsentTextGet, routes!(consent_text_get))
        .signed(Action::ConsentList, routes!(consent_list))
        .signed(Action::ConsentRecord, routes!(consent_record))
}

/// The text to show before somebody signs: its name and digest go back with the signature.
#[utoipa::path(get, path = "/v1/consent-text", tag = TAG, params(ConsentTextQuery),
    responses((status = 200, description = "The text.", body = ConsentText)))]
async fn consent_text_get(
    State(api): State<Api>,
    signed: Signed,
    Query(query): Query<ConsentTextQuery>,
) -> Result<Json<ConsentText>, ApiError> {
    let own = signed.session.person.locale;
    let mut tx = api.begin(&signed).await?;
    let text = tx
        .consent_text_get(
            purpose_in(query.purpose),
            mapping::segment_in(query.segment.unwrap_or_default()),
            decision_in(query.decision),
            query.locale.map_or(own, mapping::locale_in),
        )
        .await?;
    tx.commit().await?;
    Ok(Json(ConsentText {
        text_sha256: hex(&consent_text_digest(&text)),
        document: text.document,
        text: text.text,
    }))
}

/// Everything a patient ever said, every version with its proof, the latest first. For the patient and
/// those who treat them.
#[utoipa::path(get, path = "/v1/patients/{id}/consents", tag = TAG,
    params(("id" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, description = "One page.", body = Page<Consent>)))]
async fn consent_list(
    State(api): State<Api>,
    signed: Signed,
    Id(patient): Id<PersonId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Consent>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let mut tx = api.begin(&signed).await?;
    let consents = tx.consent_list(patient, page).await?;
    tx.commit().await?;
    Ok(Json(mapping::page(consents, consent)))
}

/// Records what a patient says: that they agree, or no longer do. It counts from now on.
///
/// Patients sign on the screen: `signed_by` is `session`, with the name and digest of the text of
/// `GET /v1/consent-text`; 409 when that text has changed since. Clinicians who treat the patient record
/// what was signed on `paper`, with the digest of the scan, or said before them as `witness`.
#[utoipa::path(post, path = "/v1/patients/{id}/consents", tag = TAG, request_body = ConsentRecord,
    params(("id" = uuid::Uuid, Path), ("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "Recorded.", body = Consent)))]
async fn consent_record(
    State(api): State<Api>,
    signed: Signed,
    Id(patient): Id<PersonId>,
    key: IdempotencyKey,
    Body { value: new, bytes }: Body<ConsentRecord>,
) -> Result<Response, ApiError> {
    let new = NewConsent {
        purpose: purpose_in(new.purpose),
        segment: mapping::segment_in(new.segment),
        decision: decision_in(new.decision),
        signature: Signature {
            by: match new.signed_by {
                SignedBy::Session => clinic::SignedBy::Session,
                SignedBy::Paper => clinic::SignedBy::Paper,
                SignedBy::Witness => clinic::SignedBy::Witness,
            },
            document: new.document,
            text_sha256: new.text_sha256.as_deref().and_then(unhex),
            proof_sha256: new.proof_sha256.as_deref().and_then(unhex),
        },
    };
    let request: [&[u8]; 2] = [&patient.to_vec(), &bytes];
    let claimed = Creation::claim(&api, &signed, "consent_record", key, &request).await?;
    let mut creation = match claimed {
        Claimed::New(creation) => creation,
        Claimed::Replay(answer) => return Ok(answer),
    };
    let recorded = creation.tx.consent_record(patient, &new).await?;
    creation.created(&[], &consent(recorded)).await
}

const fn purpose_in(purpose: ConsentPurpose) -> Purpose {
    match purpose {
        ConsentPurpose::Treatment => Purpose::Treatment,
        ConsentPurpose::Payment => Purpose::Payment,
        ConsentPurpose::Operations => Purpose::Operations,
    }
}

const fn decision_in(decision: ConsentDecision) -> clinic::ConsentDecision {
    match decision {
        ConsentDecision::Granted => clinic::ConsentDecision::Granted,
        ConsentDecision::Withdrawn => clinic::ConsentDecision::Withdrawn,
    }
}

pub(in crate::http) fn consent(consent: clinic::Consent) -> Consent {
    let signature = consent.signature;
    Consent {
        id: consent.id,
        purpose: match consent.purpose {
            Purpose::Payment => ConsentPurpose::Payment,
            Purpose::Operations => ConsentPurpose::Operations,
            // The table admits no fourth.
            _ => ConsentPurpose::Treatment,
        },
        segment: mapping::segment(consent.segment),
        version: consent.version,
        decision: match consent.decision {
            clinic::ConsentDecision::Granted => ConsentDecision::Granted,
            clinic::ConsentDecision::Withdrawn => ConsentDecision::Withdrawn,
        },
        signed_by: match signature.by {
            clinic::SignedBy::Session => SignedBy::Session,
            clinic::SignedBy::Paper => SignedBy::Paper,
            clinic::SignedBy::Witness => SignedBy::Witness,
        },
        document: signature.document,
        text_sha256: signature.text_sha256.map(|digest| hex(&digest)),
        proof_sha256: signature.proof_sha256.map(|digest| hex(&digest)),
        recorded_by: mapping::person_ref(consent.recorded_by),
        recorded_at: consent.recorded_at,
        session_id: consent.session_id,
        proved_at: consent.proved_at,
    }
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the body's rules let through has 64 digits.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(digest)
}
