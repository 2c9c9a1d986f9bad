//! The way of a packet: no allocation, no lock, no copy.

use std::net::SocketAddr;
use std::time::Duration;

use super::source::stir;
use super::{
    Client, Command, Counter, IcmpError, Now, PREFIX_BYTES_MAX, Protocol, RelayId, Server, ToClient, ToPeer,
};
use crate::codec::{
    Builder, CHANNEL_HEADER_BYTES, ChannelData, ChannelNumber, Class, Family, HEADER_BYTES, MAGIC_COOKIE,
    Message, Method, TransactionId, attribute, encode_xor_address, message_type, padded,
};

/// Largest payload of a UDP datagram over IPv4; what does not fit with its framing is dropped.
const DATAGRAM_BYTES_MAX: usize = 65_507;
/// ICMP errors of one allocation are passed on with at least this between them: one tells a
/// client to send smaller or elsewhere, and more would only be load.
const ICMP_GAP: Duration = Duration::from_millis(50);

impl Server {
    /// Channel data of a client (RFC 8656 §12.6).
    pub(super) fn relay_channel_data(
        &mut self,
        now: Now,
        client: Client,
        channel: &ChannelData<'_>,
    ) -> Option<ToPeer> {
        let Some(slot) = self.table.find(client) else {
            return self.drop_packet(Counter::DropNoAllocation);
        };
        let allocation = self.table.get(slot)?;
        let Some(peer) = allocation.peers.channel_peer(channel.number, now.monotonic) else {
            return self.drop_packet(Counter::DropUnknownChannel);
        };
        let data = CHANNEL_HEADER_BYTES..CHANNEL_HEADER_BYTES + channel.data.len();
        self.relay_to(now, slot, peer, data, false)
    }

    /// A Send indication (RFC 8656 §11.2).
    pub(super) fn relay_send(&mut self, now: Now, client: Client, message: &Message<'_>) -> Option<ToPeer> {
        let Some(slot) = self.table.find(client) else {
            return self.drop_packet(Counter::DropNoAllocation);
        };
        let fields = self.read(message);
        let (Some(peer), Some(data), false, []) =
            (fields.peer, fields.data, fields.malformed, fields.unknown.kinds())
        else {
            return self.drop_packet(Counter::DropMalformed);
        };
        let allocation = self.table.get(slot)?;
        if !allocation.peers.permitted(peer.ip(), now.monotonic)
            || !allocation.relays.is_open(Family::of(peer))
            || allocation.protocol != Protocol::Udp
        {
            return self.drop_packet(Counter::DropNoPermission);
        }
        // The permission speaks of the address only; the policy may speak of ports.
        if !self.policy.permits(peer) {
            return self.drop_packet(Counter::DropPeerDenied);
        }
        let start = data.as_ptr().addr() - message.bytes().as_ptr().addr();
        let out = self.relay_to(now, slot, peer, start..start + data.len(), fields.dont_fragment)?;
        if self.offload
            && let Some(allocation) = self.table.get_mut(slot)
            && allocation.peers.correspond(peer)
        {
            self.offload(slot);
        }
        Some(out)
    }

    fn relay_to(
        &mut self,
        now: Now,
        slot: u32,
        peer: SocketAddr,
        data: std::ops::Range<usize>,
        dont_fragment: bool,
    ) -> Option<ToPeer> {
        if let Some(reason) = self.over_bandwidth(now, slot, data.len()) {
            return self.drop_packet(reason);
        }
        self.counters.increment(Counter::PacketsToPeers);
        self.counters.add(Counter::BytesToPeers, data.len() as u64);
        let generation = self.table.generation(slot);
        Some(ToPeer {
            relay: RelayId {
                slot,
                generation,
                family: Family::of(peer),
            },
            peer,
            data,
            dont_fragment,
        })
    }

    /// Takes an ICMP error for a packet that was sent from `relay` to `peer`; the client is told
    /// in a Data indication (RFC 8656 §11.5), some times a second at most.
    pub fn handle_icmp(&mut self, now: Now, relay: RelayId, peer: SocketAddr, error: IcmpError) {
        let Some(allocation) = self.table.of_relay(relay) else {
            return;
        };
        // RFC 8656 §11.5 and §18.13: what tells a sender something about its path.
        let (of_interest, mtu) = match relay.family {
            Family::V4 => (matches!(error.kind, 3 | 11), error.kind == 3 && error.code == 4),
            Family::V6 => (matches!(error.kind, 1..=3), error.kind == 2),
        };
        let here = !allocation.mobility.is_some_and(|mobility| mobility.away);
        let quiet = now.monotonic >= allocation.reported + ICMP_GAP || allocation.reported.is_zero();
        if !of_interest || !here || !quiet || !allocation.peers.permitted(peer.ip(), now.monotonic) {
            return;
        }
        let client = allocation.client;
        if let Some(allocation) = self.table.get_mut(relay.slot) {
            allocation.reported = now.monotonic;
        }
        self.counters.increment(Counter::IcmpReported);
        let mut value = [0; 8];
        value[2..4].copy_from_slice(&[error.kind, error.code]);
        value[4..].copy_from_slice(&if mtu { error.data } else { 0 }.to_be_bytes());
        self.indication = self.indication.wrapping_add(1);
        let indication = Builder::new(Class::Indication, Method::DATA, transaction(self.indication))
            .address(attribute::XOR_PEER_ADDRESS, peer)
            .attribute(attribute::ICMP, &value);
        self.commands.push_back(Command::Send {
            to: client,
            bytes: indication.finish(),
        });
    }

