//! What patients agreed to: every version, with what proves it.

use aws_lc_rs::digest::{SHA256, digest};
use medmesh_base::{ClinicId, ConsentId, PersonId, RequestId, SessionId};
use medmesh_clinic::audit::{Action, Purpose};
use medmesh_clinic::authz;
use medmesh_clinic::{
    Actor, CONSENT_TEXT_LATEST, Consent, ConsentDecision, ConsentText, ERASED_NAME, Locale, Segment,
    Signature, SignedBy, SystemActor, consent_text,
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::keys::{Column, Opener, Owner, Sealed, WRITTEN_ONCE};
use crate::person::PersonRefs;
use crate::relationship::Target;
use crate::{Cursor, Page, PageRequest, Result, Store, StoreError, Tx};

/// What is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewConsent {
    /// For what.
    pub purpose: Purpose,
    /// About which part of the record.
    pub segment: Segment,
    /// What the patient said.
    pub decision: ConsentDecision,
    /// The proof.
    pub signature: Signature,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    purpose: String,
    segment: String,
    version: i64,
    decision: String,
    patient_id: Uuid,
    /// In rows from before it was sealed.
    document: Option<String>,
    document_sealed: Option<Vec<u8>>,
    signed_by: String,
    text_sha256: Option<Vec<u8>>,
    proof_sha256: Option<Vec<u8>>,
    recorded_by: Uuid,
    recorded_at: OffsetDateTime,
    session_id: Option<Uuid>,
    proved_at: Option<OffsetDateTime>,
}

impl Row {
    fn sealed(&self) -> Option<Sealed<'_>> {
        self.document_sealed.as_deref().map(|bytes| Sealed {
            column: Column::ConsentDocument,
            row: self.id,
            version: WRITTEN_ONCE,
            patient: Some(PersonId::from_uuid(self.patient_id)),
            bytes,
        })
    }
}

/// Rows from before documents were sealed that one round of upkeep seals.
const PLAIN_ROWS_MAX: i64 = 200;

/// SHA-256 of a text, as the one who signs it sends it back.
#[must_use]
pub fn consent_text_digest(text: &ConsentText) -> [u8; 32] {
    let digest = digest(&SHA256, text.text.as_bytes());
    digest.as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

/// The digest of the text of today that has this name.
fn digest_of(new: &NewConsent) -> Option<[u8; 32]> {
    Locale::ALL
        .iter()
        .filter_map(|locale| {
            consent_text(
                CONSENT_TEXT_LATEST,
                new.purpose,
                new.segment,
                new.decision,
                *locale,
            )
        })
        .find(|text| text.document == new.signature.document)
        .map(|text| consent_text_digest(&text))
}

fn consent_from(row: Row, people: &PersonRefs, opener: &Opener) -> Result<Consent> {
    let corrupt = || StoreError::corrupt("consent");
    let sha256 = |bytes: Option<Vec<u8>>| bytes.map(<[u8; 32]>::try_from).transpose().map_err(|_| corrupt());
    let document = match (row.sealed(), &row.document) {
        (Some(sealed), _) => opener.text(&sealed)?.into_exposed(),
        (None, Some(plain)) => plain.clone(),
        (None, None) => return Err(corrupt()),
    };
    Ok(Consent {
        id: ConsentId::from_uuid(row.id),
        purpose: row.purpose.parse().map_err(|_| corrupt())?,
        segment: row.segment.parse().map_err(|_| corrupt())?,
        version: row.version,
        decision: row.decision.parse().map_err(|_| corrupt())?,
        signature: Signature {
            by: row.signed_by.parse().map_err(|_| corrupt())?,
            document,
            text_sha256: sha256(row.text_sha256)?,
            proof_sha256: sha256(row.proof_sha256)?,
        },
        recorded_by: people.of(row.recorded_by)?,
        recorded_at: row.recorded_at,
        session_id: row.session_id.map(SessionId::from_uuid),
        proved_at: row.proved_at,
    })
}

impl Tx {
    /// The text that is signed today, in a language.
    ///
    /// # Errors
    /// [`StoreError::Denied`]; [`StoreError::NotFound`] for what nobody is asked to agree to.
    pub async fn consent_text_get(
        &mut self,
        purpose: Purpose,
        segment: Segment,
        decision: ConsentDecision,
        locale: Locale,
    ) -> Result<ConsentText> {
        self.authorise(authz::Action::ConsentTextGet, Target::Clinic)
            .await?;
        consent_text(CONSENT_TEXT_LATEST, purpose, segment, decision, locale).ok_or(StoreError::NotFound)
    }

    /// Everything a patient ever said, the latest first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`].
    pub async fn consent_list(&mut self, patient: PersonId, page: PageRequest) -> Result<Page<Consent>> {
        self.authorise(authz::Action::ConsentList, Target::Patient(patient))
            .await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, patient_id, purpose, segment, version, decision, document, document_sealed, signed_by, text_sha256, proof_sha256,
                 recorded_by, recorded_at, session_id, proved_at
             FROM consent WHERE patient_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        )
        .bind(patient.as_uuid())
        .bind(page.id())
        .bind(page.fetch())
        .fetch_all(self.db())
        .await?;
        let page = Page::of(rows, page, |row| Cursor::by_id(row.id));
        let people = self
            .person_refs(page.items.iter().map(|row| row.recorded_by))
            .await?;
        let opener = self.opener(page.items.iter().filter_map(Row::sealed)).await?;
        self.audit(Action::ConsentRead, patient, Some(patient)).await?;
        page.try_map(|row| consent_from(row, &people, &opener))
    }

    /// Records what a patient said; it counts from now on, and what they said before stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`]; a refusal of [`Signature::check`].
    pub async fn consent_record(&mut self, patient: PersonId, new: &NewConsent) -> Result<Consent> {
        self.authorise(authz::Action::ConsentRecord, Target::Patient(patient))
            .await?;
        let caller = *self.actor().caller().ok_or(StoreError::NotFound)?;
        new.signature.check(patient, caller.person_id, digest_of(new))?;
        // What is said at the same time gets one order: the person's row is the queue.
        sqlx::query("SELECT FROM person WHERE id = $1 FOR NO KEY UPDATE")
            .bind(patient.as_uuid())
            .execute(self.db())
            .await?;
        let (clinic, now, id) = (self.clinic(), self.now(), ConsentId::generate());
        let signature = &new.signature;
        let session = (signature.by == SignedBy::Session).then_some(caller.session_id);
        let document = self
            .seal(
                Column::ConsentDocument,
                id.as_uuid(),
                WRITTEN_ONCE,
                Owner::Patient(patient),
                signature.document.as_bytes(),
            )
            .await?;
        let version: i64 = sqlx::query_scalar(
            "INSERT INTO consent (clinic_id, id, patient_id, purpose, segment, version, decision, document_sealed,
                 signed_by, text_sha256, proof_sha256, recorded_by, recorded_at, session_id, proved_at)
             SELECT $1, $2, $3, $4, $5, 1 + coalesce(max(c.version), 0), $6, $7, $8, $9, $10, $11, $12, $13, $14
             FROM consent c WHERE c.patient_id = $3 AND c.purpose = $4 AND c.segment = $5
             RETURNING version",
        )
        .bind(clinic)
        .bind(id.as_uuid())
        .bind(patient.as_uuid())
        .bind(new.purpose.as_str())
        .bind(new.segment.as_str())
        .bind(new.decision.as_str())
        .bind(document)
        .bind(signature.by.as_str())
        .bind(signature.text_sha256.map(Vec::from))
        .bind(signature.proof_sha256.map(Vec::from))
        .bind(caller.person_id.as_uuid())
        .bind(now)
        .bind(session.map(|id| id.as_uuid()))
        .bind(caller.stepped_up_at)
        .fetch_one(self.db())
        .await?;
        self.audit(Action::ConsentRecord, id, Some(patient)).await?;
        let people = self.person_refs([caller.person_id.as_uuid()]).await?;
        Ok(Consent {
            id,
            purpose: new.purpose,
            segment: new.segment,
            version,
            decision: new.decision,
            signature: signature.clone(),
            recorded_by: people.of(caller.person_id.as_uuid())?,
            recorded_at: now,
            session_id: session,
            proved_at: caller.stepped_up_at,
        })
    }
}

