//! One pass over a record.

use std::sync::atomic::{AtomicU64, Ordering};

use medmesh_base::{AppointmentId, ClinicId, MessageId, RecordExportId};
use medmesh_clinic::{Appointment, Message, RecordExport, Visit};
use medmesh_fhir::record::{self as fhir, Source};
use medmesh_store::{
    AppointmentFilter, AuditView, CopyForm, Cursor, MESSAGES_PER_LIST_MAX, PAGE_MAX, PageRequest, Tx,
};
use object_store::ObjectStoreExt as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::write::{JsonFile, SealedFile};
use super::{CopyError, Copyist, gone, place};
use crate::http::record as json;
use crate::jobs::Run;

/// Accesses in a copy at most, the latest: some three hundred megabytes of FHIR. Whether there were
/// more is said at the end.
const ACCESSES_MAX: usize = 100_000;

/// How far a copy is.
struct Steps<'a> {
    run: &'a Run,
    /// Things that were read.
    moved: AtomicU64,
}

impl Steps<'_> {
    async fn add(&self, count: usize) -> Result<(), CopyError> {
        let moved = self.moved.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
        Ok(self.run.moves(moved).await?)
    }
}

/// Both files of a copy.
struct Files<'a> {
    json: JsonFile,
    fhir: JsonFile,
    steps: &'a Steps<'a>,
}

impl Files<'_> {
    async fn add<T: serde::Serialize>(
        &mut self,
        items: &[T],
        resources: &[fhir::Entry],
    ) -> Result<(), CopyError> {
        self.json.items(items).await?;
        self.fhir.items(resources).await?;
        self.steps.add(items.len()).await
    }
}

/// What the record is read with: page after page, each in a transaction of its own.
struct Reader<'a> {
    copyist: &'a Copyist,
    clinic: ClinicId,
    export: &'a RecordExport,
    steps: &'a Steps<'a>,
}

