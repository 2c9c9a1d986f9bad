//! Redis over TLS: counted when the certificate is right, never otherwise.

use std::path::{Path, PathBuf};
use std::time::Duration;

use medmesh_control::ephemeral::Ephemeral;
use medmesh_tests::control::{ControlNode, Site, TestClinic, Wishes};
use medmesh_tests::postgres::Scratch;
use medmesh_tests::redis::Redis;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::audit::eventually;
use crate::clinic::plain_http;

const WINDOW: Duration = Duration::from_secs(60);

/// An authority and a certificate of it for a host, as files.
pub(crate) struct Files {
    pub(crate) authority: String,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

pub(crate) fn files(dir: &Path, name: &str, host: &str) -> Files {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    let cert = params.signed_by(&key, &issuer).unwrap().pem();
    let at = |kind: &str| dir.join(format!("{name}.{kind}"));
    std::fs::write(at("pem"), cert).unwrap();
    std::fs::write(at("key"), key.serialize_pem()).unwrap();
    std::fs::write(at("ca"), &authority).unwrap();
    Files {
        authority,
        cert: at("pem"),
        key: at("key"),
    }
}

fn trusting(redis: &Redis, authority: &str) -> Ephemeral {
    Ephemeral::open_trusting(&redis.tls_url(), authority.as_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn counters_are_shared_over_tls_and_only_with_whom_the_authority_vouches_for() {
    let dir = tempfile::tempdir().unwrap();
    let right = files(dir.path(), "right", "localhost");
    let redis = Redis::start_tls(&right.cert, &right.key);
    let (one, other) = (
        trusting(&redis, &right.authority),
        trusting(&redis, &right.authority),
    );
    assert!(one.is_ready().await && other.is_ready().await);
    assert_eq!(one.counters().add("a", WINDOW).await.value, 1);
    assert_eq!(
        other.counters().add("a", WINDOW).await.value,
        2,
        "the other node's counts"
    );

    let strange = files(dir.path(), "strange", "localhost");
    assert!(
        !trusting(&redis, &strange.authority).is_ready().await,
        "another authority"
    );
    let by_system = Ephemeral::open(Some(&redis.tls_url())).unwrap();
    assert!(!by_system.is_ready().await, "the system does not know it");
    let plain = Ephemeral::open(Some(&redis.url())).unwrap();
    assert!(!plain.is_ready().await, "it speaks TLS only");
    assert!(Ephemeral::open_trusting(&redis.url(), right.authority.into()).is_err());

    let elsewhere = files(dir.path(), "elsewhere", "redis.example.net");
    let redis = Redis::start_tls(&elsewhere.cert, &elsewhere.key);
    assert!(
        !trusting(&redis, &elsewhere.authority).is_ready().await,
        "for another host"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_counts_in_a_redis_behind_tls() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path(), "redis", "localhost");
    let redis = Redis::start_tls(&files.cert, &files.key);
    let scratch = Scratch::database().await.unwrap();
    let clinic = TestClinic::open(&scratch, "riverside").await;
    let wishes = Wishes {
        redis_url: Some(redis.tls_url()),
        redis_ca_file: Some(dir.path().join("redis.ca")),
        ..Wishes::default()
    };
    let node = ControlNode::start_in(&Site::new(1), 1, &scratch, &wishes).await;
    eventually(async || {
        let url = format!("{}/readyz", node.admin_url());
        let said: serde_json::Value = plain_http().get(url).send().await.unwrap().json().await.unwrap();
        (said["redis"] == true && said["ready"] == true).then_some(())
    })
    .await;
    node.signed_in(&clinic.email("patient")).await;
    let counted = trusting(&redis, &files.authority);
    assert!(counted.is_ready().await && counted.is_shared());
    node.stop().await;
}
