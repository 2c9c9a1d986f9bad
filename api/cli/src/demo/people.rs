//! The demo's people: invented names, and passwords made at the first start.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use serde::{Deserialize, Serialize};

use super::code;
use super::layout::Layout;

/// Who is there: key, name, mail address, role.
const PEOPLE: [(&str, &str, &str, &str); 5] = [
    ("patient", "Amara Okafor", "amara@demo.example", "patient"),
    ("patient2", "Tomás Rivera", "tomas@demo.example", "patient"),
    ("clinician", "Dr. Lena Hoffmann", "lena@demo.example", "clinician"),
    (
        "colleague",
        "Dr. Julien Moreau",
        "julien@demo.example",
        "clinician",
    ),
    ("admin", "Priya Nair", "priya@demo.example", "admin"),
];

/// Short common words, so that a person can type a password off the screen.
const WORDS: [&str; 32] = [
    "amber", "birch", "cedar", "coral", "delta", "ember", "fjord", "grove", "heron", "inlet", "jade", "kelp",
    "larch", "maple", "north", "ocean", "pearl", "quill", "river", "slate", "tidal", "umber", "vale",
    "wheat", "yarrow", "zephyr", "acorn", "basin", "cliff", "dune", "fern", "glade",
];

/// One login.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Login {
    /// `patient`, `clinician`, …
    pub(super) key: String,
    pub(super) display_name: String,
    pub(super) email: String,
    pub(super) role: String,
    pub(super) password: String,
    /// Base32 secret of the authenticator app that staff must have.
    #[serde(default)]
    pub(super) totp_secret: Option<String>,
}

/// The logins of a demo that has run.
pub(super) fn load(state: &Path) -> anyhow::Result<Vec<Login>> {
    let path = state.join("logins.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is malformed", path.display()))
}

/// The logins of this state directory, made at its first start.
pub(super) fn load_or_create(layout: &Layout) -> anyhow::Result<Vec<Login>> {
    let path = layout.dir("logins.json");
    if path.exists() {
        return load(&layout.state);
    }
    let logins: Vec<Login> = PEOPLE
        .iter()
        .map(|(key, name, email, role)| Login {
            key: (*key).into(),
            display_name: (*name).into(),
            email: (*email).into(),
            role: (*role).into(),
            password: passphrase(),
            totp_secret: (*role != "patient").then(code::secret),
        })
        .collect();
    write_private(&path, &serde_json::to_vec_pretty(&logins)?)?;
    Ok(logins)
}

/// Writes the file `medmesh-control database --seed-file` reads.
pub(super) fn write_seed(layout: &Layout, logins: &[Login]) -> anyhow::Result<PathBuf> {
    let people: Vec<_> = logins
        .iter()
        .map(|login| {
            serde_json::json!({
                "display_name": login.display_name, "email": login.email, "roles": [login.role],
                "locale": "en", "password": login.password, "totp_secret": login.totp_secret,
                "credentials": credentials(&login.role),
            })
        })
        .collect();
    let seed = serde_json::json!({
        "clinic_name": "Harbour Street Clinic", "time_zone": "UTC", "home_region": "eu-central",
        "people": people,
    });
    let path = layout.dir("config").join("seed.json");
    write_private(&path, &serde_json::to_vec_pretty(&seed)?)?;
    Ok(path)
}

/// Invented papers of those who need some to act: the number of the standard's own example.
fn credentials(role: &str) -> serde_json::Value {
    if role != "clinician" {
        return serde_json::json!([]);
    }
    serde_json::json!([
        {"kind": "license", "profession": role, "state": "NY", "number": "DEMO-000001", "expires_on": "2099-01-01"},
        {"kind": "npi", "number": "1234567893"},
    ])
}

/// Three words and four digits: about 28 bits, for a system only this machine reaches.
fn passphrase() -> String {
    let mut rng = rand::rng();
    let mut word = || WORDS.choose(&mut rng).copied().unwrap_or("medal");
    let words = [word(), word(), word()].join("-");
    format!("{words}-{:04}", rng.random_range(0..10_000))
}

/// Replaces the file, readable by its owner only.
pub(super) fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path).with_context(|| format!("cannot write {}", path.display()))
}
