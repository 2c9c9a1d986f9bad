//! Counters and news in Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncTypedCommands as _, Client, RedisError, SetExpiry, SetOptions};

use super::Count;

/// Longest wait for Redis inside a request: it is on the same network, and there is a way without it.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Longest wait for a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// Reconnection attempts inside one call; the next call tries again.
const RETRIES: usize = 1;

#[derive(Clone)]
pub(super) struct Shared {
    client: Client,
    connection: ConnectionManager,
    cluster: Arc<str>,
    is_away: Arc<AtomicBool>,
}

impl Shared {
    pub(super) fn open(url: &str, cluster: &str) -> Result<Self, RedisError> {
        let client = Client::open(url)?;
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_connection_timeout(Some(CONNECTION_TIMEOUT))
            .set_number_of_retries(RETRIES);
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(client.clone(), config)?,
            client,
            cluster: cluster.into(),
            is_away: Arc::default(),
        })
    }

    pub(super) async fn add(&self, key: &str, window: Duration) -> Result<Count, RedisError> {
        let begin = SetOptions::default()
            .conditional_set(redis::ExistenceCheck::NX)
            .with_expiration(SetExpiry::PX(
                u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            ));
        let (value, left_ms): (u64, i64) = redis::pipe()
            .atomic()
            .set_options(key, 0, begin)
            .ignore()
            .incr(key, 1)
            .pttl(key)
            .query_async(&mut self.connection.clone())
            .await?;
        self.is_away.store(false, Ordering::Relaxed);
        let left = u64::try_from(left_ms).unwrap_or_default();
        Ok(Count {
            value,
            ends_in: Duration::from_millis(left),
        })
    }

    pub(super) async fn get(&self, key: &str) -> Result<u64, RedisError> {
        let value: Option<u64> = redis::cmd("GET")
            .arg(key)
            .query_async(&mut self.connection.clone())
            .await?;
        Ok(value.unwrap_or(0))
    }

    pub(super) async fn clear(&self, key: &str) -> Result<(), RedisError> {
        self.connection.clone().del(key).await.map(drop)
    }

    pub(super) async fn ping(&self) -> Result<(), RedisError> {
        redis::cmd("PING").query_async(&mut self.connection.clone()).await
    }

    pub(super) async fn publish(&self, text: &str) -> Result<(), RedisError> {
        self.connection
            .clone()
            .publish(self.channel(), text)
            .await
            .map(drop)
    }

    /// A connection of its own that hears what any node publishes.
    pub(super) async fn listen(&self) -> Result<redis::aio::PubSub, RedisError> {
        let mut hearing = self.client.get_async_pubsub().await?;
        hearing.subscribe(self.channel()).await?;
        Ok(hearing)
    }

    fn channel(&self) -> String {
        format!("medmesh:{}:visits", self.cluster)
    }

    /// Logs the first failure after it last worked.
    pub(super) fn complain(&self, error: &RedisError) {
        if !self.is_away.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "redis is away, counting in this process");
        }
    }
}
