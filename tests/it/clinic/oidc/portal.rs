//! What a clinic's admins, and the pages of the portals, have to do with such a sign-in.

use http::header::LOCATION;
use medmesh_api_types::Secret;
use medmesh_api_types::oidc::OidcProviderSet;
use medmesh_base::ProblemCode;
use medmesh_tests::control::TestClinic;
use serde_json::{Value, json};

use super::super::{World, refused};
use super::{CALLBACK, Outcome, Outside, cookie_of};

#[tokio::test]
async fn only_admins_say_which_provider_and_only_public_ones() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    let with = |issuer: &str| OidcProviderSet {
        issuer: issuer.into(),
        client_id: "c".into(),
        client_secret: Some(Secret::new("long enough")),
        second_factor: Vec::new(),
        enabled: true,
    };
    for inside in [
        "http://login.example.org",
        "https://127.0.0.1",
        "https://169.254.169.254/latest",
        "https://[::1]",
        "https://login.example.org/?tenant=1",
        "ldap://login.example.org",
    ] {
        assert_eq!(
            refused(admin.oidc_provider_set(0, &with(inside)).await),
            ProblemCode::InvalidRequest,
            "{inside}"
        );
    }
    let good = with("https://login.example.org");
    assert_eq!(
        refused(admin.oidc_provider_set(1, &good).await),
        ProblemCode::VersionMismatch
    );
    let silent = OidcProviderSet {
        client_secret: None,
        ..good.clone()
    };
    assert_eq!(
        refused(admin.oidc_provider_set(0, &silent).await),
        ProblemCode::StateConflict
    );
    admin.oidc_provider_set(0, &good).await.unwrap();
    admin.oidc_provider_set(1, &silent).await.unwrap();
    // The secret was given for one client at one issuer: it goes to no other.
    for elsewhere in [
        OidcProviderSet {
            issuer: "https://other.example.org".into(),
            ..silent.clone()
        },
        OidcProviderSet {
            client_id: "d".into(),
            ..silent.clone()
        },
    ] {
        assert_eq!(
            refused(admin.oidc_provider_set(2, &elsewhere).await),
            ProblemCode::StateConflict,
            "{}",
            elsewhere.issuer
        );
    }
    for login in ["clinician", "patient"] {
        let client = world.signed_in(login).await;
        assert_eq!(refused(client.oidc_provider_get().await), ProblemCode::Forbidden);
        assert_eq!(
            refused(client.oidc_provider_set(2, &good).await),
            ProblemCode::Forbidden
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_comes_back_to_where_it_began_whatever_came_of_it() {
    let outside = Outside::new().await;
    let begin = async |portal: &str| {
        let url = format!(
            "{}/v1/auth/oidc/start?clinic_id={}&portal={portal}",
            outside.world.node.url(),
            outside.world.clinic.id
        );
        let answer = outside.http.get(url).send().await.unwrap();
        let to = answer.headers()[LOCATION].to_str().unwrap().to_owned();
        (to, cookie_of(&answer, "__Host-medmesh_oidc").unwrap_or_default())
    };
    for portal in ["patient", "clinician", "admin"] {
        let (url, cookie) = begin(portal).await;
        let callback = outside.provider.walk(&url, CALLBACK).await;
        let back = outside.back(&callback, &cookie).await;
        let wanted = format!("http://portal.test/{portal}/");
        assert!(
            matches!(&back, Outcome::Refused(to, code) if *to == wanted && code == "identity_unlinked"),
            "{back:?}"
        );
    }
    // What is not of this browser says nothing of where it began.
    let (url, _) = begin("patient").await;
    let callback = outside.provider.walk(&url, CALLBACK).await;
    let back = outside.back(&callback, "").await;
    assert!(
        matches!(&back, Outcome::Refused(to, code) if to == "http://portal.test/" && code == "provider_refused"),
        "{back:?}"
    );
    // Linking comes back to the account's page, refused as well as done.
    assert!(matches!(outside.link("patient").await, Outcome::Portal(..)));
    let back = outside.link("second").await;
    assert!(
        matches!(&back, Outcome::Refused(to, code)
            if to == "http://portal.test/patient/account" && code == "state_conflict"),
        "{back:?}"
    );
    // Somewhere else than a portal nobody is sent.
    let url = format!(
        "{}/v1/auth/oidc/start?clinic_id={}&portal=evil.example.org",
        outside.world.node.url(),
        outside.world.clinic.id
    );
    assert_eq!(outside.http.get(url).send().await.unwrap().status(), 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_to_sign_in_offers_a_clinics_own_sign_in_and_tells_nothing_else() {
    let outside = Outside::new().await;
    let offers = async |query: &str| -> Value {
        let url = format!("{}/v1/auth/oidc/offers{query}", outside.world.node.url());
        let answer = outside.http.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json::<Value>().await.unwrap()["items"].clone()
    };
    let clinic = outside.world.clinic.id;
    let offered = json!([{"clinic_id": clinic, "clinic_name": "riverside clinic"}]);
    // The only clinic need not be named.
    assert_eq!(offers("").await, offered);
    assert_eq!(offers(&format!("?clinic_id={clinic}")).await, offered);
    let hillside = TestClinic::open(&outside.world.scratch, "hillside").await;
    assert_eq!(offers("").await, json!([]), "which of two is not said");
    assert_eq!(offers(&format!("?clinic_id={clinic}")).await, offered);
    // A clinic without one, and none at all, are answered alike.
    for other in [hillside.id, medmesh_base::ClinicId::generate()] {
        assert_eq!(offers(&format!("?clinic_id={other}")).await, json!([]));
    }
    let admin = outside.world.signed_in("admin").await;
    let off = OidcProviderSet {
        enabled: false,
        client_secret: None,
        ..outside.settings(&[])
    };
    admin.oidc_provider_set(1, &off).await.unwrap();
    assert_eq!(offers(&format!("?clinic_id={clinic}")).await, json!([]));
    // Beginning there leads back to the portal, and says so.
    let url = format!(
        "{}/v1/auth/oidc/start?clinic_id={clinic}&portal=clinician",
        outside.world.node.url()
    );
    let answer = outside.http.get(url).send().await.unwrap();
    assert_eq!(
        answer.headers()[LOCATION],
        "http://portal.test/clinician/?oidc=refused&code=not_found"
    );
}
