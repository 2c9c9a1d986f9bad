-- What shows later that somebody signed: the text they were shown, and the session they signed in.
ALTER TABLE consent
    -- Of the text that was on the screen; names the very wording.
    ADD COLUMN text_sha256 bytea,
    ADD COLUMN session_id uuid,
    -- When the signer had last proved who they are.
    ADD COLUMN proved_at timestamptz,
    ADD CONSTRAINT consent_text_length CHECK (octet_length(text_sha256) = 32),
    ADD CONSTRAINT consent_signature_sound CHECK (
        signed_by <> 'session' OR (text_sha256 IS NOT NULL AND session_id IS NOT NULL));
CREATE INDEX consent_by_patient ON consent (clinic_id, patient_id, id);
CREATE INDEX care_team_by_patient ON care_team (clinic_id, patient_id, id);
-- What the privacy officer has to look at comes first.
CREATE INDEX break_glass_unreviewed ON break_glass (clinic_id, id) WHERE finding IS NULL;
-- A rotation of a patient's key seals these anew.
GRANT UPDATE (reason) ON referral, break_glass TO medmesh_service;
