//! What somebody tries while our KMS is away is held against nobody.

use medmesh_api_client::{ClientError, Clinic};
use medmesh_api_types::Secret;
use medmesh_api_types::client::ClientScope;
use medmesh_api_types::factor::Proof;
use medmesh_base::ProblemCode;
use medmesh_tests::control::PASSWORD;

use super::Over;
use crate::clinic::clients::{Pkcs8, machine, register};
use crate::clinic::{eventually, refused};

/// More tries than an account has in a quarter of an hour at a password or a passkey (10), and a session
/// at a factor (5).
const TRIES: usize = 12;
/// More than a machine has from one address (100).
const MACHINE_TRIES: usize = 104;

fn by_password() -> Proof {
    Proof::Password {
        password: Secret::new(PASSWORD),
    }
}

/// Signs in with a passkey; what the node answers.
async fn by_passkey(over: &Over, client: &Clinic) -> Result<(), ProblemCode> {
    let clinic = &over.world.clinic;
    let options = client.passkey_options().await.unwrap();
    let key = clinic.passkey("clinician").unwrap();
    let answer = key.get(&options, clinic.person("clinician"));
    match client.passkey_login(&answer).await {
        Ok(_) => Ok(()),
        Err(ClientError::Problem(problem)) => Err(problem.code),
        Err(other) => panic!("{other:?}"),
    }
}

/// Every way to prove oneself, tried more often than is allowed while the keys are away: each is refused as
/// our own fault, and when they are back the first try is right.
pub(super) async fn nobody_is_locked_out(over: &Over) {
    let (world, kms) = (&over.world, &over.kms);
    let admin = world.signed_in("admin").await;
    let patient = world.signed_in("third").await;
    let key = Pkcs8::es384("tries");
    let registered = register(&admin, &[ClientScope::AppointmentRead], &[&key]).await;
    let system = machine(&world.node, registered.id, &key);
    // It knows the endpoint from here on, and asks for nothing else.
    system.token().await.unwrap();

    kms.goes();
    let email = world.clinic.email("third");
    eventually(async || by_passkey(over, &world.node.client()).await == Err(ProblemCode::Unavailable)).await;
    eventually(async || {
        let tried = world.node.client().login(&email, PASSWORD).await;
        tried.is_err_and(
            |error| matches!(error, ClientError::Problem(p) if p.code == ProblemCode::Unavailable),
        )
    })
    .await;
    let gone = ProblemCode::Unavailable;
    for _ in 0..TRIES {
        let login = world.node.client().login(&email, PASSWORD).await;
        assert_eq!(refused(login), gone);
        assert_eq!(by_passkey(over, &world.node.client()).await, Err(gone));
        assert_eq!(refused(patient.step_up(&by_password()).await), gone);
    }
    for _ in 0..MACHINE_TRIES {
        assert_eq!(refused(system.token().await), gone);
    }

    kms.returns();
    eventually(async || world.node.client().login(&email, PASSWORD).await.is_ok()).await;
    assert_eq!(by_passkey(over, &world.node.client()).await, Ok(()));
    patient.step_up(&by_password()).await.unwrap();
    system.token().await.unwrap();
}
