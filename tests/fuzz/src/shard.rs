//! A shard of an edge and everybody around it, in virtual time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use medmesh_base::{EdgeId, ParticipantId, RoomId};
use medmesh_sfu::{
    DtlsCert, Grants, Join, JoinError, Joined, Limits, MeshEdge, MeshMessage, Output, Sfu, SfuConfig, Source,
    generate_certificate,
};
use uuid::Uuid;

use crate::stun;

/// Where the shard listens.
pub const LOCAL: ([u8; 4], u16) = ([192, 0, 2, 1], 7_000);
/// Outputs one input may lead to: far above what two participants can cause.
const OUTPUTS_MAX: usize = 50_000;
/// A room the shard never heard of, and the rooms joined into.
pub const ROOMS: u8 = 3;

/// One of the rooms.
pub fn room(number: u8) -> RoomId {
    RoomId::from_uuid(Uuid::from_u64_pair(2, u64::from(number % ROOMS)))
}

/// One of the people.
pub fn participant(number: u8) -> ParticipantId {
    ParticipantId::from_uuid(Uuid::from_u64_pair(3, u64::from(number % 8)))
}

/// One of the other edges.
pub fn edge(number: u8) -> EdgeId {
    EdgeId::from_uuid(Uuid::from_u64_pair(4, u64::from(number % 4)))
}

/// One of the sources of tracks.
pub fn source(number: u8) -> Source {
    [Source::Mic, Source::Camera, Source::Screen][usize::from(number % 3)]
}

/// Where a browser, or somebody else, sends from.
pub fn remote(number: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, number % 4], 5_000))
}

/// Panics inside other people's crates unwind as in production, where they end one
/// participant; every other panic is a find. Call in a target's `init`.
pub fn isolate_dependencies() {
    static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let find = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        if !place.contains("/registry/src/") {
            return find(info);
        }
        let mut seen = SEEN.lock().expect("nobody panics while they hold it");
        if !seen.contains(&place) {
            eprintln!("isolated: {info}");
            seen.push(place);
        }
    }));
}

/// The shard, its clock and its links.
pub struct Shard {
    /// The shard.
    pub sfu: Sfu,
    /// The time.
    pub now: Instant,
    /// Connections that were made, oldest first.
    pub joined: Vec<Joined>,
    /// Flows the shard asked for, oldest first.
    pub pulled: Vec<u32>,
    due: Instant,
    links: BTreeMap<EdgeId, usize>,
}

impl Default for Shard {
    fn default() -> Self {
        static CERTIFICATE: OnceLock<DtlsCert> = OnceLock::new();
        let now = Instant::now();
        let config = SfuConfig {
            edge: EdgeId::from_uuid(Uuid::from_u64_pair(4, 99)),
            shard: 3,
            dtls_cert: CERTIFICATE.get_or_init(generate_certificate).clone(),
            candidates: vec![SocketAddr::from(LOCAL)],
            seed: [7; 32],
            limits: Limits {
                participants_per_room_max: 3,
                ..Limits::default()
            },
        };
        Self {
            sfu: Sfu::new(now, config),
            now,
            joined: Vec::new(),
            pulled: Vec::new(),
            due: now,
            links: BTreeMap::new(),
        }
    }
}

impl Shard {
    /// Somebody joins. The answer is SDP, the refusal is typed.
    pub fn join(&mut self, who: u8, epoch: u64, offer: &str) -> Result<Joined, JoinError> {
        let mesh = (0..2).map(|number| MeshEdge {
            id: edge(number),
            link: format!("192.0.2.{number}:4433"),
        });
        let result = self.sfu.handle_join(
            self.now,
            Join {
                room: room(who >> 4),
                participant: participant(who),
                epoch,
                grants: Grants {
                    publish: vec![Source::Mic, Source::Camera, Source::Screen],
                    subscribe: true,
                },
                offer_sdp: offer.to_owned(),
                fallbacks: mesh.clone().collect(),
                mesh: mesh.collect(),
            },
        );
        if let Ok(joined) = &result {
            assert!(
                joined.answer_sdp.contains("a=candidate:"),
                "{}",
                joined.answer_sdp
            );
            assert!(joined.answer_sdp.contains(&joined.etag));
            assert!(self.sfu.resource(joined.resource).is_some());
            self.joined.push(joined.clone());
        }
        self.drain();
        result
    }

