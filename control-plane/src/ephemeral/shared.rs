//! Counters and news in Redis.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script, SetExpiry, SetOptions, TlsCertificates};

use tokio::time::Instant;

use super::Count;
use super::gcra::Quota;

/// Longest wait for Redis inside a request: it is on the same network, and there is a way without it.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Longest wait for a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// Reconnection attempts inside one call; a later call tries again.
const RETRIES: usize = 0;
/// After a failure nobody asks for this long, so that requests do not queue behind a dead server.
const PAUSE: Duration = Duration::from_secs(1);

/// [`Quota::judge`]'s arithmetic. Takes from all keys or from none, in one step. What it keeps ends
/// by itself when the key is free.
const TAKE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ahead, has_room = {}, true
for i, key in ipairs(KEYS) do
    local interval, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    ahead[i] = math.max(tonumber(redis.call('GET', key) or now) - now, 0)
    has_room = has_room and ahead[i] + interval <= interval * burst
end
if has_room then
    for i, key in ipairs(KEYS) do
        local after = ahead[i] + tonumber(ARGV[2 * i - 1])
        redis.call('SET', key, string.format('%.0f', now + after), 'PX', math.ceil(after / 1000))
    end
end
return ahead
";

#[derive(Clone)]
pub(super) struct Shared {
    connection: ConnectionManager,
    take: Arc<Script>,
    /// Set while it is away: when to ask again.
    away: Arc<Mutex<Option<Instant>>>,
}

impl Shared {
    /// Redis under `url`. `authority` (PEM) is trusted in place of those the system knows.
    pub(super) fn open(url: &str, authority: Option<Vec<u8>>) -> Result<Self, RedisError> {
        // Harmless if the process has chosen already: there is one provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = match authority {
            None => Client::open(url)?,
            Some(root) => {
                let certificates = TlsCertificates {
                    client_tls: None,
                    root_cert: Some(root),
                };
                Client::build_with_tls(url, certificates)?
            }
        };
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_connection_timeout(Some(CONNECTION_TIMEOUT))
            .set_number_of_retries(RETRIES);
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(client, config)?,
            take: Arc::new(Script::new(TAKE)),
            away: Arc::default(),
        })
    }

    /// Does something in Redis. `None` when that is not possible now, which is logged once.
    ///
    /// It is tried twice: a call on a connection that broke gets that connection's error, and only
    /// the next one waits for the new connection. Everything we do may be done twice.
    async fn attempt<T, W>(&self, work: impl Fn(ConnectionManager) -> W) -> Option<T>
    where
        W: Future<Output = Result<T, RedisError>>,
    {
        if self.away.lock().is_some_and(|until| until > Instant::now()) {
            return None;
        }
        let mut result = work(self.connection.clone()).await;
        if result.is_err() {
            result = work(self.connection.clone()).await;
        }
        let mut away = self.away.lock();
        match result {
            Ok(value) => {
                if away.take().is_some() {
                    tracing::info!("redis is back");
                }
                Some(value)
            }
            Err(error) => {
                if away.replace(Instant::now() + PAUSE).is_none() {
                    tracing::warn!(%error, "redis is away, going on in this process");
                }
                None
            }
        }
    }

    pub(super) async fn add(&self, key: &str, window: Duration) -> Option<Count> {
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let begin = SetOptions::default()
            .conditional_set(redis::ExistenceCheck::NX)
            .with_expiration(SetExpiry::PX(window_ms));
        let mut add = redis::pipe();
        add.atomic()
            .set_options(key, 0, begin)
            .ignore()
            .incr(key, 1)
            .pttl(key);
        let add = &add;
        let query = |mut connection| async move { add.query_async(&mut connection).await };
        let (value, left_ms): (u64, i64) = self.attempt(query).await?;
        let left = u64::try_from(left_ms).unwrap_or_default();
        Some(Count {
            value,
            ends_in: Duration::from_millis(left),
        })
    }

    /// How far ahead each key was, microseconds; charged if all have room. Redis' own clock counts,
    /// so that those of the nodes need not agree.
    pub(super) async fn take(&self, wanted: &[(String, Quota)]) -> Option<Vec<u64>> {
        let mut take = self.take.prepare_invoke();
        for (key, quota) in wanted {
            take.key(key).arg(quota.interval_us).arg(quota.burst);
        }
        let take = &take;
        let query = |mut connection| async move { take.invoke_async(&mut connection).await };
        self.attempt(query).await
    }

    pub(super) async fn get(&self, key: &str) -> Option<u64> {
        let mut get = redis::cmd("GET");
        get.arg(key);
        let value: Option<u64> = self.query(&get).await?;
        Some(value.unwrap_or(0))
    }

    pub(super) async fn refund(&self, key: &str) {
        let mut refund = redis::cmd("DECR");
        refund.arg(key);
        // The window ended in between: DECR then made a counter without an end.
        if self.query::<i64>(&refund).await.is_some_and(|value| value < 0) {
            self.clear(key).await;
        }
    }

    pub(super) async fn clear(&self, key: &str) {
        let mut clear = redis::cmd("DEL");
        clear.arg(key);
        self.query::<u64>(&clear).await;
    }

    pub(super) async fn is_ready(&self) -> bool {
        self.query::<()>(&redis::cmd("PING")).await.is_some()
    }

    async fn query<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Option<T> {
        let query = |mut connection| async move { command.query_async(&mut connection).await };
        self.attempt(query).await
    }
}