    /// Takes a datagram of `length` bytes that `peer` sent to a relayed transport address.
    ///
    /// Returns where it goes and what goes around it.
    pub fn handle_relayed(
        &mut self,
        now: Now,
        relay: RelayId,
        peer: SocketAddr,
        length: usize,
    ) -> Option<ToClient> {
        let Some(allocation) = self
            .table
            .of_relay(relay)
            .filter(|allocation| allocation.expires > now.monotonic)
        else {
            return self.drop_packet(Counter::DropNoAllocation);
        };
        if !allocation.peers.permitted(peer.ip(), now.monotonic) {
            return self.drop_packet(Counter::DropNoPermission);
        }
        if allocation.mobility.is_some_and(|mobility| mobility.away) {
            return self.drop_packet(Counter::DropAway);
        }
        if length + PREFIX_BYTES_MAX + 3 > DATAGRAM_BYTES_MAX {
            return self.drop_packet(Counter::DropTooLarge);
        }
        let client = allocation.client;
        let channel = allocation.peers.peer_channel(peer, now.monotonic);
        if let Some(reason) = self.over_bandwidth(now, relay.slot, length) {
            return self.drop_packet(reason);
        }
        let out = match channel {
            Some(number) => in_channel(client, number, length, self.transport(client).is_stream()),
            None => {
                self.indication = self.indication.wrapping_add(1);
                in_indication(client, peer, length, self.indication)
            }
        };
        self.counters.increment(Counter::PacketsToClients);
        self.counters.add(Counter::BytesToClients, length as u64);
        Some(out)
    }
}

fn in_channel(client: Client, number: ChannelNumber, length: usize, stream: bool) -> ToClient {
    let end = if stream { padded(length) } else { length };
    let length = u16::try_from(length).expect("checked against the datagram maximum");
    let mut prefix = [0; PREFIX_BYTES_MAX];
    prefix[..CHANNEL_HEADER_BYTES].copy_from_slice(&ChannelData::header(number, length));
    // Padding is for streams; over UDP the datagram ends the data (RFC 8656 §12.5).
    ToClient {
        client,
        prefix,
        prefix_length: CHANNEL_HEADER_BYTES as u8,
        padding: (end - usize::from(length)) as u8,
    }
}

/// The id of an indication, which nobody answers.
pub(super) fn transaction(counter: u64) -> TransactionId {
    let mut transaction = [0; 12];
    transaction[..8].copy_from_slice(&stir(counter).to_be_bytes());
    transaction[8..].copy_from_slice(&stir(!counter).to_be_bytes()[..4]);
    transaction
}

/// A Data indication (RFC 8656 §11.3) up to where the data begins.
fn in_indication(client: Client, peer: SocketAddr, length: usize, counter: u64) -> ToClient {
    let transaction = transaction(counter);
    let mut address = [0; 20];
    let address_length = encode_xor_address(peer, &transaction, &mut address);
    let prefix_length = HEADER_BYTES + 4 + address_length + 4;
    let body = prefix_length - HEADER_BYTES + padded(length);
    let u16_of = |n: usize| {
        u16::try_from(n)
            .expect("checked against the datagram maximum")
            .to_be_bytes()
    };

    let mut prefix = [0; PREFIX_BYTES_MAX];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        prefix[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&message_type(Class::Indication, Method::DATA).to_be_bytes());
    put(&u16_of(body));
    put(&MAGIC_COOKIE.to_be_bytes());
    put(&transaction);
    put(&attribute::XOR_PEER_ADDRESS.to_be_bytes());
    put(&u16_of(address_length));
    put(&address[..address_length]);
    put(&attribute::DATA.to_be_bytes());
    put(&u16_of(length));
    let padding = (padded(length) - length) as u8;
    ToClient {
        client,
        prefix,
        prefix_length: prefix_length as u8,
        padding,
    }
}
