//! A full visit: six people with microphone and camera, one of them with a screen, over two edges.

use std::collections::BTreeMap;
use std::time::Duration;

use medmesh_api_client::{Clinic, IdempotencyKey};
use medmesh_api_types::Secret;
use medmesh_api_types::person::{Locale, PersonCreate, Role};
use medmesh_api_types::signaling::{EdgeProbe, SessionRequest, SignalingSession};
use medmesh_api_types::visit::{Participant as Known, ParticipantState, Visit};
use medmesh_base::{EdgeId, PersonId, Phi, ProblemCode, VisitId};
use medmesh_tests::control::PASSWORD;
use medmesh_tests::edge::{EdgeNode, operator};
use medmesh_tests::participant::{Equipment, Of, Participant};

use super::{eventually, linked, sample};
use crate::clinic::visit::{join, key};
use crate::clinic::{World, refused};

/// What a visit carries.
const SIX: usize = 6;
/// Who shares their screen: a guest on the first edge.
const SCREEN: usize = 2;
/// Packets of each source that everybody has to get of everybody.
const ENOUGH: u64 = 10;
/// Bounds the wait for them: on a machine that does other things the estimate of somebody's bandwidth
/// may pause pictures for a while.
const MEDIA_PATIENCE: Duration = Duration::from_secs(120);

/// Two edges and a visit whose clinician is in it.
struct Full {
    world: World,
    edges: [EdgeNode; 2],
    visit: VisitId,
    clinician: Clinic,
    inside: Vec<Participant>,
    /// Whose places these are: patient, clinician, guests as they came.
    people: Vec<Clinic>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_people_see_and_hear_each_other_and_a_seventh_waits_for_a_seat() {
    let mut full = Full::new().await;
    let mut guests = vec![full.world.clinic.person("colleague")];
    guests.extend([
        full.world.clinic.person("second"),
        full.world.clinic.person("third"),
    ]);
    guests.extend(full.more_people(&["sixth", "seventh"]).await);
    for (index, guest) in guests[..4].iter().enumerate() {
        full.add(*guest).await.unwrap();
        let login = ["colleague", "second", "third", "sixth"][index];
        full.come(login).await;
    }
    assert_eq!(full.inside.len(), SIX);
    let everyone: Vec<usize> = (0..SIX).collect();
    full.all_receive(&everyone).await;
    for edge in &full.edges {
        assert_eq!(
            sample(edge.admin_url(), "medmesh_edge_participants").await,
            Some(3.0)
        );
    }

    eventually("the record has all of them in the visit", async || {
        let seen = full.seen().await;
        let inside = |one: &Known| one.state == ParticipantState::InCall;
        seen.participants.iter().all(inside).then_some(())
    })
    .await;

    // The seventh is refused, and nothing changes for the six.
    let before = full.seen().await;
    let rosters: Vec<usize> = full.inside.iter().map(|one| one.said_times("roster")).collect();
    let seventh = *guests.last().unwrap();
    assert_eq!(refused(full.add(seventh).await), ProblemCode::VisitFull);
    let metrics = full.world.node.admin_url();
    let counted = sample(&metrics, "medmesh_http_problems_total{code=\"visit_full\"}");
    assert_eq!(counted.await, Some(1.0));
    let outsider = full.world.signed_in("seventh").await;
    let asked = outsider.signaling_session(&full.near(0)).await;
    assert_eq!(refused(asked), ProblemCode::NotFound);
    assert_eq!(full.seen().await, before);
    full.all_receive(&everyone).await;
    let after: Vec<usize> = full.inside.iter().map(|one| one.said_times("roster")).collect();
    assert_eq!(after, rosters, "nobody is told of anybody new");

    // A guest leaves: the next may come, and the one who left has to wait for a seat.
    let gone = 4;
    full.inside[gone].leave();
    let who = before.participants[gone].participant_id;
    eventually("the seat is free", async || {
        let seen = full.seen().await;
        let left = seen.participants.iter().find(|one| one.participant_id == who)?;
        (left.state == ParticipantState::Left).then_some(())
    })
    .await;
    full.add(seventh).await.unwrap();
    full.come("seventh").await;
    let now_in: Vec<usize> = (0..=SIX).filter(|index| *index != gone).collect();
    full.all_receive(&now_in).await;
    let back = full.people[gone].signaling_session(&full.near(gone)).await;
    assert_eq!(refused(back), ProblemCode::VisitFull);
    full.stop().await;
}

impl Full {
    async fn new() -> Self {
        let world = World::new().await;
        let fra = EdgeNode::start(&world.node, "fra-1", "eu-central").await;
        let nyc = EdgeNode::start(&world.node, "nyc-1", "us-east").await;
        let clinician = world.signed_in("clinician").await;
        let visit = world.booked_now().await.visit_id;
        eventually("two edges to choose from", async || {
            let edges = clinician.signaling_candidates(visit).await.ok()?.edges;
            (edges.len() == 2).then_some(())
        })
        .await;
        linked(&operator(&world.node)).await;
        let mut full = Self {
            edges: [fra, nyc],
            visit,
            clinician,
            inside: Vec::new(),
            people: Vec::new(),
            world,
        };
        let patient = full.world.signed_in("patient").await;
        patient.visit_check_in(visit).await.unwrap();
        full.clinician.visit_open(visit).await.unwrap();
        let you = patient.visit_get(visit).await.unwrap().you;
        full.clinician.visit_admit(visit, you.unwrap()).await.unwrap();
        full.come("patient").await;
        full.come("clinician").await;
        full
    }

