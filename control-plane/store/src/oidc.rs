//! Outside providers of clinics, and who of their people is whom there.

use medmesh_base::{ClinicId, IdentityId, PersonId, RequestId};
use medmesh_clinic::audit::{Action, Object, ObjectKind};
use medmesh_clinic::identity::oidc::OutsideIdentity;
use medmesh_clinic::identity::{Factor, STEP_UP_WITHIN};
use medmesh_clinic::{Actor, Refusal, SystemActor, Version, authz};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::account_link::Link;
use crate::keys::{Column, Owner, Sealed};
use crate::relationship::Target;
use crate::{Membership, Result, Session, SessionToken, Store, StoreError, Tx};

/// Most outside identities of one person; there is one provider per clinic, and people change names.
pub const IDENTITIES_MAX: i64 = 5;

/// How a clinic's people may sign in with an outside provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OidcProvider {
    /// The issuer; empty when there is none yet.
    pub issuer: String,
    /// The clinic's client id there.
    pub client_id: String,
    /// Words of `amr` or `acr` taken for a second factor.
    pub second_factor: Vec<String>,
    /// Whether anybody may sign in with it.
    pub enabled: bool,
    /// Rises with each change; 0 when there is none yet.
    pub version: i64,
}

/// A provider with the secret the clinic proves itself with there.
#[derive(Clone)]
pub struct OidcClient {
    /// Which.
    pub provider: OidcProvider,
    /// The secret.
    pub secret: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for OidcClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OidcClient")
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

/// An outside identity of a person, as they see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityEntry {
    /// Which.
    pub id: IdentityId,
    /// Who vouches.
    pub issuer: String,
    /// Since when.
    pub linked_at: OffsetDateTime,
    /// When it was last signed in with.
    pub used_at: Option<OffsetDateTime>,
}

type Row = (String, String, Vec<String>, bool, i64, Vec<u8>, i64);

impl Store {
    /// The clinic whose own sign-in a page may offer, and what it calls itself: the one asked about, or
    /// the only one there is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn oidc_offer(&self, clinic: Option<ClinicId>) -> Result<Option<(ClinicId, String)>> {
        let row: Option<(Uuid, String)> = sqlx::query_as("SELECT clinic_id, name FROM oidc_offer($1)")
            .bind(clinic.map(|clinic| clinic.as_uuid()))
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|(clinic, name)| (ClinicId::from_uuid(clinic), name)))
    }

    /// The provider the clinic lets its people sign in with, with the secret.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none, or it is switched off.
    pub async fn oidc_client(&self, clinic: ClinicId, request: RequestId) -> Result<OidcClient> {
        let actor = Actor::System(SystemActor::Login);
        let mut tx = self.begin(clinic, actor, request).await?;
        let row = tx
            .oidc_row()
            .await?
            .filter(|row| row.3)
            .ok_or(StoreError::NotFound)?;
        let secret = tx.open(&sealed_secret(clinic, &row)).await?;
        tx.rollback().await?;
        Ok(OidcClient {
            provider: provider_from(row),
            secret,
        })
    }
}

impl Tx {
    async fn oidc_row(&mut self) -> Result<Option<Row>> {
        Ok(sqlx::query_as(
            "SELECT issuer, client_id, second_factor, enabled, version, client_secret, seal_version
             FROM oidc_provider",
        )
        .fetch_optional(self.db())
        .await?)
    }

    /// How the clinic's people may sign in with an outside provider; without the secret.
    ///
    /// # Errors
    /// [`StoreError::Denied`].
    pub async fn oidc_provider_get(&mut self) -> Result<OidcProvider> {
        self.authorise(authz::Action::OidcProviderGet, Target::Clinic)
            .await?;
        Ok(self.oidc_row().await?.map(provider_from).unwrap_or_default())
    }

