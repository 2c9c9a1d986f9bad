//! The relay: at one node at a time, for as long as its connection to the database holds.

use std::time::Duration;

use medmesh_base::drain::Drain;
use medmesh_store::{Event, JobOptions, OUTBOX_BATCH_MAX, Relay, Store, StoreError};
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::metrics::OutboxMetrics;
use super::rabbit::{EventPublish, Rabbit, SinkError, Taken};

/// How often a node tries to become the relay: whoever is killed is replaced this soon.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// How often the relay looks for what other nodes committed. What its own node commits wakes it.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often it is counted what waits.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// Pause after the sink failed; nothing is lost meanwhile, and nobody else waits.
const SINK_PAUSE: Duration = Duration::from_secs(2);

/// Relays whenever no other node does, until the drain stops. `url` reaches the database past any
/// pooler that shares connections.
pub async fn relay(url: String, store: Store, sink: Option<Rabbit>, metrics: OutboxMetrics, drain: Drain) {
    while !drain.is_stopping() {
        match Relay::try_lead(&url).await {
            Ok(Some(relay)) => {
                tracing::info!(term = relay.term(), "this node relays events");
                metrics.leads(true);
                let mut leader = Leader::new(relay, sink.clone(), metrics.clone(), store.clone());
                let ended = leader.run(&drain).await;
                metrics.leads(false);
                match ended {
                    Ok(()) => leader.relay.resign().await,
                    Err(error) => tracing::warn!(%error, "this node relays events no longer"),
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "nobody can be the relay now"),
        }
        tokio::select! {
            () = drain.stopping() => return,
            () = tokio::time::sleep(TRY_EVERY) => {}
        }
    }
}

/// What the sink came to with one batch.
type Publishing = JoinHandle<Result<Taken, SinkError>>;

struct Leader {
    relay: Relay,
    sink: Option<Rabbit>,
    metrics: OutboxMetrics,
    store: Store,
    publishing: Option<Publishing>,
    sink_from: Instant,
    count_at: Instant,
}

impl Leader {
    fn new(relay: Relay, sink: Option<Rabbit>, metrics: OutboxMetrics, store: Store) -> Self {
        Self {
            relay,
            sink,
            metrics,
            store,
            publishing: None,
            sink_from: Instant::now(),
            count_at: Instant::now(),
        }
    }

    /// Until the drain stops, or the power to relay is gone.
    async fn run(&mut self, drain: &Drain) -> Result<(), StoreError> {
        loop {
            if drain.is_stopping() {
                return Ok(());
            }
            let told = self.relay.notify(self.sink.is_some()).await?;
            if told > 0 {
                self.metrics.relayed("nodes", "done", told);
            }
            self.publish().await?;
            if self.count_at <= Instant::now() {
                self.count_at = Instant::now() + COUNT_EVERY;
                let counts = self.relay.counts().await?;
                self.metrics.show(&counts, OffsetDateTime::now_utc());
            }
            if told < OUTBOX_BATCH_MAX as usize {
                tokio::select! {
                    () = drain.stopping() => return Ok(()),
                    () = self.store.outbox_wait(LOOK_EVERY) => {}
                }
            }
        }
    }

    /// Looks after the sink without waiting for it: one batch is on its way at a time.
    async fn publish(&mut self) -> Result<(), StoreError> {
        if self.publishing.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(batch) = self.publishing.take()
        {
            match batch.await {
                Ok(Ok(taken)) => self.mark(taken).await?,
                Ok(Err(error)) => {
                    self.metrics.relayed("sink", "failed", 1);
                    tracing::warn!(%error, "events wait for the sink");
                    self.sink_from = Instant::now() + SINK_PAUSE;
                }
                Err(_) => self.sink_from = Instant::now() + SINK_PAUSE,
            }
        }
        let Some(sink) = &self.sink else {
            return self.forget_for_no_sink().await;
        };
        if self.publishing.is_none() && self.sink_from <= Instant::now() {
            let events = self.relay.to_publish().await?;
            if !events.is_empty() {
                let sink = sink.clone();
                self.publishing = Some(tokio::spawn(async move { sink.publish(&events).await }));
            }
        }
        Ok(())
    }

    /// A sink that was configured once and is no more: what waited for it goes.
    async fn forget_for_no_sink(&mut self) -> Result<(), StoreError> {
        if self.count_at > Instant::now() {
            return Ok(());
        }
        let events = self.relay.to_publish().await?;
        let seqs: Vec<i64> = events.iter().map(|event| event.seq).collect();
        if !seqs.is_empty() {
            self.relay.published(&seqs).await?;
        }
        Ok(())
    }

    /// Marks what the broker confirmed. What it refused becomes a job: the rest goes on, and when the
    /// job's tries are used up a person sees it.
    async fn mark(&mut self, taken: Taken) -> Result<(), StoreError> {
        let refused: Vec<Event> = taken.refused;
        for event in &refused {
            let once = JobOptions {
                dedupe_key: Some(event.event_id.to_string()),
                due_at: None,
            };
            let work = EventPublish { event: *event };
            self.store.job_add(&work, once).await?;
        }
        self.metrics.relayed("sink", "done", taken.confirmed.len());
        self.metrics.relayed("sink", "refused", refused.len());
        let mut seqs = taken.confirmed;
        seqs.extend(refused.iter().map(|event| event.seq));
        self.relay.published(&seqs).await?;
        Ok(())
    }
}