impl Store {
    /// Seals the names of documents that were written before they were sealed, a bounded number at
    /// once. Any control node may call it at any time. Says how many.
    ///
    /// # Errors
    /// When the database or the keys fail.
    pub async fn consents_seal(&self) -> Result<u64> {
        let clinics: Vec<Uuid> = sqlx::query_scalar("SELECT consents_plain()")
            .fetch_all(&self.pool)
            .await?;
        let mut sealed = 0;
        for clinic in clinics {
            let actor = Actor::System(SystemActor::Upkeep);
            let clinic = ClinicId::from_uuid(clinic);
            let mut tx = self.begin(clinic, actor, RequestId::generate()).await?;
            sealed += tx.consents_seal().await?;
            tx.commit().await?;
        }
        Ok(sealed)
    }
}

impl Tx {
    async fn consents_seal(&mut self) -> Result<u64> {
        let rows: Vec<(Uuid, Uuid, String)> = sqlx::query_as(
            "SELECT c.id, c.patient_id, c.document FROM consent c
                 JOIN person p ON p.clinic_id = c.clinic_id AND p.id = c.patient_id
             WHERE c.document IS NOT NULL ORDER BY c.id LIMIT $1 FOR UPDATE OF c SKIP LOCKED",
        )
        .bind(PLAIN_ROWS_MAX)
        .fetch_all(self.db())
        .await?;
        for (id, patient, document) in &rows {
            let owner = Owner::Patient(PersonId::from_uuid(*patient));
            let sealed = self
                .seal(
                    Column::ConsentDocument,
                    *id,
                    WRITTEN_ONCE,
                    owner,
                    document.as_bytes(),
                )
                .await;
            let sealed = match sealed {
                // Of an erased patient: what was left of their words goes as well.
                Err(StoreError::NotFound) => {
                    let gone = ERASED_NAME.as_bytes();
                    self.seal(Column::ConsentDocument, *id, WRITTEN_ONCE, Owner::Clinic, gone)
                        .await?
                }
                sealed => sealed?,
            };
            sqlx::query("UPDATE consent SET document = NULL, document_sealed = $2 WHERE id = $1")
                .bind(id)
                .bind(sealed)
                .execute(self.db())
                .await?;
        }
        Ok(rows.len() as u64)
    }
}