/// Walks the pages of one listing: `$list(tx, page)` gives a page, `$each` takes its items.
macro_rules! pages {
    ($reader:expr, |$tx:ident, $page:ident| $list:expr, |$items:ident| $each:expr) => {{
        let mut cursor = None;
        loop {
            let $page = full_page(cursor);
            let mut $tx = $reader.begin().await?;
            let found = $list;
            $tx.commit().await?;
            let $items = found.items;
            $each;
            cursor = found.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
    }};
}

const fn full_page(cursor: Option<Cursor>) -> PageRequest {
    PageRequest {
        cursor,
        limit: Some(PAGE_MAX),
    }
}

impl Reader<'_> {
    async fn begin(&self) -> Result<Tx, CopyError> {
        let store = &self.copyist.store;
        Ok(store.record_export_read(self.clinic, self.export).await?)
    }

    /// All of it, into the lists of both files.
    async fn everything(&self, files: &mut Files<'_>, source: &Source<'_>) -> Result<(), CopyError> {
        files.json.list("appointments").await?;
        self.appointments(files).await?;
        files.json.end().await?;
        self.relations(files).await?;
        let is_whole = self.accesses(files, source).await?;
        files.json.list("notes").await?;
        if !is_whole {
            let note = "accesses: only the latest 100,000; ask the clinic for older ones";
            files.json.items(&[note]).await?;
        }
        files.json.end().await?;
        files.fhir.end().await
    }

    async fn appointments(&self, files: &mut Files<'_>) -> Result<(), CopyError> {
        let filter = AppointmentFilter {
            patient: Some(self.export.patient_id),
            ..AppointmentFilter::default()
        };
        pages!(
            self,
            |tx, page| tx.appointment_list(filter, page).await?,
            |items| {
                for appointment in items {
                    let (cancelled_because, visit, messages) = self.visit(&appointment).await?;
                    let resources =
                        fhir::appointment(&appointment, &visit, &messages, cancelled_because.as_ref());
                    let item = json::appointment(appointment, cancelled_because, visit, messages);
                    files.add(&[item], &resources).await?;
                }
            }
        );
        Ok(())
    }

    async fn visit(
        &self,
        appointment: &Appointment,
    ) -> Result<(Option<medmesh_base::Phi<String>>, Visit, Vec<Message>), CopyError> {
        let mut tx = self.begin().await?;
        let ids: [AppointmentId; 1] = [appointment.id];
        let cancelled = tx
            .record_export_cancellations(&ids)
            .await?
            .remove(&appointment.id);
        let visit = tx.visit_get(appointment.visit_id).await?;
        let (mut messages, mut after): (Vec<Message>, Option<MessageId>) = (Vec::new(), None);
        loop {
            let some = tx
                .message_list(visit.id, after, Some(MESSAGES_PER_LIST_MAX))
                .await?;
            after = some.last().map(|message| message.id);
            let is_last = some.len() < MESSAGES_PER_LIST_MAX as usize;
            self.steps.add(some.len()).await?;
            messages.extend(some);
            if is_last {
                break;
            }
        }
        tx.commit().await?;
        Ok((cancelled, visit, messages))
    }

    /// What others may do with the record, and what the patient said about that.
    async fn relations(&self, files: &mut Files<'_>) -> Result<(), CopyError> {
        let patient = self.export.patient_id;
        files.json.list("care_team").await?;
        pages!(
            self,
            |tx, page| tx.care_team_list(patient, true, page).await?,
            |items| {
                let resources: Vec<_> = items.iter().map(fhir::care_team_member).collect();
                let items: Vec<_> = items.into_iter().map(json::care_team_member).collect();
                files.add(&items, &resources).await?;
            }
        );
        files.json.end().await?;
        files.json.list("referrals").await?;
        pages!(self, |tx, page| tx.referral_list(patient, page).await?, |items| {
            let resources: Vec<_> = items.iter().map(fhir::referral).collect();
            let items: Vec<_> = items.into_iter().map(json::referral).collect();
            files.add(&items, &resources).await?;
        });
        files.json.end().await?;
        files.json.list("consents").await?;
        pages!(self, |tx, page| tx.consent_list(patient, page).await?, |items| {
            let resources: Vec<_> = items
                .iter()
                .flat_map(|consent| fhir::consent(consent, patient))
                .collect();
            let items: Vec<_> = items.into_iter().map(json::consent).collect();
            files.add(&items, &resources).await?;
        });
        files.json.end().await?;
        files.json.list("corrections").await?;
        pages!(
            self,
            |tx, page| tx.correction_list(patient, page).await?,
            |items| {
                let resources: Vec<_> = items.iter().map(fhir::correction).collect();
                let items: Vec<_> = items.into_iter().map(json::correction).collect();
                files.add(&items, &resources).await?;
            }
        );
        files.json.end().await
    }

    /// Who saw the record, and to whom it was given.
    async fn accesses(&self, files: &mut Files<'_>, source: &Source<'_>) -> Result<bool, CopyError> {
        let patient = self.export.patient_id;
        files.json.list("break_glass").await?;
        pages!(
            self,
            |tx, page| tx.break_glass_list(patient, page).await?,
            |items| {
                let resources: Vec<_> = items
                    .iter()
                    .map(|glass| fhir::break_glass(glass, source))
                    .collect();
                let items: Vec<_> = items.into_iter().map(json::break_glass).collect();
                files.add(&items, &resources).await?;
            }
        );
        files.json.end().await?;
        files.json.list("disclosures").await?;
        pages!(
            self,
            |tx, page| tx.disclosure_list(patient, page).await?,
            |items| {
                let resources: Vec<_> = items
                    .iter()
                    .map(|disclosure| fhir::disclosure(disclosure, patient, source))
                    .collect();
                let items: Vec<_> = items.into_iter().map(json::disclosure).collect();
                files.add(&items, &resources).await?;
            }
        );
        files.json.end().await?;
        files.json.list("exports").await?;
        pages!(
            self,
            |tx, page| tx.record_export_list(patient, page).await?,
            |items| {
                let items: Vec<_> = items.into_iter().map(json::export).collect();
                files.json.items(&items).await?;
            }
        );
        files.json.end().await?;
        files.json.list("accesses").await?;
        let (mut cursor, mut left) = (None, ACCESSES_MAX);
        let is_whole = loop {
            let mut tx = self.begin().await?;
            let AuditView {
                page,
                people,
                clients,
                ..
            } = tx.record_access_list(patient, false, full_page(cursor)).await?;
            tx.commit().await?;
            left = left.saturating_sub(page.items.len());
            let resources: Vec<_> = page
                .items
                .iter()
                .map(|event| fhir::access(event, json::named(event, &people, &clients), source))
                .collect();
            let items: Vec<_> = page
                .items
                .into_iter()
                .map(|event| json::access(event, &people, &clients))
                .collect();
            files.add(&items, &resources).await?;
            cursor = page.next_cursor;
            if cursor.is_none() || left == 0 {
                break cursor.is_none();
            }
        };
        files.json.end().await?;
        Ok(is_whole)
    }
}

