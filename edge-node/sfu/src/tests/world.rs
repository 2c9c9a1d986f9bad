//! Shards, browsers and what is between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use medmesh_base::{EdgeId, RoomId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::client::Client;
use crate::{
    Event, Grants, Join, JoinError, Joined, Limits, MeshDatagram, MeshEdge, MeshMessage, Output, ResourceId,
    Sfu, SfuConfig, Source,
};

/// Least and most that time moves at once.
const STEP_MIN: Duration = Duration::from_micros(20);
const STEP_MAX: Duration = Duration::from_millis(5);
pub(super) const EDGE_DELAY: Duration = Duration::from_millis(20);
const ACCESS_DELAY: Duration = Duration::from_millis(8);

/// A shard with its address.
pub(super) struct Node {
    pub(super) edge: EdgeId,
    pub(super) address: SocketAddr,
    pub(super) sfu: Sfu,
    pub(super) events: Vec<Event>,
    pub(super) wanted: Vec<EdgeId>,
    /// Mesh messages it sent.
    pub(super) told: Vec<MeshMessage>,
    due: Instant,
}

enum Parcel {
    ToNode {
        node: usize,
        source: SocketAddr,
        bytes: Vec<u8>,
    },
    ToClient {
        client: usize,
        source: SocketAddr,
        bytes: Vec<u8>,
    },
    Datagram {
        node: usize,
        from: EdgeId,
        flow: u32,
        body: Bytes,
    },
    Message {
        node: usize,
        from: EdgeId,
        message: MeshMessage,
    },
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    pub(super) clients: Vec<Client>,
    pub(super) room: RoomId,
    /// Share of UDP datagrams lost towards and from browsers, and between edges.
    pub(super) loss_down: f64,
    pub(super) loss_up: f64,
    pub(super) loss_mesh: f64,
    /// Bits per second towards each browser; packets beyond wait, then drop.
    pub(super) down_bps: Option<u64>,
    pub(super) datagram_max: usize,
    /// Datagrams that went to one browser in a row before a node had nothing more to do.
    pub(super) runs: BTreeMap<usize, usize>,
    down_free_at: BTreeMap<usize, Instant>,
    rng: StdRng,
    queue: BTreeMap<(Instant, u64), Parcel>,
    parcels: u64,
    pub(super) links: Vec<(usize, usize)>,
}

impl World {
    pub(super) fn new(nodes: usize) -> Self {
        Self::with_limits(nodes, &Limits::default())
    }

    pub(super) fn with_limits(nodes: usize, limits: &Limits) -> Self {
        let now = Instant::now();
        let nodes = (0..nodes).map(|n| make_node(now, n, limits.clone())).collect();
        Self {
            now,
            nodes,
            clients: Vec::new(),
            room: RoomId::generate(),
            loss_down: 0.0,
            loss_up: 0.0,
            loss_mesh: 0.0,
            down_bps: None,
            datagram_max: 1_300,
            runs: BTreeMap::new(),
            down_free_at: BTreeMap::new(),
            rng: StdRng::seed_from_u64(7),
            queue: BTreeMap::new(),
            parcels: 0,
            links: Vec::new(),
        }
    }

    /// The request a client's token and offer make.
    pub(super) fn join_of(&self, client: &Client, offer: String, epoch: u64) -> Join {
        Join {
            room: self.room,
            participant: client.participant,
            epoch,
            grants: Grants {
                publish: vec![Source::Mic, Source::Camera, Source::Screen],
                subscribe: true,
            },
            offer_sdp: offer,
            fallbacks: Vec::new(),
            mesh: self
                .nodes
                .iter()
                .map(|n| MeshEdge {
                    id: n.edge,
                    link: "192.0.2.1:4433".to_owned(),
                })
                .collect(),
        }
    }

    /// A new browser joins at a node.
    pub(super) fn join(&mut self, node: usize) -> usize {
        let (client, result) = self.try_join(node, 1, |_| {});
        result.unwrap();
        client
    }

