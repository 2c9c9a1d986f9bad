//! The stream of what happens in a visit.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::Event;
use futures::{Stream, stream};
use http::HeaderMap;
use medmesh_api_types::visit::{VisitEvent, VisitEventsQuery};
use medmesh_base::{MessageId, ProblemCode, VisitId};
use medmesh_clinic::authz::Action;
use medmesh_clinic::identity::Standing;
use medmesh_clinic::{Attendance, Version};
use medmesh_store::{Tx, VisitPulse};
use prometheus::IntGauge;
use time::OffsetDateTime;
use tokio::time::Instant;
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::Signed;
use crate::http::error::ApiError;
use crate::http::extract::{Id, Query};
use crate::http::mapping;
use crate::http::state::Api;
use crate::live::{Reason, Watch};

const TAG: &str = "messages";
/// Between pings: under the 30 s after which proxies and the portals give a silent stream up.
const PING_EVERY: Duration = Duration::from_secs(15);
/// How often the session behind a quiet stream is looked at.
const SESSION_EVERY: Duration = Duration::from_secs(30);
/// What a browser's `EventSource` waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);
/// Messages fetched at once; the rest follows when these are written.
const MESSAGES_AT_ONCE: u32 = 50;

/// Versions begin at one: no visit ever has this one.
const UNSEEN: i64 = 0;

pub(super) fn routes() -> Routes {
    Routes::new().signed(Action::VisitEvents, routes!(visit_events))
}

/// What happens in the visit, as server-sent events.
///
/// `event: visit` with a `Visit`, first at once and then on every change; `event: message` with a
/// `Message`, whose `id` is the event's; `event: ping`. Messages come from the first one on, or with
/// `Last-Event-ID` after that one, without loss. Whoever connects again says with `seen` which version of
/// the visit they know; what was not read anew is no reading in the audit log. Participants only.
#[utoipa::path(get, path = "/v1/visits/{id}/events", tag = TAG,
    params(("id" = uuid::Uuid, Path), VisitEventsQuery,
        ("Last-Event-ID" = Option<uuid::Uuid>, Header, description = "The last message seen.")),
    responses((status = 200, description = "The events.", body = VisitEvent, content_type = "text/event-stream")))]
async fn visit_events(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<VisitId>,
    Query(known): Query<VisitEventsQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let watch = api.live.watch(id, signed.session.id)?;
    let mut feed = Feed {
        visit: id,
        watch,
        seen: None,
        known: Version(known.seen.unwrap_or(UNSEEN)),
        last_message: last_event_id(&headers)?,
        attendance: Attendance::Away,
        is_resuming: true,
        session_checked: Instant::now(),
        next_ping: Instant::now() + PING_EVERY,
        queue: VecDeque::from([Event::default().retry(RETRY)]),
        _open: StreamCount::enter(&api.metrics.streams),
        signed,
        api,
    };
    // Whoever may not watch is told so with a status, not with an empty stream.
    feed.look().await?;
    Ok(Sse::new(stream::unfold(feed, Feed::next)))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<MessageId>, ApiError> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let id = text
        .parse()
        .map_err(|_| ApiError::invalid("Last-Event-ID is not a message's id."))?;
    Ok(Some(id))
}

/// One stream. It holds what was seen, and looks again when there is reason to.
struct Feed {
    api: Api,
    signed: Signed,
    visit: VisitId,
    watch: Watch,
    seen: Option<VisitPulse>,
    /// The version that was seen before the stream began.
    known: Version,
    last_message: Option<MessageId>,
    attendance: Attendance,
    is_resuming: bool,
    session_checked: Instant,
    next_ping: Instant,
    queue: VecDeque<Event>,
    _open: StreamCount,
}

