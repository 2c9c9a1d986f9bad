//! The synthetic patient: the patient portal in a headless Chromium whose camera
//! is a moving test picture and whose microphone beeps.

use std::path::PathBuf;

use anyhow::Context as _;
use medmesh_base::VisitId;

use super::people::Login;
use super::process::Program;

/// The script, as in a checkout or as installed.
const SCRIPT: &str = "api/portals/scripts/bot.mjs";

/// The program that is the patient. The password goes through its environment, as a
/// command line can be read by everybody on the machine.
pub(super) fn patient(portal_url: &str, login: &Login, visit: VisitId) -> anyhow::Result<Program> {
    let script = PathBuf::from(SCRIPT);
    let script = script
        .canonicalize()
        .context("the synthetic patient needs a checkout with Node.js")?;
    Ok(Program {
        name: "bot-patient".into(),
        binary: "node".into(),
        arguments: vec![script.display().to_string()],
        environment: vec![
            ("MEDMESH_PORTAL".into(), format!("{portal_url}/patient/")),
            ("MEDMESH_EMAIL".into(), login.email.clone()),
            ("MEDMESH_PASSWORD".into(), login.password.clone()),
            ("MEDMESH_VISIT".into(), visit.to_string()),
        ],
    })
}