    pub(super) fn try_join(
        &mut self,
        node: usize,
        epoch: u64,
        change: impl FnOnce(&mut Join),
    ) -> (usize, Result<Joined, JoinError>) {
        let index = self.clients.len();
        let address = SocketAddr::from(([10, 0, 0, index as u8 + 1], 5_000));
        let (mut client, offer) = Client::new(self.now, index as u8 + 1, address);
        let mut join = self.join_of(&client, offer, epoch);
        change(&mut join);
        client.participant = join.participant;
        let joined = self.nodes[node].sfu.handle_join(self.now, join);
        if let Ok(joined) = &joined {
            client.accept(&joined.answer_sdp);
        }
        self.clients.push(client);
        self.drain(node);
        (index, joined)
    }

    /// A browser moves to another address and restarts ICE.
    pub(super) fn restart_ice(
        &mut self,
        client: usize,
        node: usize,
        resource: ResourceId,
        address: SocketAddr,
    ) {
        let fragment = self.clients[client].restart_offer(address);
        let restarted = self.nodes[node]
            .sfu
            .handle_ice_restart(self.now, resource, &fragment)
            .unwrap();
        assert!(restarted.fragment.contains(&restarted.etag) && restarted.fragment.contains("a=candidate:"));
        self.clients[client].accept_restart(&restarted.fragment);
        self.drain(node);
    }

    /// Links two nodes.
    pub(super) fn link(&mut self, a: usize, b: usize) {
        self.links.push((a, b));
        let (edge_a, edge_b) = (self.nodes[a].edge, self.nodes[b].edge);
        let (now, max) = (self.now, self.datagram_max);
        self.nodes[a].sfu.handle_mesh_up(now, edge_b, max);
        self.nodes[b].sfu.handle_mesh_up(now, edge_a, max);
        self.drain(a);
        self.drain(b);
    }

    pub(super) fn run(&mut self, duration: Duration) {
        self.run_until(duration, |_| false);
    }

    /// Runs until `done` or the time is over; says whether it was done.
    pub(super) fn run_until(&mut self, duration: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + duration;
        while self.now < end {
            if done(self) {
                return true;
            }
            self.now = self.next_instant().min(end);
            self.step();
        }
        done(self)
    }

    fn next_instant(&self) -> Instant {
        let parcel = self.queue.first_key_value().map(|((at, _), _)| *at);
        let clients = self.clients.iter().map(Client::next_due);
        let nodes = self.nodes.iter().map(|n| n.due);
        let next = parcel
            .into_iter()
            .chain(clients)
            .chain(nodes)
            .min()
            .unwrap_or(self.now + STEP_MAX);
        next.clamp(self.now + STEP_MIN, self.now + STEP_MAX)
    }

    fn step(&mut self) {
        while self
            .queue
            .first_key_value()
            .is_some_and(|((at, _), _)| *at <= self.now)
        {
            let (_, parcel) = self.queue.pop_first().unwrap();
            self.deliver(parcel);
        }
        for index in 0..self.clients.len() {
            self.clients[index].run(self.now);
            self.collect(index);
        }
        for index in 0..self.nodes.len() {
            if self.nodes[index].due <= self.now {
                let now = self.now;
                self.nodes[index].sfu.handle_timeout(now);
            }
            self.drain(index);
        }
    }

    fn deliver(&mut self, parcel: Parcel) {
        let now = self.now;
        match parcel {
            Parcel::ToNode { node, source, bytes } => {
                let address = self.nodes[node].address;
                self.nodes[node].sfu.handle_datagram(now, source, address, &bytes);
            }
            Parcel::ToClient {
                client,
                source,
                bytes,
            } => {
                self.clients[client].receive(now, source, &bytes);
                self.collect(client);
            }
            Parcel::Datagram {
                node,
                from,
                flow,
                body,
            } => {
                self.nodes[node].sfu.handle_mesh_datagram(now, from, flow, &body);
            }
            Parcel::Message { node, from, message } => {
                self.nodes[node].sfu.handle_mesh_message(now, from, message);
            }
        }
    }

    fn send(&mut self, at: Instant, parcel: Parcel) {
        self.parcels += 1;
        self.queue.insert((at, self.parcels), parcel);
    }

