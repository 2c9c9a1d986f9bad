//! What was announced of the log: is it signed, and is what was left still published?

use medmesh_api_types::audit::AuditGap;
use medmesh_ledger::AuditLog;
use medmesh_tlog::Frontier;
use medmesh_tlog::notice::{Change, Notice};
use medmesh_tlog::proof::root_nodes;
use time::OffsetDateTime;

use super::super::evidence::Evidence;
use super::super::names::Place;
use super::{Run, VerifyError};

impl Run<'_> {
    /// Follows the notices from the log's first key and name to those in force. A gap is no finding: it
    /// was announced, and is told of every time.
    pub(super) async fn noticed(
        &mut self,
        evidence: &Evidence<'_>,
        log: Option<&AuditLog>,
    ) -> Result<(), VerifyError> {
        let Some(witnessed) = log else { return Ok(()) };
        let (clinic, mut epoch) = (self.log.place.clinic, 0);
        let mut place = Place {
            clinic,
            generation: 0,
        };
        for held in &witnessed.notices {
            let now = evidence.keys.log_at(place, epoch);
            let Ok(notice) = Notice::open(&held.note, &now.verifier()) else {
                let why = "a notice the control nodes hold was not signed by the log";
                self.find(None, None, "notice_forged", why);
                return Ok(());
            };
            match (notice.change, held.left) {
                (Change::Key, None) => epoch += 1,
                (Change::Resume, Some(left)) => {
                    self.left_behind(evidence, place, left.size, &left.root).await?;
                    self.report.gaps.push(AuditGap {
                        at: instant(notice.at),
                        witnessed_size: left.size,
                        kept_size: notice.size,
                        reason: notice.reason.unwrap_or_default(),
                    });
                    place.generation += 1;
                    self.kept = notice.size;
                }
                _ => self.find(
                    None,
                    None,
                    "notice_forged",
                    "a notice announces something else than was done",
                ),
            }
        }
        Ok(())
    }

    /// What was published under an earlier name is all that is left of leaves that are gone.
    async fn left_behind(
        &mut self,
        evidence: &Evidence<'_>,
        place: Place,
        size: u64,
        root: &medmesh_tlog::Hash,
    ) -> Result<(), VerifyError> {
        let tiles = evidence.shelf.tiles(place, &root_nodes(size), size).await;
        let is_there = tiles.is_ok_and(|tiles| {
            Frontier::from_nodes(size, &tiles).is_ok_and(|frontier| frontier.root() == *root)
        });
        if !is_there {
            let why =
                format!("what was published of the {size} leaves before the log went on is gone or altered");
            self.find(None, None, "left_tiles_differ", &why);
        }
        Ok(())
    }
}

fn instant(seconds: u64) -> OffsetDateTime {
    let seconds = i64::try_from(seconds).unwrap_or(0);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