    /// Patients beyond those every test clinic has.
    async fn more_people(&self, logins: &[&str]) -> Vec<PersonId> {
        let admin = self.world.signed_in("admin").await;
        let mut made = Vec::new();
        for login in logins {
            let new = PersonCreate {
                display_name: Phi::new(format!("Greta {login}")),
                email: Phi::new(self.world.clinic.email(login)),
                password: Secret::new(PASSWORD.to_owned()),
                roles: vec![Role::Patient],
                locale: Locale::En,
            };
            let person = admin.person_create(&IdempotencyKey::fresh(), &new).await;
            made.push(person.unwrap().id);
        }
        made
    }

    async fn add(&self, person: PersonId) -> Result<Visit, medmesh_api_client::ClientError> {
        let key = IdempotencyKey::fresh();
        self.clinician.participant_add(&key, self.visit, person).await
    }

    async fn seen(&self) -> Visit {
        self.clinician.visit_get(self.visit).await.unwrap()
    }

    /// A wish for a place near one of the edges, in turn.
    fn near(&self, index: usize) -> SessionRequest {
        let probe = |edge_id: EdgeId, rtt_ms| EdgeProbe { edge_id, rtt_ms };
        let (near, far) = (&self.edges[index % 2], &self.edges[1 - index % 2]);
        SessionRequest {
            probes: vec![probe(near.id(), 3.0), probe(far.id(), 90.0)],
            ..join(self.visit, key())
        }
    }

    /// Somebody who was asked in joins at the edge whose turn it is.
    async fn come(&mut self, login: &str) {
        let person = self.world.signed_in(login).await;
        let index = self.inside.len();
        let session: SignalingSession = person.signaling_session(&self.near(index)).await.unwrap();
        assert_eq!(session.edges[0].id, self.edges[index % 2].id());
        let equipment = Equipment {
            mark: index as u8 + 1,
            camera: true,
            screen: index == SCREEN,
        };
        self.inside
            .push(Participant::join_with(&session, equipment).await);
        self.people.push(person);
    }

    /// Waits until everyone of these has got more of every source of every other.
    async fn all_receive(&self, people: &[usize]) {
        let before: Vec<_> = self.inside.iter().map(Participant::received).collect();
        let missing = || {
            let mut missing = Vec::new();
            for (me, other) in pairs(people) {
                let new = self.inside[me].received();
                for of in sources(other) {
                    let source = (other as u8 + 1, of);
                    let count = |of: &BTreeMap<_, u64>| of.get(&source).copied().unwrap_or_default();
                    let came = count(&new) - count(&before[me]);
                    if came < ENOUGH {
                        missing.push(format!("{came} of {of:?} of {other} at {me}"));
                    }
                }
            }
            missing
        };
        let all = async {
            while !missing().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(MEDIA_PATIENCE, all).await.is_err() {
            panic!("packets of each publisher at each subscriber: {:#?}", missing());
        }
    }

    async fn stop(self) {
        drop(self.inside);
        for edge in self.edges {
            edge.stop().await;
        }
    }
}

fn pairs(people: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    people
        .iter()
        .flat_map(move |me| people.iter().map(move |other| (*me, *other)))
        .filter(|(me, other)| me != other)
}

/// What somebody sends.
fn sources(index: usize) -> Vec<Of> {
    let mut sources = vec![Of::Voice, Of::Camera];
    if index == SCREEN {
        sources.push(Of::Screen);
    }
    sources
}
