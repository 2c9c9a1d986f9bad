use std::sync::Arc;
use std::time::{Duration, Instant};

use medmesh_base::media_token::{Grants, Source};
use medmesh_base::{EdgeId, ParticipantId, RoomId};
use medmesh_sfu::{Join, Limits};
use medmesh_wire::fleet::edge_command::Command as Order;
use medmesh_wire::fleet::{CloseRoom, EdgeConfig, EvictParticipant};
use prometheus::Registry;
use str0m::Rtc;
use str0m::media::{Direction, MediaKind};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

use super::Orders;
use crate::config::MediaSection;
use crate::metrics::Metrics;
use crate::settings::SettingsStore;
use crate::shard::{Command, Notice, Shards, Sockets, Threads};

struct Office {
    orders: Orders,
    threads: Threads,
    registry: Registry,
    dir: TempDir,
    _notices: mpsc::Receiver<Notice>,
}

fn office() -> Office {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    let media: MediaSection = toml::from_str("address = '127.0.0.1'\nshards = 2").unwrap();
    let (notices, notices_in) = mpsc::channel(64);
    let (shards, threads) = Shards::spawn(
        EdgeId::generate(),
        &Limits::default(),
        Sockets::bind(&media).unwrap(),
        &notices,
    )
    .unwrap();
    Office {
        orders: Orders {
            settings: Arc::new(SettingsStore::open(dir.path()).unwrap()),
            shards,
            metrics: Arc::new(Metrics::register(&registry).unwrap()),
        },
        threads,
        registry,
        dir,
        _notices: notices_in,
    }
}

impl Office {
    async fn join(&self, room: RoomId) -> ParticipantId {
        let mut rtc = Rtc::builder().build(Instant::now());
        let mut api = rtc.sdp_api();
        api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
        let (offer, _) = api.apply().unwrap();
        let participant = ParticipantId::generate();
        let join = Box::new(Join {
            room,
            participant,
            epoch: 1,
            grants: Grants {
                publish: vec![Source::Mic],
                subscribe: true,
            },
            offer_sdp: offer.to_sdp_string(),
            fallbacks: Vec::new(),
            mesh: Vec::new(),
        });
        let (reply, answer) = oneshot::channel();
        let shards = &self.orders.shards;
        let jti = "token".into();
        shards
            .offer(shards.of_room(room), Command::Join { join, jti, reply })
            .unwrap();
        answer.await.unwrap().unwrap();
        participant
    }

    /// Ends the shards; none may have panicked.
    fn close(self) {
        self.orders.shards.stop();
        drop(self.orders);
        assert!(self.threads.join());
    }
}

#[tokio::test]
async fn a_newer_configuration_is_kept_and_an_older_one_ignored() {
    let office = office();
    let config = |version, origin: &str| {
        Order::Config(EdgeConfig {
            version,
            allowed_origins: vec![origin.into()],
            ..EdgeConfig::default()
        })
    };
    let settings = office.orders.settings.subscribe();
    office.orders.obey(config(7, "https://new")).await;
    office.orders.obey(config(7, "https://same")).await;
    office.orders.obey(config(6, "https://old")).await;
    assert!(settings.borrow().origins.contains("https://new"));
    let broken = EdgeConfig {
        version: 8,
        jwks: "no json".into(),
        ..EdgeConfig::default()
    };
    office.orders.obey(Order::Config(broken)).await;
    assert_eq!(office.orders.settings.version(), 7);
    let (text, _) = medmesh_base::telemetry::render(&office.registry);
    assert!(text.contains("medmesh_edge_config_refused_total 1"));
    assert!(text.contains("medmesh_edge_config_version 7"));
    // After a restart it is still in force, and nobody else may read it.
    let again = SettingsStore::open(office.dir.path()).unwrap();
    assert_eq!(again.version(), 7);
    for entry in std::fs::read_dir(office.dir.path()).unwrap() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
    office.close();
}

#[tokio::test]
async fn a_damaged_stored_configuration_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    crate::settings::write_stored(dir.path(), &EdgeConfig::default()).unwrap();
    assert!(SettingsStore::open(dir.path()).is_ok());
    std::fs::write(dir.path().join("edge-config.pb"), [0xff; 40]).unwrap();
    assert!(SettingsStore::open(dir.path()).is_err());
}

#[tokio::test]
async fn evicting_takes_one_and_closing_takes_all() {
    let office = office();
    let shards = office.orders.shards.clone();
    let (here, there) = (RoomId::generate(), RoomId::generate());
    let victim = office.join(here).await;
    office.join(here).await;
    office.join(there).await;
    assert_eq!(shards.participants().await, 3);
    let evict = Order::Evict(EvictParticipant {
        room_id: here.to_vec(),
        participant_id: victim.to_vec(),
        reason: "revoked".into(),
        connected_ms: 0,
    });
    // Meant is a connection that has been up for a while; this one is not up at all.
    let left_behind = Order::Evict(EvictParticipant {
        room_id: here.to_vec(),
        participant_id: victim.to_vec(),
        reason: "moved".into(),
        connected_ms: 1,
    });
    office.orders.obey(left_behind).await;
    assert_eq!(shards.participants().await, 3, "a newer connection is not meant");
    // Every control node says it.
    office.orders.obey(evict.clone()).await;
    office.orders.obey(evict).await;
    reaches(&shards, 2).await;
    let close = Order::CloseRoom(CloseRoom {
        room_id: here.to_vec(),
        reason: "ended".into(),
    });
    office.orders.obey(close).await;
    reaches(&shards, 1).await;
    let nonsense = Order::CloseRoom(CloseRoom {
        room_id: vec![1],
        reason: String::new(),
    });
    office.orders.obey(nonsense).await;
    reaches(&shards, 1).await;
    drop(shards);
    office.close();
}

/// The last words of a connection may take some turns of the loop.
async fn reaches(shards: &Shards, count: usize) {
    let reached = async {
        while shards.participants().await != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reached)
        .await
        .unwrap();
}
