//! Checks of the audit log that ask nobody: a proof, a head that was kept, a key that came another way.

use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medmesh_api_types::audit::{AuditConsistency, AuditProof};
use medmesh_clinic::audit::Event;
use medmesh_tlog::note::Verifier;
use medmesh_tlog::notice::successors;
use medmesh_tlog::proof::{verify_consistency, verify_inclusion};
use medmesh_tlog::{Checkpoint, Hash, leaf_hash};
use serde::Deserialize;
use time::format_description::well_known::Rfc3339;

/// Largest file read: a path of 64 hashes, a head with some dozen witnesses and a hundred announcements are
/// less.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Checks a proof file against the log's key; gives what it proves.
pub(super) fn check(file: &Path, key: &str, witness: Option<&str>) -> anyhow::Result<String> {
    let proof: AuditProof = serde_json::from_slice(&read(file)?).context("not a proof")?;
    let head = open(&proof.checkpoint, &key.parse()?, &proof.notices)?;
    let cosigned_at = witness
        .map(|witness| cosigned(&proof.checkpoint, witness))
        .transpose()?;
    let (salt, event) = (STANDARD.decode(&proof.salt)?, STANDARD.decode(&proof.event)?);
    let commitment = Hash::of(&[&salt, &event]);
    verify_inclusion(
        &leaf_hash(&commitment.0),
        proof.leaf_index,
        head.size,
        &hashes(&proof.path)?,
        &head.root,
    )
    .context("the event is not in the log")?;
    let cosigned = cosigned_at.map_or_else(String::new, |at| format!(", signed outside at {at}"));
    let event = Event::decode(&event).context("the event is in the log, and cannot be read")?;
    Ok(format!(
        "proved: leaf {} of {} in {}{cosigned}\n{}",
        proof.leaf_index,
        head.size,
        head.origin,
        told(&event)
    ))
}

/// Checks that a later head extends a kept one; gives what that proves.
pub(super) fn extends(kept: &Path, file: &Path, key: &str, later: Option<&Path>) -> anyhow::Result<String> {
    let proof: AuditConsistency =
        serde_json::from_slice(&read(file)?).context("not a proof of consistency")?;
    let key: Verifier = key.parse()?;
    let old = open(&checkpoint(kept)?, &key, &proof.notices).context("the head that was kept")?;
    let note = match (later, &proof.checkpoint) {
        (Some(later), _) => checkpoint(later)?,
        (None, Some(note)) => note.clone(),
        (None, None) => bail!("the proof brings no later head: say --later FILE"),
    };
    let new = open(&note, &key, &proof.notices).context("the later head")?;
    if (old.size, new.size) != (proof.from_size, proof.to_size) {
        bail!(
            "the heads have {} and {} leaves, the proof is of {} and {}",
            old.size,
            new.size,
            proof.from_size,
            proof.to_size
        );
    }
    verify_consistency(old.size, &old.root, new.size, &new.root, &hashes(&proof.path)?)
        .context("the later head does not extend the one that was kept")?;
    Ok(format!(
        "proved: the first {} of {} leaves in {} are what they were\n",
        old.size, new.size, new.origin
    ))
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let length = std::fs::metadata(file)
        .with_context(|| format!("cannot read {}", file.display()))?
        .len();
    if length > FILE_BYTES_MAX {
        bail!("{} is too large for a proof", file.display());
    }
    Ok(std::fs::read(file)?)
}

/// Reads a head signed by this key, or by one that follows it: whoever has an earlier key comes to the one in
/// force by what was announced under it.
fn open(note: &str, key: &Verifier, notices: &[String]) -> anyhow::Result<Checkpoint> {
    let keys = successors(key, notices);
    let mut heads = keys.iter().map(|key| Checkpoint::open(note, key));
    let head = heads.find_map(Result::ok);
    head.context("the head is not signed by this key, nor by one that follows it")
}

/// The checkpoint of a file.
fn checkpoint(file: &Path) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Holding {
        checkpoint: String,
    }
    let bytes = read(file)?;
    match serde_json::from_slice::<Holding>(&bytes) {
        Ok(holding) => Ok(holding.checkpoint),
        Err(_) => String::from_utf8(bytes).context("not a head"),
    }
}

fn hashes(texts: &[String]) -> anyhow::Result<Vec<Hash>> {
    let hashes = texts
        .iter()
        .map(|hash| hash.parse::<Hash>().map_err(anyhow::Error::from));
    hashes.collect()
}

/// When the witness signed the head, Unix seconds.
fn cosigned(head: &str, witness: &str) -> anyhow::Result<u64> {
    let witness: Verifier = witness.parse()?;
    let (_, at) = witness
        .verify(head)
        .context("the head is not signed by this witness")?;
    at.context("this is no witness's key")
}

/// The event line by line: ids and words, as the log holds them.
fn told(event: &Event) -> String {
    let id = |id: Option<uuid::Uuid>| id.map(|id| id.to_string());
    let lines = [
        ("event", Some(event.id.to_string())),
        ("at", event.at.format(&Rfc3339).ok()),
        ("clinic", Some(event.clinic_id.to_string())),
        ("by", Some(event.actor_kind.clone())),
        ("person", id(event.actor_id)),
        ("session", id(event.session_id)),
        ("did", Some(event.action.clone())),
        ("to", Some(event.object_kind.clone())),
        ("object", id(event.object_id)),
        ("record of", id(event.patient_id)),
        ("for", Some(event.purpose.clone())),
        ("request", Some(event.request_id.to_string())),
        ("emergency", id(event.break_glass_id)),
        ("asked", event.denied_action.clone()),
        ("missing", event.denied_reason.clone()),
    ];
    let lines = lines.into_iter().filter_map(|(name, value)| Some((name, value?)));
    lines
        .map(|(name, value)| format!("  {name:<10}{value}\n"))
        .collect()
}
