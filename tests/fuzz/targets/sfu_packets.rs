//! A shard with people, and whatever comes from browsers, strangers and other edges.
#![no_main]

use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use medmesh_fuzz::shard::{self, Shard};
use medmesh_fuzz::{input::Input, offer};
use medmesh_sfu::{LeaveReason, MeshLayer, MeshMessage, MeshParticipant, MeshTrack};

fuzz_target!(init: shard::isolate_dependencies(), |data: &[u8]| {
    static OFFER: OnceLock<String> = OnceLock::new();
    let offer = OFFER.get_or_init(offer::visit);
    let mut shard = Shard::default();
    shard.join(0, 1, offer).expect("a good offer");
    shard.check(0, 0, offer::UFRAG);
    let mut input = Input(data);
    while !input.is_empty() {
        step(&mut shard, offer, &mut input);
    }
    shard.finish();
});

fn step(shard: &mut Shard, offer: &str, input: &mut Input<'_>) {
    let [what, number] = input.array();
    let peer = shard::edge(number);
    match what % 13 {
        0 => shard.datagram(number, input.chunk()),
        1 => shard.check(input.byte(), number, offer::UFRAG),
        2 => {
            let flow = flow(shard, input);
            let (now, body) = (shard.now, input.chunk());
            shard.sfu.handle_mesh_datagram(now, peer, flow, body);
            shard.drain();
        }
        3 => {
            if let Some(message) = medmesh_edge::fuzz::mesh_message(input.chunk()) {
                shard.message(peer, message);
            }
        }
        4 => shard.message(peer, room_state(input)),
        5 => {
            let [flow, room, who, source] = input.array();
            let rid = ["", "q", "h", "f"][usize::from(source >> 4) % 4].to_owned();
            shard.message(
                peer,
                MeshMessage::Subscribe {
                    flow: u32::from(flow),
                    room: shard::room(room),
                    participant: shard::participant(who),
                    source: shard::source(source),
                    rid,
                },
            );
        }
        6 => about_flow(shard, input, number),
        7 => shard.wait(Duration::from_millis(u64::from(input.short()) / 8)),
        8 => shard.link(peer, Some(usize::from(input.byte()) * 8)),
        9 => shard.link(peer, None),
        10 => {
            let _ = shard.join(number, u64::from(input.byte() % 4), offer);
        }
        11 => {
            if let Some(joined) = shard.pick(number) {
                shard.sfu.fuzz_connect(joined.resource);
                shard.sfu.fuzz_control(shard.now, joined.resource, input.chunk());
                shard.drain();
            }
        }
        _ => {
            let (now, room) = (shard.now, shard::room(number));
            shard
                .sfu
                .handle_leave(now, room, shard::participant(input.byte()), LeaveReason::Removed);
            shard.drain();
        }
    }
}

/// Mostly a flow that the shard asked for.
fn flow(shard: &Shard, input: &mut Input<'_>) -> u32 {
    let number = input.byte();
    match shard.pulled.len() {
        0 => u32::from_be_bytes([3, 0, 0, number]),
        count => shard.pulled[usize::from(number) % count],
    }
}

fn about_flow(shard: &mut Shard, input: &mut Input<'_>, number: u8) {
    let flow = match number & 0x80 {
        0 => u32::from(input.byte()),
        _ => flow(shard, input),
    };
    let message = match number >> 4 & 3 {
        0 => MeshMessage::Unsubscribe { flow },
        1 => MeshMessage::KeyframeRequest { flow },
        2 => MeshMessage::Nack {
            flow,
            sequences: input
                .chunk()
                .iter()
                .map(|sequence| u64::from(*sequence))
                .collect(),
        },
        _ => MeshMessage::FlowGone {
            flow,
            reason: String::new(),
        },
    };
    shard.message(shard::edge(number), message);
}

fn room_state(input: &mut Input<'_>) -> MeshMessage {
    let [room, epoch, count, flags] = input.array();
    let participants = (0..count % 6).map(|_| {
        let [who, tracks] = input.array();
        let tracks = (0..tracks % 4).map(|_| {
            let [kind, layers] = input.array();
            let layers = (0..layers % 5).map(|layer| MeshLayer {
                rid: ["q", "h", "f", "", "x"][usize::from(layer)].to_owned(),
                bitrate_bps: u32::from(kind) << (layer * 8),
                height: u32::from(kind) * 4,
            });
            MeshTrack {
                source: shard::source(kind),
                active: kind & 0x80 == 0,
                layers: layers.collect(),
                codec: if kind % 3 == 0 { "opus/48000" } else { "VP8/90000" }.to_owned(),
            }
        });
        MeshParticipant {
            participant: shard::participant(who),
            tracks: tracks.collect(),
            connected_for: None,
            fallbacks: Vec::new(),
        }
    });
    MeshMessage::RoomState {
        participants: participants.collect(),
        room: shard::room(room),
        epoch: u64::from(epoch % 4),
        reply_wanted: flags & 1 != 0,
    }
}
