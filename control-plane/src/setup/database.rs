//! `medmesh-control database`: a private PostgreSQL in the foreground, with the
//! schema up to date and, if asked, the first people of a clinic.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use medmesh_base::drain::terminate_signal;
use medmesh_base::{ClinicId, Region};
use medmesh_clinic::credential::Claim;
use medmesh_clinic::identity::TotpSecret;
use medmesh_clinic::{Clinic, CredentialKind, NewPerson, Role, Roles};
use medmesh_store::embedded::{Cluster, Durability, Settings};
use medmesh_store::seed::{DEMO_CLINIC, Seed, SeedPerson};
use medmesh_store::{Keyring, KeyringSettings, Store};
use medmesh_vault::kms::{FileKms, Unlock};
use serde::Deserialize;
use time::Date;
use time::macros::format_description;

use crate::http::password_hash;

/// The database's name in a private cluster.
const DATABASE: &str = "medmesh";
/// Connections of three control nodes, and some for a person with `psql`.
const CONNECTIONS_MAX: u32 = 100;
/// Connections for seeding.
const SEED_CONNECTIONS: u32 = 2;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the cluster lives; made if it is not there.
    pub dir: PathBuf,
    /// The link under which its changing socket directory is always found.
    pub socket_link: PathBuf,
    /// Clinic and people to be there, as JSON.
    pub seed_file: Option<PathBuf>,
    /// Directory with `vault.keys` and `vault.unlock`, as `cluster-init` makes them: what seeded
    /// people are sealed with.
    pub vault_dir: Option<PathBuf>,
    /// Whether the data may be lost in a crash, and go at the end.
    pub ephemeral: bool,
}

/// The seed file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedFile {
    clinic_id: Option<ClinicId>,
    clinic_name: String,
    time_zone: String,
    home_region: Region,
    people: Vec<PersonEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonEntry {
    display_name: String,
    email: String,
    roles: Roles,
    locale: medmesh_clinic::Locale,
    password: String,
    /// Base32 secret of an authenticator app.
    totp_secret: Option<String>,
    /// Licences and numbers that whoever writes the file has verified.
    #[serde(default)]
    credentials: Vec<CredentialEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialEntry {
    kind: CredentialKind,
    profession: Option<Role>,
    state: Option<String>,
    number: String,
    /// `YYYY-MM-DD`.
    expires_on: Option<String>,
}

impl CredentialEntry {
    fn claim(&self) -> anyhow::Result<Claim> {
        let day = |text: &String| Date::parse(text, format_description!("[year]-[month]-[day]"));
        let end = self
            .expires_on
            .as_ref()
            .map(day)
            .transpose()
            .context("expires_on is not a day")?;
        Ok(Claim::new(
            self.kind,
            self.profession,
            self.state.as_deref(),
            &self.number,
            end,
        )?)
    }
}

/// No part of it may reach a log line.
impl std::fmt::Debug for PersonEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PersonEntry")
    }
}

/// Runs the cluster until SIGTERM or SIGINT. It is ready when `socket_link` is there.
///
/// # Errors
/// When PostgreSQL does not start, the schema cannot be brought up to date, or the
/// seed file is wrong.
pub async fn serve(options: Options) -> anyhow::Result<()> {
    let settings = Settings {
        dir: options.dir.clone(),
        durability: if options.ephemeral {
            Durability::None
        } else {
            Durability::Full
        },
        ephemeral: options.ephemeral,
        max_connections: CONNECTIONS_MAX,
    };
    let cluster = tokio::task::spawn_blocking(move || Cluster::start(&settings)).await??;
    cluster.provision(DATABASE).await?;
    if let Some(seed_file) = &options.seed_file {
        let vault_dir = options.vault_dir.as_deref();
        seed(
            &cluster,
            seed_file,
            vault_dir.context("--seed-file needs --vault-dir")?,
        )
        .await?;
    }
    link(cluster.socket_dir(), &options.socket_link)?;
    tracing::info!("database ready");
    terminate_signal().await?;
    // Whoever looks shall not find a socket that is gone; absent is as good.
    let _ = std::fs::remove_file(&options.socket_link);
    tokio::task::spawn_blocking(move || cluster.stop()).await??;
    Ok(())
}

async fn seed(cluster: &Cluster, seed_file: &Path, vault_dir: &Path) -> anyhow::Result<()> {
    let text =
        std::fs::read_to_string(seed_file).with_context(|| format!("cannot read {}", seed_file.display()))?;
    let file: SeedFile = serde_json::from_str(&text).context("the seed file is malformed")?;
    let people = file.people.into_iter().map(|entry| {
        let person = NewPerson {
            display_name: entry.display_name.parse()?,
            email: entry.email.parse()?,
            roles: entry.roles,
            locale: entry.locale,
        };
        let secret = |text: &String| TotpSecret::from_base32(text).context("totp_secret is not one");
        Ok(SeedPerson {
            person,
            password: password_hash(&entry.password),
            totp: entry.totp_secret.as_ref().map(secret).transpose()?,
            passkey: None,
            credentials: entry
                .credentials
                .iter()
                .map(CredentialEntry::claim)
                .collect::<anyhow::Result<_>>()?,
        })
    });
    let seed = Seed {
        clinic: Clinic {
            id: file.clinic_id.unwrap_or(DEMO_CLINIC),
            name: file.clinic_name,
            time_zone: file.time_zone.parse()?,
            home_region: file.home_region,
        },
        people: people.collect::<anyhow::Result<_>>()?,
        appointments: Vec::new(),
    };
    let unlock = Unlock::credential_file(&vault_dir.join("vault.unlock"))?;
    let kms = FileKms::load_or_create(&vault_dir.join("vault.keys"), &unlock)?;
    let keyring = Keyring::new(Arc::new(kms), KeyringSettings::default());
    let store = Store::connect(&cluster.service_url(DATABASE), SEED_CONNECTIONS, keyring).await?;
    store.seed(&cluster.owner_url(DATABASE), &seed).await?;
    store.close().await;
    Ok(())
}

/// Points `link` at `target`, in one step for whoever looks.
fn link(target: &Path, link: &Path) -> anyhow::Result<()> {
    let draft = link.with_extension("new");
    // A draft is left only by a crash between the two calls below.
    let _ = std::fs::remove_file(&draft);
    symlink(target, &draft)?;
    std::fs::rename(&draft, link).with_context(|| format!("cannot make {}", link.display()))
}