    fn collect(&mut self, client: usize) {
        for (source, destination, bytes) in std::mem::take(&mut self.clients[client].outbox) {
            if self.rng.random_bool(self.loss_up) {
                continue;
            }
            if let Some(node) = self.nodes.iter().position(|n| n.address == destination) {
                self.send(self.now + ACCESS_DELAY, Parcel::ToNode { node, source, bytes });
            }
        }
    }

    /// Polls a node until it has nothing to do.
    pub(super) fn drain(&mut self, node: usize) {
        let mut run: Option<(SocketAddr, usize)> = None;
        loop {
            let output = self.nodes[node].sfu.poll_output();
            let to = match &output {
                Output::Transmit(t) => Some(t.destination),
                _ => None,
            };
            match (&mut run, to) {
                (Some((before, length)), Some(to)) if *before == to => *length += 1,
                (run, to) => {
                    let over = std::mem::replace(run, to.map(|to| (to, 1)));
                    *self.runs.entry(over.map_or(0, |(_, length)| length)).or_default() += 1;
                }
            }
            match output {
                Output::Timeout(at) => {
                    self.nodes[node].due = at;
                    return;
                }
                Output::Transmit(t) => self.transmit(t.source, t.destination, t.contents),
                Output::MeshDatagram(MeshDatagram { peer, flow, body }) => {
                    assert!(body.len() <= self.datagram_max);
                    if !self.rng.random_bool(self.loss_mesh) {
                        self.send_to_peer(node, peer, |node, from| Parcel::Datagram {
                            node,
                            from,
                            flow,
                            body,
                        });
                    }
                }
                Output::MeshMessage { peer, message } => {
                    self.nodes[node].told.push(message.clone());
                    self.send_to_peer(node, peer, |node, from| Parcel::Message { node, from, message });
                }
                Output::MeshWanted { peer, .. } => self.nodes[node].wanted.push(peer),
                Output::MeshIdle { peer } => self.nodes[node].wanted.retain(|p| *p != peer),
                Output::Event(event) => self.nodes[node].events.push(event),
            }
        }
    }

    fn send_to_peer(&mut self, from: usize, peer: EdgeId, parcel: impl FnOnce(usize, EdgeId) -> Parcel) {
        let to = self.nodes.iter().position(|n| n.edge == peer).unwrap();
        let linked = self.links.iter().any(|l| *l == (from, to) || *l == (to, from));
        assert!(linked, "a shard speaks only over links that are up");
        let edge = self.nodes[from].edge;
        self.send(self.now + EDGE_DELAY, parcel(to, edge));
    }

    fn transmit(&mut self, source: SocketAddr, destination: SocketAddr, bytes: Vec<u8>) {
        let Some(client) = self.clients.iter().position(|c| c.address == destination) else {
            return;
        };
        if self.rng.random_bool(self.loss_down) {
            return;
        }
        let mut at = self.now;
        if let Some(bps) = self.down_bps {
            // A link with a queue of 200 ms.
            let free = self.down_free_at.get(&client).copied().unwrap_or(at).max(at);
            if free - at > Duration::from_millis(200) {
                return;
            }
            at = free + Duration::from_secs_f64(bytes.len() as f64 * 8.0 / bps as f64);
            self.down_free_at.insert(client, at);
        }
        self.send(
            at + ACCESS_DELAY,
            Parcel::ToClient {
                client,
                source,
                bytes,
            },
        );
    }

    /// Waits until everyone's control channel is open.
    pub(super) fn settle(&mut self) {
        let up = |w: &Self| {
            w.clients
                .iter()
                .all(|c| c.connected && c.said("welcome").is_some())
        };
        assert!(self.run_until(Duration::from_secs(5), up), "everyone connects");
    }
}

fn make_node(now: Instant, index: usize, limits: Limits) -> Node {
    let edge = EdgeId::generate();
    let address = SocketAddr::from(([10, 1, 0, index as u8 + 1], 7_000));
    let sfu = Sfu::new(
        now,
        SfuConfig {
            edge,
            shard: index as u8 + 3,
            dtls_cert: crate::generate_certificate(),
            candidates: vec![address],
            seed: [index as u8; 32],
            limits,
        },
    );
    Node {
        edge,
        address,
        sfu,
        events: Vec::new(),
        wanted: Vec::new(),
        told: Vec::new(),
        due: now,
    }
}