impl Copyist {
    /// Makes a copy, if it is still wanted. May be repeated, and may break off: what was stored before
    /// is stored anew. However many make it, one of them finishes.
    pub(super) async fn make(
        &self,
        clinic: ClinicId,
        id: RecordExportId,
        run: &Run,
    ) -> Result<(), CopyError> {
        let Some(export) = self.store.record_export_begin(clinic, id).await? else {
            return Ok(());
        };
        let object = Uuid::new_v4();
        let made = self.write(clinic, &export, object, run).await;
        if !matches!(made, Ok(true)) {
            // It broke off, was made by another meanwhile, or is nobody's any more.
            for form in CopyForm::ALL {
                let place = place(clinic, &export, object, form);
                if let Err(error) = gone(self.objects.delete(&place).await) {
                    // It goes with the others of this copy, or with its record.
                    tracing::debug!(%error, "what was stored of a copy that is none stays for now");
                }
            }
        }
        made.map(drop)
    }

    /// Writes both files; whether they are the copy now.
    async fn write(
        &self,
        clinic: ClinicId,
        export: &RecordExport,
        object: Uuid,
        run: &Run,
    ) -> Result<bool, CopyError> {
        let steps = Steps {
            run,
            moved: AtomicU64::new(0),
        };
        let reader = Reader {
            copyist: self,
            clinic,
            export,
            steps: &steps,
        };
        let mut tx = reader.begin().await?;
        let key = tx.record_export_key(export.patient_id, None).await?;
        let about = tx.clinic_get().await?;
        let person = tx.record_export_person().await?;
        let rights = tx.record_rights_get(export.patient_id).await?;
        tx.commit().await?;
        let (id, made_at) = (export.id, OffsetDateTime::now_utc());
        let source = Source {
            site: &about.name,
            url: &self.url,
        };
        let mut begun = Vec::with_capacity(CopyForm::ALL.len());
        for (form, kind) in [
            (CopyForm::Json, "application/json"),
            (CopyForm::Fhir, "application/fhir+json"),
        ] {
            let place = place(clinic, export, object, form);
            let signer = self.signer.detached(kind);
            let field = form.field(clinic, id);
            begun.push(SealedFile::begin(&*self.objects, &place, &key, &field, signer).await?);
        }
        let (bundle, plain) = (begun.pop().expect("two forms"), begun.pop().expect("two forms"));
        let head = json::head(export, &about, &person, rights, made_at);
        let mut files = Files {
            json: JsonFile::begin(plain, &head).await?,
            fhir: JsonFile::begin(bundle, &fhir::head(id, made_at)).await?,
            steps: &steps,
        };
        files.fhir.list("entry").await?;
        let first = fhir::patient(&person.person, clinic, &about.name, made_at, id);
        files.fhir.items(&first).await?;
        reader.everything(&mut files, &source).await?;
        let (json, fhir) = (files.json.finish().await?, files.fhir.finish().await?);
        // Whoever lost the claim to another does not finish beside them.
        run.holds(steps.moved.load(Ordering::Relaxed)).await?;
        let ready = self
            .store
            .record_export_ready(clinic, export, object, &json, &fhir);
        Ok(ready.await?)
    }
}
