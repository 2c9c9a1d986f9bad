//! `medmesh-control open-clinic`: a clinic, and the invitation of its first admin.

use std::path::Path;

use anyhow::Context as _;
use figment::Figment;
use figment::providers::{Format as _, Toml};
use medmesh_base::{ClinicId, Region};
use medmesh_clinic::identity::LinkPurpose;
use medmesh_clinic::{Clinic, Locale, NewPerson, Role, Roles};
use medmesh_store::{FirstAdmin, InvitationSend, JobOptions, LinkToken, Store};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::config::Config;
use crate::keys;
use crate::mail::Mail;

/// Connections for one act.
const CONNECTIONS: u32 = 2;
/// Longest name of a clinic, characters: it stands in headings and mails.
const NAME_MAX: usize = 120;

/// The clinic and its first admin, as a file: names are no process's arguments.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClinicFile {
    name: String,
    time_zone: String,
    home_region: Region,
    admin: AdminEntry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdminEntry {
    display_name: String,
    email: String,
    locale: Locale,
}

/// What was opened.
#[derive(Debug)]
pub struct Opened {
    /// The clinic.
    pub clinic: ClinicId,
    /// The invitation's link and until when it is good; `None` where it goes by mail.
    pub link: Option<(String, OffsetDateTime)>,
}

impl std::fmt::Display for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "clinic {}", self.clinic)?;
        match &self.link {
            Some((url, until)) => write!(f, "invitation {url}\ngood until {until}"),
            None => write!(f, "the admin is invited by mail, as soon as a control node runs"),
        }
    }
}

impl ClinicFile {
    fn read(path: &Path) -> anyhow::Result<(Clinic, NewPerson)> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        // Never the value: the file says who somebody is.
        let file: Self = Figment::from(Toml::string(&text)).extract().map_err(|error| {
            let key = error.path.join(".");
            anyhow::anyhow!(
                "{}: {key}: is missing, unknown or of the wrong kind; wanted are name, time_zone, home_region and \
                 [admin] with display_name, email and locale",
                path.display()
            )
        })?;
        let said = |key: &'static str| move || format!("{}: {key}", path.display());
        let name = file.name.trim();
        let is_name =
            !name.is_empty() && name.chars().count() <= NAME_MAX && !name.contains(char::is_control);
        anyhow::ensure!(is_name, "{}: name: is 1 to {NAME_MAX} characters", path.display());
        let clinic = Clinic {
            id: ClinicId::generate(),
            name: name.to_owned(),
            time_zone: file.time_zone.parse().with_context(said("time_zone"))?,
            home_region: file.home_region,
        };
        let admin = NewPerson {
            display_name: file
                .admin
                .display_name
                .parse()
                .with_context(said("admin.display_name"))?,
            email: file.admin.email.parse().with_context(said("admin.email"))?,
            roles: Roles::only(Role::Admin),
            locale: file.admin.locale,
        };
        Ok((clinic, admin))
    }
}

/// Opens the clinic the file names, unless it is open, and invites its first admin. `owner_url` names the role
/// `medmesh_owner`. Doing it again gives a new link, and ends the one before, until the invitation was accepted;
/// then it is refused.
///
/// # Errors
/// When the file, the keys or the database cannot be used, and when the clinic has people already.
pub async fn open(config: &Config, file: &Path, owner_url: &str) -> anyhow::Result<Opened> {
    let (clinic, admin) = ClinicFile::read(file)?;
    let keyring = keys::open(&config.vault)?;
    let mail = Mail::new(config)?;
    // First, because it says whether role and schema are right before anything is written.
    let store = Store::connect(&config.database.url, CONNECTIONS, keyring).await?;
    let opened = invite(&store, &mail, &clinic, &admin, owner_url).await;
    store.close().await;
    opened
}

async fn invite(
    store: &Store,
    mail: &Mail,
    clinic: &Clinic,
    admin: &NewPerson,
    owner_url: &str,
) -> anyhow::Result<Opened> {
    let clinic = Store::clinic_open(owner_url, clinic).await?;
    let mut tx = store.begin_opening(clinic).await?;
    let person = match tx.first_admin(admin).await? {
        FirstAdmin::Invited(person) => person,
        FirstAdmin::Taken => anyhow::bail!(
            "there is a clinic of this name already, {clinic}, and somebody in it: its admins invite people"
        ),
    };
    let link = if mail.is_configured() {
        let job = InvitationSend { person_id: person };
        tx.job_add(&job, JobOptions::default()).await?;
        None
    } else {
        let token = LinkToken::generate();
        let until = tx.link_issue(person, LinkPurpose::Invitation, &token).await?;
        let to = tx.mail_to(person).await?;
        Some((mail.link(to.portal(), &token), until))
    };
    tx.commit().await?;
    Ok(Opened { clinic, link })
}
