//! When to ask for a keyframe of a layer: not more often than its encoder listens, and
//! never forgetting that somebody asked.

use std::time::{Duration, Instant};

/// What becomes of a wish for a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Send a request.
    Now,
    /// One was sent a moment ago: look again then, for the keyframe that answers it may
    /// have passed already.
    Later(Instant),
    /// As before, and a look is on its way.
    Noted,
}

/// The requests for one layer. An encoder takes no second one within its own interval and
/// says nothing about it, so what comes too early is owed and sent when it is over; a
/// keyframe that begins in between settles the debt.
#[derive(Debug, Default)]
pub(crate) struct Keyframes {
    asked_at: Option<Instant>,
    owed: bool,
}

impl Keyframes {
    /// Somebody cannot decode what comes.
    pub(crate) fn ask(&mut self, now: Instant, interval: Duration) -> Ask {
        match self.asked_at.map(|at| at + interval) {
            Some(free) if now < free => {
                if std::mem::replace(&mut self.owed, true) {
                    Ask::Noted
                } else {
                    Ask::Later(free)
                }
            }
            _ => {
                self.note_asked(now);
                Ask::Now
            }
        }
    }

    /// A request went another way: a subscription is one.
    pub(crate) fn note_asked(&mut self, now: Instant) {
        self.asked_at = Some(now);
        self.owed = false;
    }

    /// A keyframe begins: who asked before will see it.
    pub(crate) fn note_keyframe(&mut self) {
        self.owed = false;
    }

    /// The look [`Ask::Later`] spoke of: whether to send a request after all.
    pub(crate) fn poll(&mut self, now: Instant, interval: Duration) -> bool {
        self.owed && self.ask(now, interval) == Ask::Now
    }
}
