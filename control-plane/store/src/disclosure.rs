//! What was given to somebody outside, for the account a patient may have of it.

use medmesh_base::{DisclosureId, PersonId, Phi};
use medmesh_clinic::audit::{Action, Object, ObjectKind};
use medmesh_clinic::authz;
use medmesh_clinic::{ACCOUNTED_FOR, Disclosure, NewDisclosure};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::keys::{Column, Owner, Sealed, WRITTEN_ONCE};
use crate::relationship::Target;
use crate::{Cursor, Page, PageRequest, Result, StoreError, Tx};

/// What is sealed of a row. Fields may be added; what was written is never written again.
#[derive(Serialize, Deserialize)]
struct Content {
    recipient: String,
    address: Option<String>,
    description: String,
    purpose: String,
}

type Row = (Uuid, OffsetDateTime, String, Vec<u8>, OffsetDateTime);

impl Tx {
    /// Notes that something of a patient's record was given to somebody outside.
    ///
    /// # Errors
    /// [`StoreError::Denied`] for all but the privacy officer; [`StoreError::Invalid`].
    pub async fn disclosure_create(&mut self, patient: PersonId, new: &NewDisclosure) -> Result<Disclosure> {
        self.authorise(authz::Action::DisclosureCreate, Target::Patient(patient))
            .await?;
        new.check(self.now())?;
        let (clinic, id, at, by) = (
            self.clinic(),
            DisclosureId::generate(),
            self.now(),
            self.person()?,
        );
        let content = Content {
            recipient: new.recipient.expose().to_owned(),
            address: new.address.as_ref().map(|address| address.expose().to_owned()),
            description: new.description.expose().to_owned(),
            purpose: new.purpose.expose().to_owned(),
        };
        let plain = serde_json::to_vec(&content).expect("texts are plain JSON");
        let sealed = self
            .seal(
                Column::DisclosureContent,
                id.as_uuid(),
                WRITTEN_ONCE,
                Owner::Clinic,
                &plain,
            )
            .await?;
        sqlx::query(
            "INSERT INTO disclosure (clinic_id, id, patient_id, disclosed_at, basis, content, recorded_by, recorded_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(clinic)
        .bind(id.as_uuid())
        .bind(patient.as_uuid())
        .bind(new.disclosed_at)
        .bind(new.basis.as_str())
        .bind(sealed)
        .bind(by.as_uuid())
        .bind(at)
        .execute(self.db())
        .await?;
        self.audit(Action::DisclosureCreate, id, Some(patient)).await?;
        let row = (
            id.as_uuid(),
            new.disclosed_at,
            new.basis.as_str().to_owned(),
            Vec::new(),
            at,
        );
        disclosure_from(row, content)
    }

    /// To whom a patient's record was given in the last six years, the latest first.
    ///
    /// # Errors
    /// [`StoreError::Denied`] for all but the patient and the privacy officer.
    pub async fn disclosure_list(
        &mut self,
        patient: PersonId,
        page: PageRequest,
    ) -> Result<Page<Disclosure>> {
        self.authorise(authz::Action::DisclosureList, Target::Patient(patient))
            .await?;
        let since = self.now() - ACCOUNTED_FOR;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, disclosed_at, basis, content, recorded_at FROM disclosure
             WHERE patient_id = $1 AND disclosed_at > $2
                 AND ($3::timestamptz IS NULL OR (disclosed_at, id) < ($3, $4))
             ORDER BY disclosed_at DESC, id DESC LIMIT $5",
        )
        .bind(patient.as_uuid())
        .bind(since)
        .bind(page.at())
        .bind(page.id())
        .bind(page.fetch())
        .fetch_all(self.db())
        .await?;
        let opener = self.opener(rows.iter().map(sealed)).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let plain = opener.open(&sealed(&row))?;
            let content = serde_json::from_slice(&plain)
                .map_err(|_| StoreError::corrupt(Column::DisclosureContent.path()))?;
            found.push(disclosure_from(row, content)?);
        }
        let found = Page::of(found, page, |disclosure| Cursor {
            at: disclosure.disclosed_at,
            id: disclosure.id.as_uuid(),
        });
        let object = Object::none_of(ObjectKind::Disclosure);
        self.audit(Action::DisclosureRead, object, Some(patient)).await?;
        Ok(found)
    }
}

fn sealed(row: &Row) -> Sealed<'_> {
    Sealed {
        column: Column::DisclosureContent,
        row: row.0,
        version: WRITTEN_ONCE,
        patient: None,
        bytes: &row.3,
    }
}

fn disclosure_from((id, disclosed_at, basis, _, recorded_at): Row, content: Content) -> Result<Disclosure> {
    Ok(Disclosure {
        id: DisclosureId::from_uuid(id),
        disclosed_at,
        recipient: Phi::new(content.recipient),
        address: content.address.map(Phi::new),
        description: Phi::new(content.description),
        purpose: Phi::new(content.purpose),
        basis: basis
            .parse()
            .map_err(|_| StoreError::corrupt("disclosure.basis"))?,
        recorded_at,
    })
}
