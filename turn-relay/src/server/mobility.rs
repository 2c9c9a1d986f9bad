//! Allocations whose client may come back from another address (RFC 8016).
//!
//! A ticket says where its allocation is, sealed for one user name; it is worth nothing without
//! the password besides. Whoever moves has been challenged at the new address first, so that
//! nobody can point an allocation at somebody else. An allocation that moves stays the one it
//! is: it counts once against the quotas, wherever its client goes.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{aead, hmac};

use super::allocation::Allocation;
use super::request::{ErrorCode, Request};
use super::{Client, Command, Counter, Now, Quotas, RelayId, Server};
use crate::codec::{self, Datagram, Fields, Message, Method};

const NONCE_BYTES: usize = 12;
const PLACE_BYTES: usize = 14;
const TAG_BYTES: usize = 16;

/// The value of MOBILITY-TICKET.
pub(super) type Ticket = [u8; NONCE_BYTES + PLACE_BYTES + TAG_BYTES];

/// What is known about an allocation that may move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mobility {
    /// How often it has.
    moves: u32,
    /// Its client's connection is gone; it may come back from elsewhere until the lifetime ends.
    pub(super) away: bool,
}

/// Where an allocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    worker: u16,
    slot: u32,
    generation: u32,
    moves: u32,
}

/// Makes and reads tickets. Servers that share the key read each other's.
#[derive(Debug)]
pub(super) struct Tickets {
    key: aead::LessSafeKey,
}

impl Tickets {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), b"medmesh turn tickets");
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, key.as_ref()).expect("32 bytes are a key");
        Self {
            key: aead::LessSafeKey::new(key),
        }
    }

    /// `nonce` is never used twice: 96 bits of a keyed stream.
    fn seal(&self, place: Place, username: &str, nonce: [u8; NONCE_BYTES]) -> Ticket {
        let mut ticket = [0; NONCE_BYTES + PLACE_BYTES + TAG_BYTES];
        let (head, rest) = ticket.split_at_mut(NONCE_BYTES);
        let (body, tag) = rest.split_at_mut(PLACE_BYTES);
        head.copy_from_slice(&nonce);
        body[..2].copy_from_slice(&place.worker.to_be_bytes());
        body[2..6].copy_from_slice(&place.slot.to_be_bytes());
        body[6..10].copy_from_slice(&place.generation.to_be_bytes());
        body[10..].copy_from_slice(&place.moves.to_be_bytes());
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let sealed = self
            .key
            .seal_in_place_separate_tag(nonce, aead::Aad::from(username.as_bytes()), body);
        tag.copy_from_slice(sealed.expect("a few bytes can be sealed").as_ref());
        ticket
    }

    fn open(&self, ticket: &[u8], username: &[u8]) -> Option<Place> {
        let mut ticket: Ticket = ticket.try_into().ok()?;
        let (nonce, sealed) = ticket.split_at_mut(NONCE_BYTES);
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
        let place = self
            .key
            .open_in_place(nonce, aead::Aad::from(username), sealed)
            .ok()?;
        let u32_at = |at: usize| place[at..].first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        Some(Place {
            worker: u16::from_be_bytes([place[0], place[1]]),
            slot: u32_at(2)?,
            generation: u32_at(6)?,
            moves: u32_at(10)?,
        })
    }
}

/// An allocation on its way from one worker to another, with its quotas.
#[derive(Debug)]
pub struct Moving {
    allocation: Option<Box<Allocation>>,
    slot: u32,
    generation: u32,
    quotas: Arc<Quotas>,
}

impl Moving {
    /// Its relayed transport addresses, by the names they have had. Their sockets go along.
    pub fn relays(&self) -> impl Iterator<Item = RelayId> {
        let (slot, generation) = (self.slot, self.generation);
        let allocation = self.allocation.as_ref();
        let families = allocation
            .into_iter()
            .flat_map(|allocation| allocation.relays.families());
        families.map(move |family| RelayId {
            slot,
            generation,
            family,
        })
    }
}

/// One that does not arrive gives back what it held.
impl Drop for Moving {
    fn drop(&mut self) {
        if let Some(allocation) = self.allocation.take() {
            self.quotas.release_allocation(allocation.user());
            self.quotas.release(allocation.peers.held());
        }
    }
}

impl Server {
    /// What RFC 8016 §3.1.2 makes of MOBILITY-TICKET in an Allocate request.
    pub(super) fn requested_mobility(&self, request: &Request<'_>) -> Result<Option<Mobility>, ErrorCode> {
        // A client that is behind TCP connections with peers would leave them behind.
        let tcp = request.fields.requested_transport == Some(6);
        match request.fields.mobility_ticket {
            None => Ok(None),
            Some([]) if self.mobility && !tcp => Ok(Some(Mobility::default())),
            Some([]) => Err(405),
            Some(_) => Err(400),
        }
    }

    /// A fresh ticket for an allocation that may move.
    pub(super) fn ticket(&mut self, slot: u32) -> Option<Ticket> {
        let allocation = self.table.get(slot)?;
        let place = Place {
            worker: self.worker.index,
            slot,
            generation: self.table.generation(slot),
            moves: allocation.mobility?.moves,
        };
        let nonce = self.tokens.next();
        Some(self.tickets.seal(place, &allocation.username, nonce))
    }

    fn place_of(&self, fields: &Fields<'_>) -> Option<Place> {
        let ticket = fields.mobility_ticket.filter(|_| self.mobility)?;
        self.tickets.open(ticket, fields.username?)
    }

