//! Commits per second with fsync: three control nodes beside three etcd members.
//!
//! Both groups are three processes on loopback with their data on the same disk,
//! and both stay up while the other is loaded. The client is one process that
//! keeps `concurrency` calls under way at the leader: `Leader.Propose` over a
//! mutual-TLS QUIC link for us, `KV.Put` over plaintext gRPC for etcd (its best
//! case). Each call commits one value of [`VALUE_BYTES`] under one of [`KEYS`]
//! keys and is counted when its answer is there. Runs alternate.

mod etcd;
mod node;
mod ours;
mod probe;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::report::{self, Better, Other, Row};

pub use node::{Options as NodeOptions, run as run_node};

/// What one commit carries.
pub(crate) const VALUE_BYTES: usize = 100;
/// Keys in turn: the state stays small on both sides.
pub(crate) const KEYS: u64 = 1_000;
/// Calls under way.
const CONCURRENCIES: [usize; 3] = [1, 64, 256];

/// How long and how often.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Runs of each side at each concurrency, alternating
    #[arg(long, default_value_t = 5)]
    pub raft_runs: usize,
    /// Seconds of one run
    #[arg(long, default_value_t = 3.0)]
    pub raft_seconds: f64,
}

/// Something that commits one value per call.
pub(crate) trait Committer: Clone + Send + Sync + 'static {
    /// Commits `value` under `key`; resolves when it is committed.
    fn commit(&self, key: u64, value: Vec<u8>) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Measures and answers the rows.
///
/// # Errors
/// When a group cannot be started or a commit fails.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    let directory = report::directory();
    std::fs::create_dir_all(&directory)?;
    let data = tempfile::tempdir_in(&directory).context("no directory for data")?;
    let us = ours::Group::start(&data.path().join("us")).await?;
    let etcd = etcd::Group::start(&data.path().join("etcd")).await?;
    let length = Duration::from_secs_f64(options.raft_seconds);
    let mut rows = Vec::new();
    for concurrency in CONCURRENCIES {
        let (mut our_runs, mut etcd_runs, mut limit_runs) = (Vec::new(), Vec::new(), Vec::new());
        // One unmeasured round each: connections, caches, files that grow for the first time.
        load(us.client(), concurrency, length / 4).await?;
        load(etcd.client(), concurrency, length / 4).await?;
        for _ in 0..options.raft_runs {
            our_runs.push(load(us.client(), concurrency, length).await?);
            etcd_runs.push(load(etcd.client(), concurrency, length).await?);
            if concurrency == 1 {
                limit_runs.push(probe::syncs_per_second(data.path(), length / 2)?);
            }
        }
        rows.push(Row {
            bench: format!("raft_commits_c{concurrency}"),
            unit: "commits/s".to_owned(),
            better: Better::Higher,
            us: our_runs,
            peer: Some(Other {
                name: "etcd".to_owned(),
                runs: etcd_runs,
            }),
            limit: (concurrency == 1).then(|| Other {
                name: "append + fdatasync, one thread".to_owned(),
                runs: limit_runs,
            }),
        });
    }
    Ok(rows)
}

/// Commits per second with `concurrency` calls under way.
async fn load<C: Committer>(client: C, concurrency: usize, length: Duration) -> anyhow::Result<f64> {
    let keys = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..concurrency {
        let (client, keys) = (client.clone(), keys.clone());
        workers.spawn(async move {
            let mut committed = 0u64;
            while started.elapsed() < length {
                let key = keys.fetch_add(1, Ordering::Relaxed) % KEYS;
                client.commit(key, vec![b'v'; VALUE_BYTES]).await?;
                committed += 1;
            }
            anyhow::Ok(committed)
        });
    }
    let mut committed = 0;
    while let Some(worker) = workers.join_next().await {
        committed += worker??;
    }
    // Counts stay far below 2^52.
    Ok(committed as f64 / started.elapsed().as_secs_f64())
}
