use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, SanType};
use rustls_pki_types::CertificateDer;

use super::*;
use crate::{Expect, IdentityError, KeyRequest, LinkError, Peer, PeerIdentity, Session, TrafficClass};

#[test]
fn identity_and_ca_survive_the_disk_privately() {
    let folder = tempfile::tempdir().unwrap();
    let [cert_file, key_file, identity_file] =
        ["ca.pem", "ca.key", "identity.pem"].map(|name| folder.path().join(name));
    let ca = new_ca("one");
    ca.save(&cert_file, &key_file).unwrap();
    let again = ClusterCa::load(cluster_name("one"), &cert_file, &key_file).unwrap();
    assert_eq!(again.fingerprint(), ca.fingerprint());
    assert_eq!(&crate::load_certificate(&cert_file).unwrap(), ca.certificate());
    let foreign = ClusterCa::load(cluster_name("two"), &cert_file, &key_file);
    assert!(matches!(foreign, Err(IdentityError::ForeignCa)), "{foreign:?}");

    let identity = issue(&again, control(3));
    identity.save(&identity_file).unwrap();
    identity.save(&identity_file).unwrap();
    let loaded = Identity::load(&identity_file).unwrap();
    assert_eq!(loaded.peer(), identity.peer());
    assert_eq!(loaded.chain(), identity.chain());
    for file in [&key_file, &identity_file] {
        assert_eq!(
            std::fs::metadata(file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    assert!(!format!("{identity:?}{ca:?}").contains("PRIVATE"));
}

#[test]
fn renewal_is_due_at_two_thirds_of_a_life() {
    let identity = issue(&new_ca("one"), control(1));
    let left = identity.not_after() - identity.renew_at();
    assert!(
        (left - time::Duration::hours(8)).abs() < time::Duration::minutes(5),
        "{left}"
    );
}

#[test]
fn the_ca_takes_the_key_of_a_request_and_nothing_else() {
    let ca = new_ca("one");
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut wish = CertificateParams::default();
    wish.subject_alt_names = vec![SanType::URI("medmesh://one/control/1".try_into().unwrap())];
    let request = wish.serialize_request(&key).unwrap();
    let edge = an_edge();
    let now = OffsetDateTime::now_utc();
    let signed = ca.sign(request.der(), edge, now, LEAF_LIFE).unwrap();
    assert_eq!(
        PeerIdentity::from_certificate(&signed.chain[0]).unwrap().role,
        edge
    );

    let mut forged = request.der().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let refused = ca.sign(&forged, edge, now, LEAF_LIFE);
    assert!(matches!(refused, Err(IdentityError::Request)), "{refused:?}");
    for garbage in [&b""[..], b"garbage", &[0x30; 5000]] {
        let refused = ca.sign(garbage, edge, now, LEAF_LIFE);
        assert!(matches!(refused, Err(IdentityError::Request)), "{refused:?}");
    }
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let request = CertificateParams::default().serialize_request(&p384).unwrap();
    let refused = ca.sign(request.der(), edge, now, LEAF_LIFE);
    assert!(matches!(refused, Err(IdentityError::Request)), "{refused:?}");
}

#[test]
fn a_chain_for_another_key_is_refused() {
    let ca = new_ca("one");
    let [ours, theirs] = [KeyRequest::generate().unwrap(), KeyRequest::generate().unwrap()];
    let signed = ca
        .sign(
            theirs.csr_der(),
            an_edge(),
            OffsetDateTime::now_utc(),
            Duration::from_secs(60),
        )
        .unwrap();
    let refused = ours.into_identity(signed.chain);
    assert!(matches!(refused, Err(IdentityError::KeyMismatch)), "{refused:?}");
}

fn leaf_seen(session: &Session) -> CertificateDer<'static> {
    let chain = session.connection().peer_identity().unwrap();
    chain.downcast::<Vec<CertificateDer<'static>>>().unwrap()[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_swapped_under_open_sessions() {
    let ca = new_ca("one");
    let server = Node::start(&ca, control(1));
    let address = server.address();
    serve_who_am_i(&server.drain, server.incoming.grpc);
    let role = an_edge();
    let edge = Node::start(&ca, role);
    let old = Peer::new(&edge.endpoint, address.clone(), Expect::AnyControl);
    let old_channel = old.channel(TrafficClass::Fleet);
    soon(who_am_i(&old_channel)).await.unwrap();
    let old_session = soon(old.session()).await.unwrap();

    let [next_server, next_edge] = [issue(&ca, control(1)), issue(&ca, role)];
    server.endpoint.swap_identity(&next_server).unwrap();
    edge.endpoint.swap_identity(&next_edge).unwrap();
    let foreign = edge.endpoint.swap_identity(&next_server);
    assert!(
        matches!(foreign, Err(LinkError::OtherIdentity { .. })),
        "{foreign:?}"
    );

    soon(who_am_i(&old_channel)).await.unwrap();
    assert!(old_session.is_open(), "renewal must not end a session");
    let new = Peer::new(&edge.endpoint, address, Expect::AnyControl);
    let new_session = soon(new.session()).await.unwrap();
    assert_eq!(leaf_seen(&new_session), next_server.chain()[0]);
    assert_ne!(leaf_seen(&old_session), next_server.chain()[0]);
    let name = soon(who_am_i(&new.channel(TrafficClass::Fleet))).await.unwrap();
    assert_eq!(name, next_edge.peer().to_uri());
    for drain in [&edge.drain, &server.drain] {
        stop(drain).await;
    }
}
