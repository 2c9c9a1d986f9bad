//! Care teams, referrals, consent, and what was opened in an emergency.

use medmesh_api_types::break_glass::{
    BreakGlass, BreakGlassOpen, BreakGlassQuery, BreakGlassReview, PrivacyOfficer, PrivacyOfficerSet,
};
use medmesh_api_types::care::{CareTeamAdd, CareTeamMember, CareTeamQuery, Referral, ReferralCreate};
use medmesh_api_types::consent::{Consent, ConsentRecord, ConsentText, ConsentTextQuery};
use medmesh_api_types::page::{Page, PageQuery};
use medmesh_base::{BreakGlassId, CareTeamMemberId, PersonId, ReferralId};
use reqwest::Method;

use crate::clinic::{if_match, with_query};
use crate::transport::encode;
use crate::{ClientError, Clinic, IdempotencyKey};

impl Clinic {
    /// Who cares for a patient.
    ///
    /// # Errors
    /// [`ClientError`], as for every call below.
    pub async fn care_team_list(
        &self,
        patient: PersonId,
        query: &CareTeamQuery,
    ) -> Result<Page<CareTeamMember>, ClientError> {
        self.get(&with_query(&format!("/v1/patients/{patient}/care-team"), query)?)
            .await
    }

    /// Puts somebody on a patient's care team.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn care_team_add(
        &self,
        key: &IdempotencyKey,
        patient: PersonId,
        new: &CareTeamAdd,
    ) -> Result<CareTeamMember, ClientError> {
        self.create(&format!("/v1/patients/{patient}/care-team"), key, new)
            .await
    }

    /// Takes somebody off a care team.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn care_team_end(
        &self,
        id: CareTeamMemberId,
        version: i64,
    ) -> Result<CareTeamMember, ClientError> {
        let path = format!("/v1/care-team/{id}/end");
        self.call(Method::POST, &path, if_match(version), None).await
    }

    /// Where a patient was referred.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn referral_list(
        &self,
        patient: PersonId,
        query: &PageQuery,
    ) -> Result<Page<Referral>, ClientError> {
        self.get(&with_query(&format!("/v1/patients/{patient}/referrals"), query)?)
            .await
    }

    /// Refers a patient.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn referral_create(
        &self,
        key: &IdempotencyKey,
        patient: PersonId,
        new: &ReferralCreate,
    ) -> Result<Referral, ClientError> {
        self.create(&format!("/v1/patients/{patient}/referrals"), key, new)
            .await
    }

    /// Takes a referral back.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn referral_end(&self, id: ReferralId, version: i64) -> Result<Referral, ClientError> {
        let path = format!("/v1/referrals/{id}/end");
        self.call(Method::POST, &path, if_match(version), None).await
    }

    /// The text that is signed today.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn consent_text_get(&self, query: &ConsentTextQuery) -> Result<ConsentText, ClientError> {
        self.get(&with_query("/v1/consent-text", query)?).await
    }

    /// What a patient said, every version.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn consent_list(
        &self,
        patient: PersonId,
        query: &PageQuery,
    ) -> Result<Page<Consent>, ClientError> {
        self.get(&with_query(&format!("/v1/patients/{patient}/consents"), query)?)
            .await
    }

    /// Records what a patient says.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn consent_record(
        &self,
        key: &IdempotencyKey,
        patient: PersonId,
        new: &ConsentRecord,
    ) -> Result<Consent, ClientError> {
        self.create(&format!("/v1/patients/{patient}/consents"), key, new)
            .await
    }

    /// Opens a record in an emergency.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn break_glass_open(
        &self,
        key: &IdempotencyKey,
        patient: PersonId,
        new: &BreakGlassOpen,
    ) -> Result<BreakGlass, ClientError> {
        self.create(&format!("/v1/patients/{patient}/break-glass"), key, new)
            .await
    }

    /// Who opened a patient's record in an emergency.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn break_glass_list(
        &self,
        patient: PersonId,
        query: &PageQuery,
    ) -> Result<Page<BreakGlass>, ClientError> {
        self.get(&with_query(
            &format!("/v1/patients/{patient}/break-glass"),
            query,
        )?)
        .await
    }

    /// Every record that was opened in an emergency. The privacy officer's.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn break_glass_alerts(&self, query: &BreakGlassQuery) -> Result<Page<BreakGlass>, ClientError> {
        self.get(&with_query("/v1/break-glass", query)?).await
    }

    /// Settles one of them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn break_glass_review(
        &self,
        id: BreakGlassId,
        version: i64,
        review: &BreakGlassReview,
    ) -> Result<BreakGlass, ClientError> {
        let path = format!("/v1/break-glass/{id}/review");
        self.call(Method::POST, &path, if_match(version), Some(encode(review)?))
            .await
    }

    /// Who looks after privacy.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn privacy_officer_get(&self) -> Result<PrivacyOfficer, ClientError> {
        self.get("/v1/privacy-officer").await
    }

    /// Names who does.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn privacy_officer_set(
        &self,
        person_id: PersonId,
        version: i64,
    ) -> Result<PrivacyOfficer, ClientError> {
        let body = encode(&PrivacyOfficerSet { person_id })?;
        self.call(Method::PUT, "/v1/privacy-officer", if_match(version), Some(body))
            .await
    }
}
