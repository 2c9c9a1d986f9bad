//! The authenticator app of the demo's staff: `medmesh demo code clinician` says what it shows.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Args;
use rand::RngCore as _;
use totp_rs::{Builder, Secret, Totp};

use super::layout;
use super::people::{self, Login};

/// Bytes of a secret (RFC 4226 section 4: 160 bits).
const SECRET_BYTES: usize = 20;
/// Seconds a code is shown (RFC 6238).
const STEP_SECONDS: u64 = 30;

/// Whose code to print.
#[derive(Args, Clone, Debug)]
pub(super) struct CodeArgs {
    /// clinician, colleague or admin
    name: String,
}

/// What the person's authenticator app shows now, and for how long.
///
/// # Errors
/// When there is no demo, or nobody of that name has an app.
pub(super) fn run(args: &CodeArgs, state: Option<PathBuf>) -> anyhow::Result<()> {
    let state = state.unwrap_or_else(layout::default_state_dir);
    let logins = people::load(&state).context("no demo has run here; say where with --state")?;
    let login = logins.iter().find(|login| login.key == args.name);
    let login = login.with_context(|| format!("the demo knows no {}", args.name))?;
    let now = unix_seconds();
    let code = code(login, now)?;
    let left = STEP_SECONDS - now % STEP_SECONDS;
    super::screen::Screen::new().line(&format!("{code}   for {left} s"));
    Ok(())
}

/// A fresh secret, Base32.
pub(super) fn secret() -> String {
    let mut bytes = [0; SECRET_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    Secret::from(bytes).to_base32()
}

/// The codes worth trying now, the one about to end first: whoever reads the app then still
/// has the present one, as none is taken twice.
pub(super) fn codes(login: &Login) -> anyhow::Result<[String; 3]> {
    let now = unix_seconds();
    Ok([
        code(login, now - STEP_SECONDS)?,
        code(login, now)?,
        code(login, now + STEP_SECONDS)?,
    ])
}

fn code(login: &Login, unix_seconds: u64) -> anyhow::Result<String> {
    let secret = login.totp_secret.as_deref();
    let secret = secret.with_context(|| format!("{} signs in with the password alone", login.key))?;
    let app: Totp = Builder::new()
        .with_secret(
            Secret::try_from_base32(secret).map_err(|_| anyhow::anyhow!("the secret is not Base32"))?,
        )
        .build()
        .map_err(|_| anyhow::anyhow!("the secret is too short"))?;
    Ok(app.generate(unix_seconds).to_string())
}

fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
