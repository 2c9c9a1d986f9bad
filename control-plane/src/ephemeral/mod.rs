//! State whose loss is harmless: counters with a window, and news for open streams.
//!
//! With `redis.url` counters are shared by the control nodes, without it they live in this
//! process. When Redis is away, counters go on in this process: signing in must
//! not depend on it.

pub(crate) mod gcra;
mod memory;
mod news;
mod shared;

use std::time::Duration;

pub use gcra::{Buckets, Counted, Quota, Standing};
use memory::Memory;
pub use news::News;
use shared::Shared;

/// The two ways to keep ephemeral state, opened from the configuration.
#[derive(Clone)]
pub struct Ephemeral {
    shared: Option<Shared>,
}

impl Ephemeral {
    /// Redis under `url`, or this process without one. Does not wait for a connection.
    ///
    /// # Errors
    /// When the URL does not parse.
    pub fn open(url: Option<&str>) -> Result<Self, redis::RedisError> {
        let shared = url.map(|url| Shared::open(url, None)).transpose()?;
        Ok(Self { shared })
    }

    /// Redis over TLS, whose certificate an authority (PEM) signed that the system does not know.
    ///
    /// # Errors
    /// When the URL does not parse or is not `rediss://`, or the PEM holds no certificate.
    pub fn open_trusting(url: &str, authority: Vec<u8>) -> Result<Self, redis::RedisError> {
        let shared = Shared::open(url, Some(authority))?;
        Ok(Self { shared: Some(shared) })
    }

    /// Counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            shared: self.shared.clone(),
            memory: Memory::default(),
        }
    }

    /// Limits on how often.
    #[must_use]
    pub fn buckets(&self) -> Buckets {
        Buckets::new(self.shared.clone())
    }

    /// Whether other nodes see what this one writes.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Whether it works at this moment.
    pub async fn is_ready(&self) -> bool {
        match &self.shared {
            Some(shared) => shared.is_ready().await,
            None => true,
        }
    }
}

/// A counter after it was added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many since the window began.
    pub value: u64,
    /// How long the window still lasts.
    pub ends_in: Duration,
}

/// Counters that begin anew when their window ends.
#[derive(Clone)]
pub struct Counters {
    shared: Option<Shared>,
    memory: Memory,
}

impl Counters {
    /// Counters of this process only.
    #[must_use]
    pub fn in_process() -> Self {
        Self {
            shared: None,
            memory: Memory::default(),
        }
    }

    /// Adds one; the first begins a window of this length.
    pub async fn add(&self, key: &str, window: Duration) -> Count {
        if let Some(shared) = &self.shared
            && let Some(count) = shared.add(key, window).await
        {
            return count;
        }
        self.memory.add(key, window)
    }

    /// The present value; 0 outside a window.
    pub async fn get(&self, key: &str) -> u64 {
        if let Some(shared) = &self.shared
            && let Some(value) = shared.get(key).await
        {
            return value;
        }
        self.memory.get(key)
    }

    /// Takes one back; a window that has ended stays ended.
    pub async fn refund(&self, key: &str) {
        if let Some(shared) = &self.shared {
            shared.refund(key).await;
        }
        self.memory.refund(key);
    }

    /// Ends the window.
    pub async fn clear(&self, key: &str) {
        if let Some(shared) = &self.shared {
            shared.clear(key).await;
        }
        self.memory.clear(key);
    }
}
