//! The outside witness: somebody who is not us and signs that our heads extend each other
//! (client of C2SP tlog-witness; cosignatures of C2SP tlog-cosignature, `cosignature/v1`).
//!
//! It knows no more of a log than its newest head: sizes and hashes. Nothing waits for it. When it
//! refuses, the log it was shown before is not the one it is shown now: whoever rules the database,
//! the object storage *and* every control node can rewrite what we remember, not what it remembers.

use std::path::Path;
use std::time::Duration;

use medmesh_base::ClinicId;
use medmesh_tlog::note::Verifier;
use medmesh_tlog::proof::{ProofError, consistency, consistency_nodes};
use medmesh_tlog::{Checkpoint, CheckpointError, Hash};
use reqwest::header::CONTENT_TYPE;
use reqwest::{StatusCode, Url};

use super::names::{Log, Place};
use super::shelf::{Shelf, ShelfError};
use super::witness::Witness;
use crate::config::OutsideWitness;

/// Until a connection stands, and until the answer is there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer: some lines of signatures.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Questions until the witness's size and ours meet: one to learn its size, one to be signed, and
/// one more for each other node that asks at the same time.
const QUESTIONS_MAX: usize = 4;
/// Type of an answer that says which size the witness has.
const SIZE_TYPE: &str = "text/x.tlog.size";

/// A head that is signed outside, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// What the head says.
    pub head: Checkpoint,
    /// The head with our signature and the witness's.
    pub note: String,
}

/// The witness did not sign.
#[derive(Debug, thiserror::Error)]
pub enum CosignError {
    /// It does not answer. Nothing follows from that.
    #[error("the outside witness is away: {0}")]
    Away(String),
    /// It was not told of the log, or not of its key.
    #[error("the outside witness does not know the log or its key ({0})")]
    Unknown(u16),
    /// It signed a head that ours does not extend.
    #[error("the outside witness refuses: {0}")]
    Refused(String),
    /// There is no head yet.
    #[error("no head was witnessed yet")]
    NotYet,
    /// What is published does not give the proof.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// What is published does not give the proof.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The head is none.
    #[error(transparent)]
    Head(#[from] CheckpointError),
}

/// The client.
#[derive(Clone, Debug)]
pub struct Cosigner {
    url: Url,
    verifier: Verifier,
    http: reqwest::Client,
    every: Duration,
}

/// The outside witness cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum CosignerError {
    /// Its authority cannot be read.
    #[error("audit.witness.ca_file")]
    File(#[from] std::io::Error),
    /// No client can be made of it.
    #[error("audit.witness")]
    Tls(#[from] reqwest::Error),
    /// Its address or key is none.
    #[error("audit.witness.url and key")]
    Address,
}

/// What it said to one question.
enum Answer {
    Signed(String),
    /// It has this size.
    Size(u64),
}

impl Cosigner {
    /// From the configuration; nothing is sent.
    ///
    /// # Errors
    /// [`CosignerError`].
    pub fn new(config: &OutsideWitness) -> Result<Self, CosignerError> {
        // Harmless if the process has chosen already: there is one provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &config.ca_file {
            http = http.add_root_certificate(authority(path)?);
        }
        let url = format!("{}/add-checkpoint", config.url.trim_end_matches('/'));
        Ok(Self {
            url: url.parse().map_err(|_| CosignerError::Address)?,
            verifier: config.verifier().ok_or(CosignerError::Address)?,
            http: http.build()?,
            every: Duration::from_secs(config.every_seconds.into()),
        })
    }

    /// Who it is.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Between questions.
    #[must_use]
    pub const fn every(&self) -> Duration {
        self.every
    }

    /// Has the newest head the control nodes agreed on of the log at `place` signed; `known` is the size it signed last,
    /// as far as we know.
    ///
    /// # Errors
    /// [`CosignError`].
    pub async fn cosign(
        &self,
        place: Place,
        witness: &dyn Witness,
        shelf: &Shelf,
        known: u64,
    ) -> Result<Cosigned, CosignError> {
        let (clinic, mut known) = (place.clinic, known);
        for _ in 0..QUESTIONS_MAX {
            // Read anew each time: the witness may have been shown a newer one meanwhile.
            let log = witness.log(clinic).ok_or(CosignError::NotYet)?;
            let head = Checkpoint::parse(text(&log.note)?)?;
            let old = if known > head.size { 0 } else { known };
            let proof = self.proof(place, shelf, old, head.size).await?;
            match self.ask(&question(old, &proof, &log.note)).await? {
                Answer::Signed(lines) => return self.accept(head, &log.note, &lines),
                Answer::Size(size) if size > witnessed(witness, clinic) => {
                    let why = format!("it signed a head of {size} leaves, this log has {}", head.size);
                    return Err(CosignError::Refused(why));
                }
                Answer::Size(size) if size == old && size == head.size => {
                    let why = format!("it signed another head of {size} leaves");
                    return Err(CosignError::Refused(why));
                }
                Answer::Size(size) => known = size,
            }
        }
        Err(CosignError::Away("it never has the size it says".to_owned()))
    }

    async fn proof(&self, place: Place, shelf: &Shelf, old: u64, new: u64) -> Result<Vec<Hash>, CosignError> {
        if old == 0 || old == new {
            return Ok(Vec::new());
        }
        let tiles = shelf.tiles(place, &consistency_nodes(old, new)?, new).await?;
        Ok(consistency(old, new, &tiles)?)
    }

    async fn ask(&self, body: &str) -> Result<Answer, CosignError> {
        let away = |error: &reqwest::Error| {
            let what = if error.is_timeout() {
                "no answer in time"
            } else {
                "cannot be reached"
            };
            CosignError::Away(what.to_owned())
        };
        let sent = self.http.post(self.url.clone()).body(body.to_owned()).send();
        let mut answer = sent.await.map_err(|error| away(&error))?;
        let (status, mut bytes) = (answer.status(), Vec::new());
        let is_size = answer
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|found| found == SIZE_TYPE);
        while let Some(part) = answer.chunk().await.map_err(|error| away(&error))? {
            if bytes.len() + part.len() > ANSWER_BYTES_MAX {
                return Err(CosignError::Away("its answer is too long".to_owned()));
            }
            bytes.extend_from_slice(&part);
        }
        let said = String::from_utf8_lossy(&bytes);
        match status {
            StatusCode::OK => Ok(Answer::Signed(said.into_owned())),
            StatusCode::CONFLICT => {
                let size = said.strip_suffix('\n').and_then(|size| size.parse().ok());
                match size.filter(|_| is_size) {
                    Some(size) => Ok(Answer::Size(size)),
                    None => Err(CosignError::Refused(
                        "it signed another head of this size".to_owned(),
                    )),
                }
            }
            StatusCode::UNPROCESSABLE_ENTITY => Err(CosignError::Refused(
                "this head does not extend the one it signed".to_owned(),
            )),
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Err(CosignError::Unknown(status.as_u16())),
            other => Err(CosignError::Away(format!("it answers {}", other.as_u16()))),
        }
    }

