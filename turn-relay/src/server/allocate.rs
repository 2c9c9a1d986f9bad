//! Making allocations (RFC 8656 §7), over one address family or both.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::allocation::{Allocation, Peers, Relay, Relays};
use super::bandwidth::Busy;
use super::mobility::Ticket;
use super::quota::Exhausted;
use super::request::{ErrorCode, Request, Seal, lifetime, seconds};
use super::{Command, Counter, Now, Port, Protocol, RelayId, Server};
use crate::codec::{Builder, Class, Family, Fields, Method, attribute};
use crate::credential::Username;

/// The driver could not open a relayed transport address: no port was free, or the host
/// is out of sockets. The client is told 508.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRelayAddress;

/// Which families a client wants, main one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    main: Family,
    additional: Option<Family>,
}

impl Server {
    /// `Ok(None)`: the answer comes when the driver has opened the address.
    pub(super) fn allocate(&mut self, request: &Request<'_>) -> Result<Option<Builder>, ErrorCode> {
        if let Some(slot) = request.slot {
            return self.allocate_again(request, slot);
        }
        let protocol = self.requested_protocol(request)?;
        let mobility = self.requested_mobility(request)?;
        let wanted = families(&request.fields)?;
        let available = |family: &Family| self.families.contains(family);
        let additional = wanted.additional.filter(available);
        let family_error = wanted
            .additional
            .filter(|family| !available(family))
            .map(|family| (family, 440));
        if !available(&wanted.main) {
            return Err(440);
        }
        if self.draining {
            return Err(self.full(request.client));
        }
        let name = Username::parse(request.authentic.username).ok_or(441_u16)?;
        let (main, port) = self.port(request, name.opaque, wanted.main)?;
        let user_meter = self.quotas.user_meter(name.opaque);
        self.known(request.client);
        let allocation = Allocation {
            protocol,
            mobility,
            family_error,
            user_meter,
            ..self.new_allocation(request)
        };
        let (slot, generation) = self.table.insert(allocation);
        self.counters.set(Counter::Allocations, self.table.len() as u64);
        if port == Port::EvenAndHoldNext {
            let token = self.tokens.next();
            self.table.get_mut(slot).expect("just inserted").reservation = Some(token);
        }
        let allocation = self.table.get_mut(slot).expect("just inserted");
        for family in [Some(main), additional].into_iter().flatten() {
            allocation.relays.set(family, Relay::Opening);
            let relay = RelayId {
                slot,
                generation,
                family,
            };
            self.commands.push_back(Command::OpenRelay {
                relay,
                protocol,
                port,
            });
        }
        Ok(None)
    }

    /// Which port to open and of which family, with the quotas for it taken.
    fn port(
        &mut self,
        request: &Request<'_>,
        user: &str,
        family: Family,
    ) -> Result<(Family, Port), ErrorCode> {
        let reserve = |server: &Self| {
            let reserved = server
                .quotas
                .reserve_allocation(request.now, user, &server.limits);
            let meter = reserved.map_err(|exhausted| match exhausted {
                Exhausted::User => 486_u16,
                Exhausted::Total => server.full(request.client),
            })?;
            let busy = server.bandwidth_left(request.now, &meter).err();
            if busy.is_some() {
                server.quotas.release_allocation(user);
            }
            match busy {
                None => Ok(()),
                Some(Busy::User) => Err(486),
                Some(Busy::Relay) => Err(server.full(request.client)),
            }
        };
        if let Some(token) = request.fields.reservation_token {
            // What the reservation counted for is what the allocation counts for.
            let held = self.quotas.claim_reservation(token, user).ok_or(508_u16)?;
            self.counters.increment(Counter::ReservationUsed);
            return Ok((held.family, Port::Held(held.port)));
        }
        reserve(self)?;
        match request.fields.even_port {
            None => Ok((family, Port::Any)),
            Some(false) => Ok((family, Port::Even)),
            // A port that is held counts like an allocation, so that holding is no way around quotas.
            Some(true) => match reserve(self) {
                Ok(()) => Ok((family, Port::EvenAndHoldNext)),
                Err(code) => {
                    self.quotas.release_allocation(user);
                    Err(code)
                }
            },
        }
    }

    /// What to speak with peers (RFC 8656 §7.2; RFC 6062 §5.1 for TCP).
    fn requested_protocol(&self, request: &Request<'_>) -> Result<Protocol, ErrorCode> {
        let fields = &request.fields;
        match fields.requested_transport {
            None => Err(400),
            Some(17) => Ok(Protocol::Udp),
            Some(6) if self.tcp_relays => {
                let datagrams_only =
                    fields.even_port.is_some() || fields.reservation_token.is_some() || fields.dont_fragment;
                if datagrams_only || !self.transport(request.client).is_stream() {
                    return Err(400);
                }
                Ok(Protocol::Tcp)
            }
            Some(_) => Err(442),
        }
    }

    fn new_allocation(&self, request: &Request<'_>) -> Allocation {
        let now = request.now.monotonic;
        let granted = lifetime(request.fields.lifetime_s, &self.limits).min(self.limits.age_max);
        Allocation {
            client: request.client,
            transaction: request.message.transaction(),
            fingerprint: request.fields.fingerprint,
            integrity: request.authentic.integrity,
            username: request.authentic.username.into(),
            key: request.authentic.key,
            created: now,
            expires: now + granted,
            granted,
            relays: Relays::NONE,
            protocol: Protocol::Udp,
            reservation: None,
            mobility: None,
            sent: 0,
            user_meter: Arc::default(),
            reported: Duration::ZERO,
            connections: Vec::new(),
            family_error: None,
            timer: Duration::MAX,
            peers: Peers::default(),
            shortcuts: Vec::new(),
        }
    }

