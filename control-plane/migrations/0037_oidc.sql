-- Signing in with an outside OpenID provider: which one a clinic lets its people use, and who
-- of them is whom there.
CREATE TABLE oidc_provider (
    clinic_id      uuid PRIMARY KEY REFERENCES clinic (id),
    -- As every table with a sealed column has one.
    id             uuid NOT NULL GENERATED ALWAYS AS (clinic_id) STORED,
    issuer         text NOT NULL,
    client_id      text NOT NULL,
    client_secret  bytea NOT NULL,               -- sealed
    -- Rises whenever the secret is written: part of what it is bound to.
    seal_version   bigint NOT NULL,
    -- Words of amr or acr that stand for a second factor; empty: none does.
    second_factor  text[] NOT NULL,
    enabled        boolean NOT NULL,
    version        bigint NOT NULL,
    CONSTRAINT oidc_provider_bounded CHECK (
        length(issuer) <= 512 AND length(client_id) <= 256 AND cardinality(second_factor) <= 16)
);
CALL guard_tenant_table('oidc_provider', 'clinic_id');
GRANT SELECT, INSERT, UPDATE ON oidc_provider TO medmesh_service;

CREATE TABLE oidc_identity (
    clinic_id     uuid NOT NULL,
    id            uuid NOT NULL,
    person_id     uuid NOT NULL,
    issuer        text NOT NULL,
    -- Keyed digest of issuer and subject: some providers use addresses for subjects.
    subject_index bytea NOT NULL,
    linked_at     timestamptz NOT NULL,
    used_at       timestamptz,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, person_id) REFERENCES person (clinic_id, id),
    CONSTRAINT oidc_identity_subject_key UNIQUE (clinic_id, subject_index),
    CONSTRAINT oidc_identity_subject_length CHECK (octet_length(subject_index) = 32)
);
CREATE INDEX oidc_identity_by_person ON oidc_identity (clinic_id, person_id, id);
CALL guard_tenant_table('oidc_identity', 'clinic_id');
GRANT SELECT, INSERT, DELETE ON oidc_identity TO medmesh_service;
GRANT UPDATE (used_at) ON oidc_identity TO medmesh_service;

-- Proved there: one factor, or several where the clinic takes the provider's word for it (RFC 8176).
ALTER TABLE session DROP CONSTRAINT session_amr_known;
ALTER TABLE session ADD CONSTRAINT session_amr_known
    CHECK (amr <@ ARRAY['pwd', 'otp', 'pop', 'rec', 'fed', 'mfa'] AND cardinality(amr) > 0);
