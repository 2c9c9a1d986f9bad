//! What people write to each other in a visit: durable before it is acknowledged.

use medmesh_base::{MessageId, ParticipantId, PersonId, Phi, VisitId};
use medmesh_clinic::audit::Action;
use medmesh_clinic::authz;
use medmesh_clinic::{Message, MessageBody, Refusal};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::keys::{Column, Owner, Sealed, WRITTEN_ONCE};
use crate::outbox::EventKind;
use crate::relationship::Target;
use crate::{Result, StoreError, Tx};

/// Most messages of one listing.
pub const MESSAGES_PER_LIST_MAX: u32 = 200;

impl Tx {
    /// Writes a message as the caller. Numbers are given under the visit's lock,
    /// so what was listed is never joined by an earlier message later.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`]; [`Refusal::VisitEnded`].
    pub async fn message_create(&mut self, visit_id: VisitId, body: &MessageBody) -> Result<Message> {
        let leave = self
            .authorise(authz::Action::MessageCreate, Target::Visit(visit_id))
            .await?;
        let participant_id = self.message_part(visit_id).await?;
        let sequence: Option<i64> = sqlx::query_scalar(
            "UPDATE visit SET message_sequence = message_sequence + 1
             WHERE id = $1 AND state <> 'ended' RETURNING message_sequence",
        )
        .bind(visit_id.as_uuid())
        .fetch_optional(self.db())
        .await?;
        let sequence = sequence.ok_or(Refusal::VisitEnded)?;
        let (clinic, id, sent_at) = (self.clinic(), MessageId::generate(), self.now());
        let sealed = self
            .seal(
                Column::MessageBody,
                id.as_uuid(),
                WRITTEN_ONCE,
                Owner::of(leave.patient),
                body.expose().as_bytes(),
            )
            .await?;
        sqlx::query(
            "INSERT INTO message (clinic_id, id, visit_id, sequence, participant_id, body, sent_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(clinic)
        .bind(id.as_uuid())
        .bind(visit_id.as_uuid())
        .bind(sequence)
        .bind(participant_id.as_uuid())
        .bind(sealed)
        .bind(sent_at)
        .execute(self.db())
        .await?;
        self.audit(Action::MessageCreate, id, leave.patient).await?;
        self.publish(EventKind::MessageCreated {
            visit_id,
            message_id: id,
        })
        .await?;
        let body = Phi::new(body.expose().to_owned());
        Ok(Message {
            id,
            visit_id,
            sequence,
            participant_id,
            body,
            sent_at,
        })
    }

    /// Messages in order, those after `after` if one is named: nothing is left
    /// out and nothing comes twice. At most [`MESSAGES_PER_LIST_MAX`].
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`];
    /// [`StoreError::CursorInvalid`] when `after` is no message of this visit.
    pub async fn message_list(
        &mut self,
        visit_id: VisitId,
        after: Option<MessageId>,
        limit: Option<u32>,
    ) -> Result<Vec<Message>> {
        let leave = self
            .authorise(authz::Action::MessageList, Target::Visit(visit_id))
            .await?;
        let after = match after {
            Some(id) => self.message_sequence(visit_id, id).await?,
            None => 0,
        };
        type Row = (Uuid, i64, Uuid, Vec<u8>, OffsetDateTime);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, sequence, participant_id, body, sent_at FROM message
             WHERE visit_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
        )
        .bind(visit_id.as_uuid())
        .bind(after)
        .bind(i64::from(
            limit
                .unwrap_or(MESSAGES_PER_LIST_MAX)
                .clamp(1, MESSAGES_PER_LIST_MAX),
        ))
        .fetch_all(self.db())
        .await?;
        self.audit(Action::MessageRead, visit_id, leave.patient).await?;
        let opener = self
            .opener(rows.iter().map(|row| sealed_body(row.0, leave.patient, &row.3)))
            .await?;
        rows.iter()
            .map(|(id, sequence, participant, body, sent_at)| {
                Ok(Message {
                    id: MessageId::from_uuid(*id),
                    visit_id,
                    sequence: *sequence,
                    participant_id: ParticipantId::from_uuid(*participant),
                    body: opener.text(&sealed_body(*id, leave.patient, body))?,
                    sent_at: *sent_at,
                })
            })
            .collect()
    }

    /// The place of a message among those of its visit: how far somebody has read who saw it last. It is
    /// no reading, and leaves no leaf.
    ///
    /// # Errors
    /// As [`Tx::message_list`].
    pub async fn message_place(&mut self, visit_id: VisitId, id: MessageId) -> Result<i64> {
        self.authorise(authz::Action::MessageList, Target::Visit(visit_id))
            .await?;
        self.message_sequence(visit_id, id).await
    }

    async fn message_sequence(&mut self, visit_id: VisitId, id: MessageId) -> Result<i64> {
        sqlx::query_scalar("SELECT sequence FROM message WHERE visit_id = $1 AND id = $2")
            .bind(visit_id.as_uuid())
            .bind(id.as_uuid())
            .fetch_optional(self.db())
            .await?
            .ok_or(StoreError::CursorInvalid)
    }

    /// The caller's part in the visit.
    async fn message_part(&mut self, visit_id: VisitId) -> Result<ParticipantId> {
        let me = self.person()?;
        let participant: Uuid = sqlx::query_scalar(
            "SELECT participant_id FROM visit_participant WHERE visit_id = $1 AND person_id = $2",
        )
        .bind(visit_id.as_uuid())
        .bind(me.as_uuid())
        .fetch_optional(self.db())
        .await?
        .ok_or(StoreError::NotFound)?;
        Ok(ParticipantId::from_uuid(participant))
    }
}

fn sealed_body(id: Uuid, patient: Option<PersonId>, bytes: &[u8]) -> Sealed<'_> {
    Sealed {
        column: Column::MessageBody,
        row: id,
        version: WRITTEN_ONCE,
        patient,
        bytes,
    }
}