    /// The 5-tuple is in use: the same request again gets the same answer again (RFC 8656 §7.2
    /// allows it, and a lost answer must not cost the allocation); any other gets 437.
    fn allocate_again(&mut self, request: &Request<'_>, slot: u32) -> Result<Option<Builder>, ErrorCode> {
        let allocation = self.table.get(slot).ok_or(437_u16)?;
        let same = allocation.transaction == request.message.transaction()
            && *allocation.username == *request.authentic.username;
        if !same {
            return Err(437);
        }
        if allocation.relays.is_opening() {
            return Ok(None);
        }
        let ticket = self.ticket(slot);
        Ok(self
            .table
            .get(slot)
            .map(|allocation| allocated(allocation, ticket)))
    }

    /// Takes the driver's answer to [`Command::OpenRelay`]: the address peers can send to.
    pub fn handle_relay_opened(
        &mut self,
        now: Now,
        relay: RelayId,
        opened: Result<SocketAddr, NoRelayAddress>,
    ) {
        let RelayId { slot, family, .. } = relay;
        if self
            .table
            .of_relay(relay)
            .is_none_or(|allocation| allocation.relays.get(family) != Relay::Opening)
        {
            // It ended while the driver was at it.
            if opened.is_ok() {
                self.commands.push_back(Command::CloseRelay { relay });
            }
            return;
        }
        let allocation = self.table.get_mut(slot).expect("of_relay() found it");
        match opened {
            Ok(address) => {
                allocation.relays.set(family, Relay::Open(address));
                if let Some(token) = allocation.reservation {
                    let user = allocation.user().to_owned();
                    self.hold(now, token, address, user);
                }
            }
            Err(NoRelayAddress) => {
                if allocation.reservation.take().is_some() {
                    self.quotas.release_allocation(allocation.user());
                }
                allocation.relays.set(family, Relay::None);
                allocation.family_error = Some((family, 508));
            }
        }
        let allocation = self.table.get_mut(slot).expect("it is still there");
        if allocation.relays.is_opening() {
            return;
        }
        let client = allocation.client;
        let seal = Seal {
            integrity: Some((allocation.integrity, allocation.key)),
            fingerprint: allocation.fingerprint,
        };
        if allocation.relays.open().next().is_some() {
            let ticket = self.ticket(slot);
            let allocation = self.table.get(slot).expect("it is still there");
            let response = allocated(allocation, ticket);
            self.send(client, response, seal);
        } else {
            let transaction = allocation.transaction;
            self.end(now, slot);
            let code = self.full(client);
            self.send_error(client, Method::ALLOCATE, transaction, code, seal);
        }
    }

    /// Gives back one of two relayed transport addresses.
    pub(super) fn close_family(&mut self, slot: u32, family: Family) {
        let generation = self.table.generation(slot);
        let Some(allocation) = self.table.get_mut(slot) else {
            return;
        };
        allocation.relays.set(family, Relay::None);
        let gone = allocation.peers.forget_family(family);
        self.release(gone);
        self.offload(slot);
        self.commands.push_back(Command::CloseRelay {
            relay: RelayId {
                slot,
                generation,
                family,
            },
        });
    }
}

/// RFC 8656 §7.2: which families, or 400 and 440.
fn families(fields: &Fields<'_>) -> Result<Wanted, ErrorCode> {
    let even_and_next = fields.even_port == Some(true);
    if fields.reservation_token.is_some()
        && (fields.even_port.is_some()
            || fields.requested_family.is_some()
            || fields.additional_family.is_some())
    {
        return Err(400);
    }
    match fields.additional_family {
        None => {
            let main = fields
                .requested_family
                .unwrap_or(Ok(Family::V4))
                .map_err(|_| 440_u16)?;
            Ok(Wanted {
                main,
                additional: None,
            })
        }
        Some(Ok(Family::V6)) if fields.requested_family.is_none() && !even_and_next => Ok(Wanted {
            main: Family::V4,
            additional: Some(Family::V6),
        }),
        Some(_) => Err(400),
    }
}

/// The success response of an allocation, without integrity.
fn allocated(allocation: &Allocation, ticket: Option<Ticket>) -> Builder {
    let mut response = Builder::new(Class::Success, Method::ALLOCATE, allocation.transaction);
    for address in allocation.relays.open() {
        response = response.address(attribute::XOR_RELAYED_ADDRESS, address);
    }
    if let Some((family, code)) = allocation.family_error {
        let [class, number] = [(code / 100) as u8, (code % 100) as u8];
        response = response.attribute(attribute::ADDRESS_ERROR_CODE, &[family.code(), 0, class, number]);
    }
    if let Some(ticket) = ticket {
        response = response.attribute(attribute::MOBILITY_TICKET, &ticket);
    }
    if let Some(token) = allocation.reservation {
        response = response.attribute(attribute::RESERVATION_TOKEN, &token);
    }
    response
        .attribute(attribute::LIFETIME, &seconds(allocation.granted))
        .address(attribute::XOR_MAPPED_ADDRESS, allocation.client.address)
}
