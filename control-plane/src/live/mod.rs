//! What happens in a visit, for those who watch it.
//!
//! A write leaves an event; the relay ([`crate::outbox`]) turns it into news at every
//! node ([`crate::ephemeral::News`]); each open stream then looks into the database
//! for itself. So nothing but ids travels, order is the database's, and a stream that
//! misses all news still looks every now and then.

mod cut;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use medmesh_base::{ProblemCode, SessionId, VisitId};
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::ephemeral::News;
use crate::http::ApiError;

pub use cut::run as cut;

/// Open streams of one node, at some 10 kB and a query now and then each.
const STREAMS_MAX: usize = 10_000;
/// Open streams of one session: its tabs, and reconnects the old ends of which linger.
const STREAMS_PER_SESSION_MAX: usize = 8;
/// How often a stream looks without being told.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Who watches what. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    news: News,
    open: Arc<Mutex<HashMap<SessionId, usize>>>,
    ended: broadcast::Sender<SessionId>,
}

/// Ended sessions a slow stream may be behind. One that misses some looks for itself.
const ENDED_BACKLOG: usize = 256;

impl Live {
    /// Over this node's news.
    #[must_use]
    pub fn new(news: News) -> Self {
        Self {
            news,
            open: Arc::default(),
            ended: broadcast::Sender::new(ENDED_BACKLOG),
        }
    }

    /// The news it is over.
    pub(crate) fn news(&self) -> News {
        self.news.clone()
    }

    /// Whether any stream is open.
    fn is_watched(&self) -> bool {
        !self.open.lock().is_empty()
    }

    /// Cuts the streams of a session that has ended.
    fn end(&self, session: SessionId) {
        // An error means that nobody listens here.
        let _ = self.ended.send(session);
    }

    /// Follows a visit for a session.
    ///
    /// # Errors
    /// 429 with too many streams of this session, 503 with too many at all.
    pub(crate) fn watch(&self, visit: VisitId, session: SessionId) -> Result<Watch, ApiError> {
        let mut open = self.open.lock();
        if open.values().sum::<usize>() >= STREAMS_MAX {
            return Err(ApiError::new(ProblemCode::Unavailable).retry_after(LOOK_EVERY.as_secs()));
        }
        let own = open.entry(session).or_insert(0);
        if *own >= STREAMS_PER_SESSION_MAX {
            return Err(ApiError::new(ProblemCode::RateLimited).retry_after(LOOK_EVERY.as_secs()));
        }
        *own += 1;
        drop(open);
        Ok(Watch {
            live: self.clone(),
            news: self.news.listen(),
            ended: self.ended.subscribe(),
            visit,
            session,
            is_behind: false,
        })
    }
}

/// One follower of one visit.
pub(crate) struct Watch {
    live: Live,
    news: broadcast::Receiver<VisitId>,
    ended: broadcast::Receiver<SessionId>,
    visit: VisitId,
    session: SessionId,
    is_behind: bool,
}

impl Watch {
    /// There is more than was read: the next wait is none.
    pub(crate) fn look_at_once(&mut self) {
        self.is_behind = true;
    }

    /// Returns when it is worth looking: the visit changed, news were missed, or it is time;
    /// or at once when the session has ended.
    pub(crate) async fn worth_looking(&mut self) -> Reason {
        if std::mem::take(&mut self.is_behind) {
            return Reason::Look;
        }
        let deadline = tokio::time::sleep(LOOK_EVERY);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                () = &mut deadline => return Reason::Look,
                ended = self.ended.recv() => match ended {
                    Ok(session) if session == self.session => return Reason::Ended,
                    Ok(_) => {}
                    // Ours may have been among those that were missed.
                    Err(broadcast::error::RecvError::Lagged(_)) => return Reason::CheckSession,
                    Err(broadcast::error::RecvError::Closed) => return Reason::Ended,
                },
                news = self.news.recv() => match news {
                    Ok(visit) if visit == self.visit => return Reason::Look,
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => return Reason::Look,
                    // Only when the process ends; the deadline then paces.
                    Err(broadcast::error::RecvError::Closed) => {
                        deadline.as_mut().await;
                        return Reason::Look;
                    }
                }
            }
        }
    }
}

/// Why a stream wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There may be news.
    Look,
    /// The session may have ended; and there may be news.
    CheckSession,
    /// The session has ended.
    Ended,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut open = self.live.open.lock();
        if let Some(own) = open.get_mut(&self.session) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> (News, Live) {
        let news = News::default();
        (news.clone(), Live::new(news))
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_wakes_for_its_visit_and_otherwise_in_time() {
        let (news, live) = live();
        let visit = VisitId::generate();
        let mut watch = live.watch(visit, SessionId::generate()).unwrap();
        let started = tokio::time::Instant::now();
        news.tell(VisitId::generate());
        news.tell(visit);
        watch.worth_looking().await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        news.tell(VisitId::generate());
        watch.worth_looking().await;
        assert_eq!(started.elapsed(), LOOK_EVERY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_ends_with_its_session_and_with_no_other() {
        let (_, live) = live();
        let (visit, session) = (VisitId::generate(), SessionId::generate());
        let mut watch = live.watch(visit, session).unwrap();
        live.end(SessionId::generate());
        live.end(session);
        assert_eq!(watch.worth_looking().await, Reason::Ended);
        for _ in 0..=ENDED_BACKLOG {
            live.end(SessionId::generate());
        }
        assert_eq!(watch.worth_looking().await, Reason::CheckSession);
    }

    #[tokio::test]
    async fn streams_of_a_session_are_bounded_and_given_back() {
        let (_, live) = live();
        let (visit, session) = (VisitId::generate(), SessionId::generate());
        let watches: Vec<_> = (0..STREAMS_PER_SESSION_MAX)
            .map(|_| live.watch(visit, session).unwrap())
            .collect();
        assert_eq!(
            live.watch(visit, session).err().unwrap().code,
            ProblemCode::RateLimited
        );
        assert!(live.watch(visit, SessionId::generate()).is_ok());
        drop(watches);
        assert!(live.watch(visit, session).is_ok());
        assert!(live.open.lock().is_empty());
    }
}