    /// Says how; without a secret the one before stays, if issuer and client do. Another issuer ends
    /// what was linked with the one before: the same subject is somebody else there.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::Denied`]; [`Refusal::SecretNeeded`].
    pub async fn oidc_provider_set(
        &mut self,
        if_match: Version,
        new: &OidcProvider,
        secret: Option<&str>,
    ) -> Result<OidcProvider> {
        self.authorise(authz::Action::OidcProviderSet, Target::Clinic)
            .await?;
        let clinic_id = self.clinic_id();
        // Two at once queue here.
        sqlx::query("SELECT FROM clinic FOR UPDATE")
            .execute(self.db())
            .await?;
        let before = self.oidc_row().await?;
        let current = before.as_ref().map_or(0, |row| row.4);
        if if_match.0 != current {
            return Err(StoreError::VersionMismatch {
                current: Version(current),
            });
        }
        let same = before
            .as_ref()
            .filter(|row| row.0 == new.issuer && row.1 == new.client_id);
        let (sealed, secret_version) = match (secret, same) {
            (Some(secret), _) => {
                let version = before.as_ref().map_or(1, |row| row.6 + 1);
                let row = clinic_id.as_uuid();
                let column = Column::OidcClientSecret;
                (
                    self.seal(column, row, version, Owner::Clinic, secret.as_bytes())
                        .await?,
                    version,
                )
            }
            (None, Some(row)) => (row.5.clone(), row.6),
            (None, None) => return Err(Refusal::SecretNeeded.into()),
        };
        sqlx::query(
            "INSERT INTO oidc_provider (clinic_id, issuer, client_id, client_secret, seal_version,
                 second_factor, enabled, version)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (clinic_id) DO UPDATE SET issuer = $2, client_id = $3, client_secret = $4,
                 seal_version = $5, second_factor = $6, enabled = $7, version = $8",
        )
        .bind(clinic_id.as_uuid())
        .bind(&new.issuer)
        .bind(&new.client_id)
        .bind(sealed)
        .bind(secret_version)
        .bind(&new.second_factor)
        .bind(new.enabled)
        .bind(current + 1)
        .execute(self.db())
        .await?;
        self.audit(Action::OidcProviderUpdate, clinic_id, None).await?;
        Ok(OidcProvider {
            version: current + 1,
            ..new.clone()
        })
    }

    /// The caller's outside identities.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nobody is signed in.
    pub async fn identity_list(&mut self) -> Result<Vec<IdentityEntry>> {
        let person = self.own_person()?;
        let rows: Vec<(Uuid, String, OffsetDateTime, Option<OffsetDateTime>)> = sqlx::query_as(
            "SELECT id, issuer, linked_at, used_at FROM oidc_identity WHERE person_id = $1 ORDER BY id LIMIT $2",
        )
        .bind(person.as_uuid())
        .bind(IDENTITIES_MAX)
        .fetch_all(self.db())
        .await?;
        let entry = |(id, issuer, linked_at, used_at)| IdentityEntry {
            id: IdentityId::from_uuid(id),
            issuer,
            linked_at,
            used_at,
        };
        Ok(rows.into_iter().map(entry).collect())
    }

    /// Forgets one of the caller's outside identities.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it is none of theirs.
    pub async fn identity_unlink(&mut self, id: IdentityId) -> Result<()> {
        let person = self.own_person()?;
        let gone = sqlx::query("DELETE FROM oidc_identity WHERE id = $1 AND person_id = $2")
            .bind(id.as_uuid())
            .bind(person.as_uuid())
            .execute(self.db())
            .await?;
        if gone.rows_affected() == 0 {
            return Err(StoreError::NotFound);
        }
        let object = Object::of(ObjectKind::Factor, id.as_uuid());
        self.audit(Action::IdentityUnlink, object, None).await
    }

    /// Links an outside identity to a person of this clinic. Linking what is linked to them already
    /// changes nothing.
    ///
    /// # Errors
    /// [`Refusal::IdentityTaken`] when it is somebody else's; [`Refusal::TooManyIdentities`];
    /// [`StoreError::NotFound`] for a person who is not active.
    pub async fn identity_link(&mut self, person: PersonId, identity: &OutsideIdentity) -> Result<()> {
        let (clinic, now, id) = (self.clinic(), self.now(), Uuid::now_v7());
        let index = self.subject_index(identity).await?;
        let active = sqlx::query("SELECT FROM person WHERE id = $1 AND active FOR UPDATE")
            .bind(person.as_uuid())
            .fetch_optional(self.db())
            .await?;
        active.ok_or(StoreError::NotFound)?;
        let owner: Option<Uuid> =
            sqlx::query_scalar("SELECT person_id FROM oidc_identity WHERE subject_index = $1")
                .bind(&index)
                .fetch_optional(self.db())
                .await?;
        match owner {
            Some(owner) if owner == person.as_uuid() => return Ok(()),
            Some(_) => return Err(Refusal::IdentityTaken.into()),
            None => {}
        }
        let held: i64 = sqlx::query_scalar("SELECT count(*) FROM oidc_identity WHERE person_id = $1")
            .bind(person.as_uuid())
            .fetch_one(self.db())
            .await?;
        if held >= IDENTITIES_MAX {
            return Err(Refusal::TooManyIdentities.into());
        }
        sqlx::query(
            "INSERT INTO oidc_identity (clinic_id, id, person_id, issuer, subject_index, linked_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(clinic)
        .bind(id)
        .bind(person.as_uuid())
        .bind(&identity.issuer)
        .bind(index)
        .bind(now)
        .execute(self.db())
        .await?;
        self.audit(Action::IdentityLink, Object::of(ObjectKind::Factor, id), None)
            .await
    }

    /// Uses an invitation up by linking an outside identity to whom it is for, in place of a password.
    ///
    /// # Errors
    /// [`Refusal::LinkSpent`] for a link that is used, or is none of an invitation; as
    /// [`Tx::identity_link`].
    pub async fn invitation_link(&mut self, link: &Link, identity: &OutsideIdentity) -> Result<()> {
        let now = self.now();
        let used = sqlx::query(
            "UPDATE account_link SET used_at = $2
             WHERE id = $1 AND used_at IS NULL AND expires_at > $2 AND purpose = 'invitation'",
        )
        .bind(link.row())
        .bind(now)
        .execute(self.db())
        .await?;
        if used.rows_affected() == 0 {
            return Err(Refusal::LinkSpent.into());
        }
        self.identity_link(link.who.person_id, identity).await
    }

    /// Opens a session for whoever this identity is linked to. What was proved there counts as one
    /// factor, or as two where the clinic takes the provider's word; and as proved when it was there.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it is linked to nobody active.
    pub async fn identity_sign_in(
        &mut self,
        identity: &OutsideIdentity,
        token: &SessionToken,
        device_label: &str,
    ) -> Result<Session> {
        let (now, index) = (self.now(), self.subject_index(identity).await?);
        let row: Option<(Uuid, Uuid, Uuid)> = sqlx::query_as(
            "SELECT i.id, p.id, p.account_id
             FROM oidc_identity i JOIN person p ON p.clinic_id = i.clinic_id AND p.id = i.person_id
             WHERE i.subject_index = $1 AND p.active",
        )
        .bind(index)
        .fetch_optional(self.db())
        .await?;
        let (id, person, account) = row.ok_or(StoreError::NotFound)?;
        sqlx::query("UPDATE oidc_identity SET used_at = $2 WHERE id = $1")
            .bind(id)
            .bind(now)
            .execute(self.db())
            .await?;
        let who = Membership {
            account_id: medmesh_base::AccountId::from_uuid(account),
            clinic_id: self.clinic_id(),
            person_id: PersonId::from_uuid(person),
        };
        let factor = if identity.multi_factor {
            Factor::ProviderMultiFactor
        } else {
            Factor::Provider
        };
        let mut session = self.session_create(&who, token, factor, device_label).await?;
        // A provider that remembers somebody has not asked them anything now: for a sensitive act
        // they prove themselves again, unless it says that it did ask.
        let long_ago = now - STEP_UP_WITHIN - Duration::SECOND;
        let proved = identity.proved_at.unwrap_or(long_ago);
        sqlx::query("UPDATE session SET authenticated_at = $2 WHERE id = $1")
            .bind(session.id.as_uuid())
            .bind(proved)
            .execute(self.db())
            .await?;
        session.authenticated_at = proved;
        Ok(session)
    }

    async fn subject_index(&mut self, identity: &OutsideIdentity) -> Result<Vec<u8>> {
        // No address has a line break in it, so none has the digest of an identity.
        let text = format!("oidc\n{}\n{}", identity.issuer, identity.subject);
        Ok(self.account_scope(None).await?.email_index(&text))
    }
}

fn sealed_secret(clinic: ClinicId, row: &Row) -> Sealed<'_> {
    Sealed {
        column: Column::OidcClientSecret,
        row: clinic.as_uuid(),
        version: row.6,
        patient: None,
        bytes: &row.5,
    }
}

fn provider_from(row: Row) -> OidcProvider {
    OidcProvider {
        issuer: row.0,
        client_id: row.1,
        second_factor: row.2,
        enabled: row.3,
        version: row.4,
    }
}
