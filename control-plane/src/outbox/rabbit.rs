//! Events to RabbitMQ, with publisher confirms.
//!
//! A durable topic exchange and a durable queue that takes everything, so that nothing is
//! lost before the first consumer binds a queue of its own. Messages are persistent, their
//! `message_id` is the event's id, and the routing key is `CLINIC.KIND`. The broker confirms
//! a message when it is safe; only then the event is forgotten here. It may come twice.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};
use medmesh_store::{Event, JobKind};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::config::RabbitMq;
use crate::jobs::{Handlers, JobFailure};

/// Longest a batch may take: a broker that hangs is a broker that is away.
const BATCH_TIMEOUT: Duration = Duration::from_secs(20);
/// AMQP's delivery mode of messages that survive the broker.
const PERSISTENT: u8 = 2;

/// The sink failed; the events wait. Never holds the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum SinkError {
    /// It did not answer in time.
    #[error("the broker did not answer in time")]
    TimedOut,
    /// It cannot be reached, or does not let us in.
    #[error("the broker cannot be used")]
    Broker(#[from] lapin::Error),
}

/// What the broker did with a batch.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Numbers of the events it has.
    pub(super) confirmed: Vec<i64>,
    /// What it will not have.
    pub(super) refused: Vec<Event>,
}

/// An event the broker refused, tried again apart from the others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct EventPublish {
    pub(super) event: Event,
}

impl JobKind for EventPublish {
    const KIND: &'static str = "event_publish";
    /// With the workers' backoff a quarter of an hour: order matters to whoever waits for it.
    const ATTEMPTS_MAX: u32 = 8;
}

/// The sink. Cheap to clone; clones share one connection, made when it is first needed.
#[derive(Clone)]
pub struct Rabbit(Arc<Inner>);

struct Inner {
    url: String,
    exchange: String,
    queue: String,
    open: Mutex<Option<Open>>,
}

struct Open {
    /// Dropped, it closes.
    _connection: Connection,
    channel: Channel,
}

impl Rabbit {
    /// From the configuration; does not connect yet.
    #[must_use]
    pub fn new(config: &RabbitMq) -> Self {
        Self(Arc::new(Inner {
            url: config.url.clone(),
            exchange: config.exchange.clone(),
            queue: config.queue.clone(),
            open: Mutex::new(None),
        }))
    }

    /// Publishes a batch in its order and waits for what the broker says of each.
    ///
    /// # Errors
    /// When the broker is away: none of the batch counts as taken then, though it may have some.
    pub(super) async fn publish(&self, events: &[Event]) -> Result<Taken, SinkError> {
        // One batch at a time goes over the channel, or their order would be lost.
        let mut open = self.0.open.lock().await;
        let work = async {
            let channel = match open.take() {
                Some(open) if open.channel.status().connected() => open,
                _ => self.connect().await?,
            };
            let taken = self.send(&channel.channel, events).await?;
            *open = Some(channel);
            Ok(taken)
        };
        tokio::time::timeout(BATCH_TIMEOUT, work)
            .await
            .unwrap_or(Err(SinkError::TimedOut))
    }

    async fn connect(&self) -> Result<Open, SinkError> {
        let inner = &self.0;
        let connection = Connection::connect(&inner.url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let (exchange, queue) = (inner.exchange.as_str(), inner.queue.as_str());
        channel
            .exchange_declare(
                exchange.into(),
                ExchangeKind::Topic,
                durable,
                FieldTable::default(),
            )
            .await?;
        channel
            .queue_declare(
                queue.into(),
                QueueDeclareOptions::durable(),
                FieldTable::default(),
            )
            .await?;
        channel
            .queue_bind(
                queue.into(),
                exchange.into(),
                "#".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Open {
            _connection: connection,
            channel,
        })
    }

    async fn send(&self, channel: &Channel, events: &[Event]) -> Result<Taken, SinkError> {
        let mut confirms = Vec::with_capacity(events.len());
        for event in events {
            let body = serde_json::to_vec(event).expect("an event is plain data");
            let key = format!("{}.{}", event.clinic_id, event.kind.word());
            let properties = BasicProperties::default()
                .with_message_id(event.event_id.to_string().into())
                .with_type(event.kind.word().into())
                .with_content_type("application/json".into())
                .with_delivery_mode(PERSISTENT);
            let mandatory = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let exchange = self.0.exchange.as_str().into();
            let sent = channel
                .basic_publish(exchange, key.as_str().into(), mandatory, &body, properties)
                .await?;
            confirms.push((event, sent));
        }
        let mut taken = Taken::default();
        for (event, confirm) in confirms {
            match confirm.await? {
                Confirmation::Ack(None) | Confirmation::NotRequested => taken.confirmed.push(event.seq),
                Confirmation::Ack(Some(_)) | Confirmation::Nack(_) => taken.refused.push(*event),
            }
        }
        Ok(taken)
    }
}

/// Adds who publishes what the broker refused at first.
#[must_use]
pub fn handlers(sink: Option<&Rabbit>, handlers: Handlers) -> Handlers {
    let Some(sink) = sink.cloned() else {
        return handlers;
    };
    handlers.on(move |_, work: EventPublish| {
        let sink = sink.clone();
        async move {
            let taken = sink.publish(&[work.event]).await;
            let taken = taken.map_err(|_| JobFailure::Again("broker_away"))?;
            if taken.refused.is_empty() {
                Ok(())
            } else {
                Err(JobFailure::Again("broker_refused"))
            }
        }
    })
}