impl Feed {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some((Ok(event), self));
            }
            let drain = self.api.drain.clone();
            tokio::select! {
                () = drain.stopping() => return None,
                () = tokio::time::sleep_until(self.next_ping) => {
                    self.next_ping += PING_EVERY;
                    self.queue.push_back(Event::default().event("ping").data("{}"));
                }
                reason = self.watch.worth_looking() => {
                    if reason == Reason::Ended {
                        return None;
                    }
                    match self.wake(reason).await {
                        Ok(()) => {}
                        // The database is away for a moment; the stream outlives that.
                        Err(error) if error.code == ProblemCode::Unavailable => {}
                        // Signed out, or no longer a participant. Reconnecting tells why.
                        Err(_) => return None,
                    }
                }
            }
        }
    }

    async fn wake(&mut self, reason: Reason) -> Result<(), ApiError> {
        if reason == Reason::CheckSession {
            self.check_session().await?;
        }
        self.look().await
    }

    /// Reads what is new, as the caller may see it now.
    async fn look(&mut self) -> Result<(), ApiError> {
        let mut tx = self.api.begin(&self.signed).await?;
        let mut now = tx.visit_pulse(self.visit).await?;
        let is_news = self.seen != Some(now);
        // Nothing is shown to a session that has ended meanwhile.
        let is_due = self.session_checked.elapsed() >= SESSION_EVERY;
        if is_due || (is_news && self.seen.is_some()) {
            tx.rollback().await?;
            self.check_session().await?;
            tx = self.api.begin(&self.signed).await?;
            now = tx.visit_pulse(self.visit).await?;
        }
        if is_news { self.read(tx, now).await } else { Ok(()) }
    }

    /// What was seen before the stream began, as whoever connects says. The message they name has to be
    /// one of this visit.
    async fn before(&self, tx: &mut Tx) -> Result<VisitPulse, ApiError> {
        let message_sequence = match self.last_message {
            Some(last) => tx.message_place(self.visit, last).await?,
            None => 0,
        };
        Ok(VisitPulse {
            version: self.known,
            message_sequence,
        })
    }

    /// Queues what came since the last look.
    async fn read(&mut self, mut tx: Tx, now: VisitPulse) -> Result<(), ApiError> {
        let seen = match self.seen {
            Some(seen) => seen,
            None => self.before(&mut tx).await?,
        };
        let mut visit = None;
        if seen.version != now.version {
            visit = Some(tx.visit_get(self.visit).await?);
        } else if self.seen.is_none() {
            self.attendance = tx.visit_attendance(self.visit).await?;
        }
        let mut messages = Vec::new();
        let mut is_all = true;
        if seen.message_sequence < now.message_sequence {
            messages = tx
                .message_list(self.visit, self.last_message, Some(MESSAGES_AT_ONCE))
                .await?;
            is_all = messages.len() < MESSAGES_AT_ONCE as usize;
        }
        tx.commit().await?;
        if let Some(visit) = visit {
            let me = self.signed.session.person.id;
            self.attendance = visit.attendance(me);
            let visit = mapping::visit(visit, me);
            self.queue
                .push_back(event("visit").json_data(visit).expect("a visit is plain JSON"));
        }
        let sequence = messages.last().map_or(now.message_sequence, |last| last.sequence);
        for message in messages {
            self.last_message = Some(message.id);
            if !self.is_resuming {
                let delay = OffsetDateTime::now_utc() - message.sent_at;
                self.api.metrics.delivery.observe(delay.as_seconds_f64().max(0.0));
            }
            let event = event("message").id(message.id.to_string());
            let data = mapping::message(message);
            self.queue
                .push_back(event.json_data(data).expect("a message is plain JSON"));
        }
        // A full batch leaves the rest for the next look, which is then at once.
        let message_sequence = if is_all { now.message_sequence } else { sequence };
        self.seen = Some(VisitPulse {
            message_sequence,
            ..now
        });
        self.is_resuming &= !is_all;
        if !is_all {
            self.watch.look_at_once();
        }
        Ok(())
    }

    /// The session must still live. Following a visit is not using it, but attending it is: nobody is
    /// locked out of a conversation, or of the waiting room, for only listening.
    async fn check_session(&mut self) -> Result<(), ApiError> {
        let now = OffsetDateTime::now_utc();
        let store = self.api.database.store()?;
        let old = &self.signed.session;
        // By its id: the token may have changed since the stream began.
        let session = store
            .session_check(old.clinic.id, old.id, now, self.attendance.is_at(now))
            .await?;
        let session = session.filter(|session| session.standing() == Standing::Full);
        self.signed.session = session.ok_or(ProblemCode::Unauthenticated)?;
        self.session_checked = Instant::now();
        Ok(())
    }
}

fn event(name: &str) -> Event {
    Event::default().event(name)
}

/// Counts an open stream.
struct StreamCount(IntGauge);

impl StreamCount {
    fn enter(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.0.dec();
    }
}
