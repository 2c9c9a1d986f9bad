//! Many proposals, one entry: what waits while an entry is on its way goes into the next one.

use std::sync::Arc;

use medmesh_ledger::{Command, Response, limits};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::consensus::{Committed, Consensus};
use crate::error::ProposeError;

/// Entries under way at once. More would make batches smaller without making the disk faster.
const ENTRIES_UNDER_WAY_MAX: usize = 4;
/// Proposals waiting; further callers wait to enter.
const PROPOSALS_WAITING_MAX: usize = 4096;
/// Largest entry, bytes: sent to every follower within a heartbeat on a slow LAN.
pub(crate) const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// One caller's command and where its answer goes.
pub(crate) struct Ticket {
    pub(crate) command: Command,
    /// Of the encoded command.
    pub(crate) size_bytes: usize,
    pub(crate) reply: oneshot::Sender<Result<Committed, ProposeError>>,
}

pub(crate) type Tickets = mpsc::Sender<Ticket>;

/// Who leads the entries of a batch to the log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    /// Whoever leads: for this node's own callers.
    Leader,
    /// This node or nobody: for calls of other nodes, which must not be passed on.
    Here,
}

pub(crate) fn channel() -> (Tickets, mpsc::Receiver<Ticket>) {
    mpsc::channel(PROPOSALS_WAITING_MAX)
}

/// Takes tickets until the channel is closed or the node stops.
pub(crate) async fn run(consensus: Consensus, to: To, mut tickets: mpsc::Receiver<Ticket>) {
    let places = Arc::new(Semaphore::new(ENTRIES_UNDER_WAY_MAX));
    let mut left_over = None;
    loop {
        // First a place, then the batch: it grows while it waits.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let first = match left_over.take() {
            Some(ticket) => ticket,
            None => tokio::select! {
                () = consensus.drain().stopping() => return,
                ticket = tickets.recv() => match ticket {
                    Some(ticket) => ticket,
                    None => return,
                },
            },
        };
        let batch;
        (batch, left_over) = gather(first, &mut tickets);
        let consensus_of_batch = consensus.clone();
        consensus.drain().spawn(async move {
            submit(&consensus_of_batch, to, batch).await;
            drop(place);
        });
    }
}

fn weight(command: &Command) -> usize {
    match command {
        Command::Batch(commands) => commands.len(),
        _ => 1,
    }
}

fn gather(first: Ticket, tickets: &mut mpsc::Receiver<Ticket>) -> (Vec<Ticket>, Option<Ticket>) {
    let (mut count, mut bytes) = (weight(&first.command), first.size_bytes);
    let mut batch = vec![first];
    while let Ok(next) = tickets.try_recv() {
        count += weight(&next.command);
        bytes += next.size_bytes;
        if count > limits::BATCH_COMMANDS_MAX || bytes > ENTRY_BYTES_MAX {
            return (batch, Some(next));
        }
        batch.push(next);
    }
    (batch, None)
}

async fn commit(consensus: &Consensus, to: To, command: &Command) -> Result<Committed, ProposeError> {
    match to {
        To::Leader => consensus.route(command).await,
        To::Here => consensus.propose_here(command).await,
    }
}

async fn submit(consensus: &Consensus, to: To, mut batch: Vec<Ticket>) {
    if batch.len() == 1 {
        let Ticket { command, reply, .. } = batch.remove(0);
        consensus.metrics().batched(weight(&command));
        // A caller that no longer waits does not want to know.
        let _ = reply.send(commit(consensus, to, &command).await);
        return;
    }
    let mut commands = Vec::new();
    let mut callers = Vec::with_capacity(batch.len());
    for Ticket { command, reply, .. } in batch {
        match command {
            Command::Batch(inner) => {
                callers.push((Some(inner.len()), reply));
                commands.extend(inner);
            }
            single => {
                callers.push((None, reply));
                commands.push(single);
            }
        }
    }
    consensus.metrics().batched(commands.len());
    match commit(consensus, to, &Command::Batch(commands)).await {
        Ok(Committed {
            response: Response::Batch(responses),
            index,
        }) => {
            let mut responses = responses.into_iter();
            for (count, reply) in callers {
                let response = match count {
                    Some(count) => Response::Batch(responses.by_ref().take(count).collect()),
                    None => responses.next().expect("a batch answers each of its commands"),
                };
                let _ = reply.send(Ok(Committed { response, index }));
            }
        }
        Ok(Committed { response, index }) => {
            for (_, reply) in callers {
                let _ = reply.send(Ok(Committed {
                    response: response.clone(),
                    index,
                }));
            }
        }
        Err(error) => {
            for (_, reply) in callers {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}