    /// A datagram comes in.
    pub fn datagram(&mut self, from: u8, bytes: &[u8]) {
        self.sfu
            .handle_datagram(self.now, remote(from), SocketAddr::from(LOCAL), bytes);
        self.drain();
    }

    /// An authentic connectivity check of a connection binds the address it comes from.
    pub fn check(&mut self, connection: u8, from: u8, theirs: &str) {
        let Some(joined) = self.pick(connection) else {
            return;
        };
        let password = stun::attribute(&joined.answer_sdp, "a=ice-pwd:").expect("an answer has one");
        let check = stun::check(&joined.etag, password, theirs, from);
        self.datagram(from, &check);
    }

    /// A link to another edge comes up, changes its size or goes down.
    pub fn link(&mut self, peer: EdgeId, datagram_max: Option<usize>) {
        match datagram_max {
            Some(max) => {
                self.links.insert(peer, max);
                self.sfu.handle_mesh_up(self.now, peer, max);
            }
            None => {
                self.links.remove(&peer);
                self.sfu.handle_mesh_down(self.now, peer);
            }
        }
        self.drain();
    }

    /// A message comes from another edge.
    pub fn message(&mut self, peer: EdgeId, message: MeshMessage) {
        self.sfu.handle_mesh_message(self.now, peer, message);
        self.drain();
    }

    /// Time passes; timers fire when they are due.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        // A shard that never sleeps is broken; one that wakes each millisecond is not.
        for _ in 0..=time.as_millis() + 100 {
            if self.due >= end {
                break;
            }
            self.now = self.due.max(self.now + Duration::from_micros(100)).min(end);
            self.sfu.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
        self.sfu.handle_timeout(end);
        self.drain();
    }

    /// One of the connections made so far.
    pub fn pick(&self, number: u8) -> Option<Joined> {
        let count = self.joined.len().max(1);
        self.joined.get(usize::from(number) % count).cloned()
    }

    /// Everything that has to happen, and what holds between any two inputs.
    pub fn drain(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            match self.sfu.poll_output() {
                Output::Timeout(at) => {
                    assert!(at >= self.now, "never in the past");
                    self.due = at;
                    return self.check_gauges();
                }
                Output::Transmit(transmit) => assert_eq!(transmit.source, SocketAddr::from(LOCAL)),
                Output::MeshDatagram(datagram) => {
                    let max = self
                        .links
                        .get(&datagram.peer)
                        .expect("only over links that are up");
                    assert!(datagram.body.len() <= *max, "{} of {max}", datagram.body.len());
                }
                Output::MeshMessage { peer, message } => {
                    assert!(self.links.contains_key(&peer), "only over links that are up");
                    if let MeshMessage::Subscribe { flow, .. } = message {
                        assert_eq!(medmesh_sfu::flow_shard(flow), 3);
                        self.pulled.push(flow);
                    }
                }
                Output::MeshWanted { .. } | Output::MeshIdle { .. } | Output::Event(_) => {}
            }
        }
        panic!("more than {OUTPUTS_MAX} outputs of one input");
    }

    fn check_gauges(&self) {
        let stats = self.sfu.stats();
        assert_eq!(stats.participants, self.sfu.sessions().count() as u64);
        assert!(stats.rooms <= u64::from(ROOMS) && stats.participants <= u64::from(ROOMS) * 3);
        assert!(stats.panics == 0 || !stats.left.is_empty() || !stats.joins_refused.is_empty());
    }

    /// In the end everything ends.
    pub fn finish(mut self) {
        for joined in std::mem::take(&mut self.joined) {
            self.sfu.handle_delete(self.now, joined.resource);
            self.drain();
        }
        self.wait(Duration::from_secs(40));
        let stats = self.sfu.stats();
        assert_eq!((stats.participants, stats.rooms), (0, 0));
        assert_eq!((stats.flows_in, stats.flows_out), (0, 0));
    }
}