    /// The slot of the allocation that a ticket of this worker speaks of.
    pub(super) fn slot_of_ticket(&self, fields: &Fields<'_>) -> Option<u32> {
        let place = self
            .place_of(fields)
            .filter(|place| place.worker == self.worker.index)?;
        let relay = RelayId {
            slot: place.slot,
            generation: place.generation,
            family: codec::Family::V4,
        };
        self.table.of_relay(relay).map(|_| place.slot)
    }

    /// Whether a Refresh is for another worker to give the allocation away: asks for it then.
    /// Its sender has answered a challenge at this address; the other worker checks the rest.
    pub(super) fn fetch(
        &mut self,
        now: Now,
        client: Client,
        message: &Message<'_>,
        fields: &Fields<'_>,
    ) -> bool {
        if message.method != Method::REFRESH
            || fields.integrity.is_none()
            || self.table.find(client).is_some()
        {
            return false;
        }
        let challenged = fields
            .nonce
            .is_some_and(|nonce| self.nonces.is_valid(now.unix_s, client, nonce));
        let elsewhere = |place: &Place| {
            place.worker != self.worker.index && place.worker < self.worker.count && challenged
        };
        let Some(place) = self.place_of(fields).filter(elsewhere) else {
            return false;
        };
        if self.may_answer_unauthenticated(now, client) {
            self.commands.push_back(Command::Fetch {
                client,
                worker: place.worker,
                request: message.bytes().to_vec(),
            });
        }
        true
    }

    /// Lets the allocation come to where the request does, if its ticket is good (RFC 8016 §3.2.2).
    pub(super) fn follow(&mut self, request: &Request<'_>) -> Result<(), ErrorCode> {
        let Some(ticket) = request.fields.mobility_ticket else {
            return Ok(());
        };
        if !self.mobility {
            return Err(405);
        }
        if self.table.find(request.client).is_some() {
            // It has not moved, or has already and the answer was lost.
            return Ok(());
        }
        if ticket.is_empty() {
            return Err(437);
        }
        let place = self.place_of(&request.fields).ok_or(400_u16)?;
        let slot = self.owned(request)?;
        let allocation = self.table.get_mut(slot).expect("owned() found it");
        let mobility = allocation.mobility.as_mut().ok_or(405_u16)?;
        // A client that never saw the answer to its last move holds the ticket before.
        if place.moves != mobility.moves && place.moves + 1 != mobility.moves {
            return Err(400);
        }
        mobility.moves += 1;
        let was_away = std::mem::take(&mut mobility.away);
        let old = allocation.client;
        self.table.rebind(slot, request.client);
        self.known(request.client);
        if !was_away && self.transport(old).is_stream() {
            self.admit_stranger(request.now, old);
        }
        self.counters.increment(Counter::Moves);
        self.offload(slot);
        Ok(())
    }

    /// Another worker asks for an allocation with a request that came to it
    /// ([`Command::Fetch`]). `None`: it is not to be had; tell the other worker all the same.
    pub fn handle_fetch(&mut self, now: Now, client: Client, request: &[u8]) -> Option<Moving> {
        let Ok(Datagram::Message(message)) = codec::decode(request) else {
            return None;
        };
        self.handle_timeout(now);
        let fields = Fields::read(&message);
        let place = self.place_of(&fields)?;
        let slot = self.slot_of_ticket(&fields)?;
        let allocation = self.table.get(slot)?;
        let authentic = self
            .authenticate(now, client, &message, &fields, Some(allocation))
            .ok()?;
        let mobility = allocation.mobility?;
        if *allocation.username != *authentic.username
            || allocation.relays.is_opening()
            || (place.moves != mobility.moves && place.moves + 1 != mobility.moves)
        {
            return None;
        }
        let old = allocation.client;
        let (generation, mut allocation) = self.table.remove(slot)?;
        self.withdraw(&mut allocation);
        self.counters.set(Counter::Allocations, self.table.len() as u64);
        self.uncount(allocation.peers.held());
        if !mobility.away && self.transport(old).is_stream() {
            self.admit_stranger(now, old);
        }
        allocation.mobility = Some(Mobility {
            moves: mobility.moves + 1,
            away: false,
        });
        Some(Moving {
            allocation: Some(allocation),
            slot,
            generation,
            quotas: Arc::clone(&self.quotas),
        })
    }

    /// The answer to [`Command::Fetch`]: an allocation to go on with, or none.
    pub fn handle_moved(&mut self, now: Now, client: Client, request: &[u8], moving: Option<Moving>) {
        let Ok(Datagram::Message(message)) = codec::decode(request) else {
            return;
        };
        if let Some((moving, mut allocation)) = moving.and_then(|mut moving| {
            let allocation = moving.allocation.take()?;
            Some((moving, allocation))
        }) {
            if let Some(slot) = self.table.find(client) {
                // It made a new one in the meantime; it has one too many then.
                self.free(slot);
            }
            allocation.client = client;
            allocation.timer = Duration::MAX;
            let held = allocation.peers.held();
            let families: Vec<_> = allocation.relays.families().collect();
            let (slot, generation) = self.table.insert(*allocation);
            self.known(client);
            self.counters.set(Counter::Allocations, self.table.len() as u64);
            self.counters.add(Counter::Permissions, held.permissions.into());
            self.counters.add(Counter::Channels, held.channels.into());
            self.counters.increment(Counter::Moves);
            for family in families {
                let (from_slot, from_generation) = (moving.slot, moving.generation);
                self.commands.push_back(Command::AdoptRelay {
                    from: RelayId {
                        slot: from_slot,
                        generation: from_generation,
                        family,
                    },
                    relay: RelayId {
                        slot,
                        generation,
                        family,
                    },
                });
            }
            self.offload(slot);
        }
        self.authenticated(now, client, &message, &self.read(&message));
    }
}
