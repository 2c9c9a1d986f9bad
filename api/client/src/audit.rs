//! The audit log, for auditors and for those whose records it is about.

use medmesh_api_types::audit::{AuditConsistency, AuditConsistencyQuery, AuditHead, AuditProof};
use medmesh_api_types::audit_view::{AuditEntry, AuditFormat, AuditQuery, RecordAccess, RecordAccessQuery};
use medmesh_api_types::disclosure::{Disclosure, DisclosureCreate};
use medmesh_api_types::page::{Page, PageQuery};
use medmesh_base::{AuditId, PersonId};

use crate::clinic::with_query;
use crate::{ClientError, Clinic, IdempotencyKey};

/// A copy of a part of the log.
#[derive(Clone, Debug)]
pub struct AuditExport {
    /// CSV, or a FHIR bundle.
    pub bytes: Vec<u8>,
    /// Where the rest begins.
    pub next_cursor: Option<String>,
}

impl Clinic {
    /// A page of the clinic's audit log. Auditors and admins only.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit_list(&self, query: &AuditQuery) -> Result<Page<AuditEntry>, ClientError> {
        self.get(&with_query("/v1/audit", query)?).await
    }

    /// A copy of the clinic's audit log. Auditors and admins who have just proved themselves again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit_export(
        &self,
        format: AuditFormat,
        query: &AuditQuery,
    ) -> Result<AuditExport, ClientError> {
        let path = with_query("/v1/audit/export", query)?;
        let separator = if path.contains('?') { '&' } else { '?' };
        let format = match format {
            AuditFormat::Csv => "csv",
            AuditFormat::Fhir => "fhir",
        };
        let (bytes, link) = self
            .download(&format!("{path}{separator}format={format}"))
            .await?;
        Ok(AuditExport {
            bytes,
            next_cursor: link.as_deref().and_then(cursor_of),
        })
    }

    /// Proof that one entry is in the clinic's audit log. Auditors and admins only.
    ///
    /// # Errors
    /// [`ClientError`]; `audit_head_pending` for the second until a signed head covers the entry.
    pub async fn audit_prove(&self, leaf: AuditId) -> Result<AuditProof, ClientError> {
        self.get(&format!("/v1/audit/{leaf}/proof")).await
    }

    /// The newest signed head of the clinic's audit log. Auditors and admins only.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit_head_get(&self) -> Result<AuditHead, ClientError> {
        self.get("/v1/audit/head").await
    }

    /// Proof that a later head of the log extends an earlier one. Auditors and admins only.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit_consistency_get(
        &self,
        query: &AuditConsistencyQuery,
    ) -> Result<AuditConsistency, ClientError> {
        self.get(&with_query("/v1/audit/consistency", query)?).await
    }

    /// Who saw a record, when and why.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn record_access_list(
        &self,
        patient: PersonId,
        query: &RecordAccessQuery,
    ) -> Result<Page<RecordAccess>, ClientError> {
        self.get(&with_query(&format!("/v1/patients/{patient}/accesses"), query)?)
            .await
    }

    /// To whom outside a record was given, in the last six years.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn disclosure_list(
        &self,
        patient: PersonId,
        query: &PageQuery,
    ) -> Result<Page<Disclosure>, ClientError> {
        self.get(&with_query(
            &format!("/v1/patients/{patient}/disclosures"),
            query,
        )?)
        .await
    }

    /// Notes that something of a record was given to somebody outside. The privacy officer only.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn disclosure_create(
        &self,
        key: &IdempotencyKey,
        patient: PersonId,
        new: &DisclosureCreate,
    ) -> Result<Disclosure, ClientError> {
        self.create(&format!("/v1/patients/{patient}/disclosures"), key, new)
            .await
    }
}

/// The cursor of a `Link` to the next page (RFC 8288).
pub(crate) fn cursor_of(link: &str) -> Option<String> {
    let target = link.strip_prefix('<')?.split_once('>')?.0;
    let query = target.split_once('?')?.1;
    let cursor = query.split('&').find_map(|pair| pair.strip_prefix("cursor="))?;
    Some(cursor.to_owned())
}