    /// Takes the witness's own signature off its answer, if it is one; what others signed there is not kept.
    fn accept(&self, head: Checkpoint, note: &str, lines: &str) -> Result<Cosigned, CosignError> {
        for line in lines.split_inclusive('\n') {
            let note = format!("{note}{line}");
            if self.verifier.verify(&note).is_ok() {
                return Ok(Cosigned { head, note });
            }
        }
        Err(CosignError::Away("it answers without its signature".to_owned()))
    }

    /// Reads a head that `log` and the witness signed.
    ///
    /// # Errors
    /// When one of the two did not.
    pub fn open(&self, note: &str, log: &Log) -> Result<Checkpoint, CheckpointError> {
        self.verifier.verify(note)?;
        log.open(note).map(|(head, _)| head)
    }
}

fn authority(path: &Path) -> Result<reqwest::Certificate, CosignerError> {
    Ok(reqwest::Certificate::from_pem(&std::fs::read(path)?)?)
}

fn witnessed(witness: &dyn Witness, clinic: ClinicId) -> u64 {
    witness.log(clinic).map_or(0, |log| log.newest.size)
}

/// A note's text without its signatures.
fn text(note: &str) -> Result<&str, CheckpointError> {
    let end = note.rfind("\n\n").ok_or(CheckpointError::Malformed)?;
    Ok(&note[..=end])
}

/// The body of `add-checkpoint`.
fn question(old: u64, proof: &[Hash], note: &str) -> String {
    let proof: String = proof.iter().map(|hash| format!("{hash}\n")).collect();
    format!("old {old}\n{proof}\n{note}")
}
