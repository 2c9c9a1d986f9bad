//! What can be asked for.

use crate::word::words;

words! {
    /// One thing a caller can ask for: the `operationId` of a route, or a part of one that
    /// has rules of its own.
    "action" Action {
        /// Learn who is signed in.
        AuthSession = "auth_session",
        /// End one's session.
        AuthLogout = "auth_logout",
        /// Prove oneself with a second factor.
        MfaVerify = "mfa_verify",
        /// Get a challenge for one's passkeys.
        MfaPasskeyOptions = "mfa_passkey_options",
        /// Prove oneself again.
        StepUp = "step_up",
        /// See one's factors.
        FactorList = "factor_list",
        /// Begin to set up an app.
        TotpBegin = "totp_begin",
        /// Put the app into use.
        TotpConfirm = "totp_confirm",
        /// Forget the app.
        TotpRemove = "totp_remove",
        /// Name the app.
        TotpRename = "totp_rename",
        /// Begin to add a passkey.
        PasskeyBegin = "passkey_begin",
        /// Add a passkey.
        PasskeyAdd = "passkey_add",
        /// Name a passkey.
        PasskeyRename = "passkey_rename",
        /// Forget a passkey.
        PasskeyRemove = "passkey_remove",
        /// Get new recovery codes.
        RecoveryCodesReplace = "recovery_codes_replace",
        /// Change one's password.
        PasswordChange = "password_change",
        /// See where one is signed in.
        SessionList = "session_list",
        /// Sign one of one's devices out.
        SessionRevoke = "session_revoke",
        /// Sign all of one's other devices out.
        SessionRevokeOthers = "session_revoke_others",
        /// Link an identity at an outside provider to oneself.
        OidcLink = "oidc_link",
        /// See one's identities at outside providers.
        IdentityList = "identity_list",
        /// Forget one of them.
        IdentityUnlink = "identity_unlink",
        /// See which outside provider the clinic's people may sign in with.
        OidcProviderGet = "oidc_provider_get",
        /// Say which.
        OidcProviderSet = "oidc_provider_set",
        /// Read how the clinic is set up.
        ClinicGet = "clinic_get",
        /// Change how the clinic is set up.
        ClinicUpdate = "clinic_update",
        /// List the clinic's people.
        PersonList = "person_list",
        /// Find patients by name.
        PatientSearch = "patient_search",
        /// Add a person and give them roles.
        PersonCreate = "person_create",
        /// Change what a person is to the clinic.
        PersonUpdate = "person_update",
        /// Register oneself as a patient, once the mailbox is proved.
        PersonRegister = "person_register",
        /// Invite a person and give them roles.
        InvitationCreate = "invitation_create",
        /// Register a machine of the clinic.
        ClientCreate = "client_create",
        /// See the clinic's machines.
        ClientList = "client_list",
        /// See one of them.
        ClientGet = "client_get",
        /// Change what one may, its keys, or whether it is let in at all.
        ClientUpdate = "client_update",
        /// State one's licence, NPI or DEA number.
        CredentialSubmit = "credential_submit",
        /// See what one stated, and how it stands.
        CredentialMine = "credential_mine",
        /// Take back what one stated.
        CredentialWithdraw = "credential_withdraw",
        /// See the clinic's credentials.
        CredentialList = "credential_list",
        /// Find a credential true.
        CredentialVerify = "credential_verify",
        /// Find that it is not.
        CredentialReject = "credential_reject",
        /// Book.
        AppointmentCreate = "appointment_create",
        /// List appointments.
        AppointmentList = "appointment_list",
        /// Read an appointment.
        AppointmentGet = "appointment_get",
        /// Change time or reason.
        AppointmentUpdate = "appointment_update",
        /// Change which segment it belongs to; a part of `appointment_update`.
        AppointmentLabel = "appointment_label",
        /// Call off.
        AppointmentCancel = "appointment_cancel",
        /// List one's visits of a day.
        VisitList = "visit_list",
        /// Learn which of them changed, without reading them.
        VisitPulses = "visit_pulses",
        /// Read a visit.
        VisitGet = "visit_get",
        /// Enter the waiting room.
        VisitCheckIn = "visit_check_in",
        /// Open a visit.
        VisitOpen = "visit_open",
        /// Let somebody in.
        VisitAdmit = "visit_admit",
        /// End a visit.
        VisitEnd = "visit_end",
        /// Follow a visit while it happens.
        VisitEvents = "visit_events",
        /// Add somebody to a visit.
        ParticipantAdd = "participant_add",
        /// Report who is connected: the media plane's.
        ParticipantPresence = "participant_presence",
        /// Read a visit's messages.
        MessageList = "message_list",
        /// Write a message.
        MessageCreate = "message_create",
        /// Learn which edges a visit could run on.
        SignalingCandidates = "signaling_candidates",
        /// Get the keys to a visit's room.
        SignalingSession = "signaling_session",
        /// Read the audit log.
        AuditList = "audit_list",
        /// Take a copy of the audit log away.
        AuditExport = "audit_export",
        /// Have it proved that an entry is in the audit log.
        AuditProve = "audit_prove",
        /// Read the audit log's newest signed head.
        AuditHeadGet = "audit_head_get",
        /// Have it proved that a later head of the audit log extends an earlier one.
        AuditConsistencyGet = "audit_consistency_get",
        /// See who saw a record.
        RecordAccessList = "record_access_list",
        /// See to whom outside a record was given.
        DisclosureList = "disclosure_list",
        /// Note that something of a record was given to somebody outside.
        DisclosureCreate = "disclosure_create",
        /// See who cares for a patient.
        CareTeamList = "care_team_list",
        /// Add somebody to a care team.
        CareTeamAdd = "care_team_add",
        /// Take somebody off a care team.
        CareTeamEnd = "care_team_end",
        /// See where a patient was referred.
        ReferralList = "referral_list",
        /// Refer a patient.
        ReferralCreate = "referral_create",
        /// Take a referral back.
        ReferralEnd = "referral_end",
        /// See what a patient agreed to.
        ConsentList = "consent_list",
        /// Read a text that is signed.
        ConsentTextGet = "consent_text_get",
        /// Record that a patient agrees, or no longer does.
        ConsentRecord = "consent_record",
        /// Break the glass.
        BreakGlassOpen = "break_glass_open",
        /// See who broke the glass of a patient.
        BreakGlassList = "break_glass_list",
        /// See every broken glass of the clinic.
        BreakGlassAlerts = "break_glass_alerts",
        /// Settle a broken glass.
        BreakGlassReview = "break_glass_review",
        /// See what a patient asked of their record as a whole.
        RecordRightsGet = "record_rights_get",
        /// Let one's record rest, or go.
        RecordRightsSet = "record_rights_set",
        /// Ask for a copy of everything one's record holds.
        RecordExportCreate = "record_export_create",
        /// See which copies were asked for, and whether they are ready.
        RecordExportList = "record_export_list",
        /// See how one of them stands, and its signatures.
        RecordExportGet = "record_export_get",
        /// Take one of them away.
        RecordExportDownload = "record_export_download",
        /// Ask for something in one's record to be corrected.
        CorrectionCreate = "correction_create",
        /// See what a patient wants corrected, and what came of it.
        CorrectionList = "correction_list",
        /// See what all patients in reach want corrected.
        CorrectionQueue = "correction_queue",
        /// Agree that something is to be corrected.
        CorrectionAccept = "correction_accept",
        /// Decline to correct it, and say why.
        CorrectionDecline = "correction_decline",
        /// Say that one disagrees with having been declined.
        CorrectionDisagree = "correction_disagree",
        /// See who the privacy officer is.
        PrivacyOfficerGet = "privacy_officer_get",
        /// Name the privacy officer.
        PrivacyOfficerSet = "privacy_officer_set",
    }
}
