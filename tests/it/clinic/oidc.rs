//! Signing in with a real OpenID provider, and everything such a sign-in must not be fooled by.

mod owners;
mod portal;

use http::header::{COOKIE, LOCATION, SET_COOKIE};
use medmesh_api_types::Secret;
use medmesh_api_types::factor::{FactorKind, Standing};
use medmesh_api_types::oidc::OidcProviderSet;
use medmesh_api_types::session::{CSRF_HEADER, SESSION_COOKIE, Session};
use medmesh_tests::control::{ORIGIN, Wishes};
use medmesh_tests::oidc::{CLIENT_ID, CLIENT_SECRET, OpenIdProvider};
use serde_json::{Value, json};

use super::{World, plain_http};

const CALLBACK: &str = "http://portal.test/v1/auth/oidc/callback";

struct Outside {
    world: World,
    provider: OpenIdProvider,
    http: reqwest::Client,
}

/// What came of a sign-in: where to, and the session's cookie, or why not.
#[derive(Debug)]
enum Outcome {
    Portal(String, Option<String>),
    /// Where to, and why.
    Refused(String, String),
}

impl Outside {
    async fn new() -> Self {
        Self::wishing(Wishes::default()).await
    }

    async fn wishing(wishes: Wishes) -> Self {
        let provider = OpenIdProvider::start(CALLBACK).await;
        let wishes = Wishes {
            oidc_loopback: true,
            ..wishes
        };
        let outside = Self {
            world: World::with(&wishes).await,
            provider,
            http: plain_http(),
        };
        let admin = outside.world.signed_in("admin").await;
        assert_eq!(admin.oidc_provider_get().await.unwrap().version, 0);
        let set = admin.oidc_provider_set(0, &outside.settings(&[])).await.unwrap();
        assert_eq!((set.version, set.redirect_uri.as_str()), (1, CALLBACK));
        outside
    }

    fn settings(&self, second_factor: &[&str]) -> OidcProviderSet {
        OidcProviderSet {
            issuer: self.provider.issuer().to_owned(),
            client_id: CLIENT_ID.into(),
            client_secret: Some(Secret::new(CLIENT_SECRET)),
            second_factor: second_factor.iter().map(|word| (*word).to_owned()).collect(),
            enabled: true,
        }
    }

    async fn trust(&self, second_factor: &[&str]) {
        let admin = self.world.signed_in("admin").await;
        let version = admin.oidc_provider_get().await.unwrap().version;
        admin
            .oidc_provider_set(version, &self.settings(second_factor))
            .await
            .unwrap();
    }

    /// The provider's page and the flow's cookie.
    async fn start(&self) -> (String, String) {
        let url = format!(
            "{}/v1/auth/oidc/start?clinic_id={}",
            self.world.node.url(),
            self.world.clinic.id
        );
        let answer = self.http.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 303);
        let cookie = cookie_of(&answer, "__Host-medmesh_oidc").unwrap();
        (answer.headers()[LOCATION].to_str().unwrap().to_owned(), cookie)
    }

    /// Comes back from the provider, with this cookie.
    async fn back(&self, callback: &str, cookie: &str) -> Outcome {
        let path = callback.strip_prefix(ORIGIN).unwrap();
        let url = format!("{}{path}", self.world.node.url());
        let cookie = format!("__Host-medmesh_oidc={cookie}");
        let answer = self.http.get(url).header(COOKIE, cookie).send().await.unwrap();
        assert_eq!(answer.status(), 303, "a browser is never left with a document");
        let to = answer.headers()[LOCATION].to_str().unwrap().to_owned();
        let session = cookie_of(&answer, SESSION_COOKIE);
        match to.split_once("?oidc=refused&code=") {
            Some((to, code)) => {
                assert_eq!(session, None, "whoever is refused has no session");
                assert!(
                    code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                    "a code and nothing else: {code}"
                );
                Outcome::Refused(to.to_owned(), code.to_owned())
            }
            None => Outcome::Portal(to, session),
        }
    }

    async fn sign_in(&self) -> Outcome {
        let (url, cookie) = self.start().await;
        let callback = self.provider.walk(&url, CALLBACK).await;
        self.back(&callback, &cookie).await
    }

    /// Links whoever the provider signs in to one of the people.
    async fn link(&self, login: &str) -> Outcome {
        let (cookie, csrf) = self.world.credentials(login).await;
        let url = format!("{}/v1/auth/oidc/link", self.world.node.url());
        let begun = self
            .http
            .post(url)
            .header(COOKIE, cookie)
            .header(CSRF_HEADER, csrf)
            .send()
            .await
            .unwrap();
        self.follow(begun).await
    }

    /// Asks to accept an invitation with an identity.
    async fn accept(&self, token: &str) -> reqwest::Response {
        let url = format!("{}/v1/auth/oidc/accept", self.world.node.url());
        let asked = self.http.post(url).json(&json!({"token": token}));
        asked.send().await.unwrap()
    }

    /// Goes through the provider as far as it was begun here.
    async fn follow(&self, begun: reqwest::Response) -> Outcome {
        assert_eq!(begun.status(), 200);
        let flow = cookie_of(&begun, "__Host-medmesh_oidc").unwrap();
        let body: Value = begun.json().await.unwrap();
        let callback = self
            .provider
            .walk(body["authorization_url"].as_str().unwrap(), CALLBACK)
            .await;
        self.back(&callback, &flow).await
    }

    async fn session(&self, cookie: &str) -> Session {
        let url = format!("{}/v1/auth/session", self.world.node.url());
        let cookie = format!("{SESSION_COOKIE}={cookie}");
        self.http
            .get(url)
            .header(COOKIE, cookie)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }
}

fn cookie_of(answer: &reqwest::Response, name: &str) -> Option<String> {
    let cookies = answer.headers().get_all(SET_COOKIE).iter();
    let texts = cookies.filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
    texts
        .filter_map(|text| text.split_once('='))
        .find(|(found, value)| *found == name && !value.is_empty())
        .map(|(_, value)| value.to_owned())
}

#[track_caller]
fn session_cookie(outcome: Outcome) -> String {
    match outcome {
        Outcome::Portal(_, Some(cookie)) => cookie,
        other => panic!("nobody is signed in: {other:?}"),
    }
}

#[track_caller]
fn said(outcome: Outcome) -> String {
    match outcome {
        Outcome::Refused(_, code) => code,
        Outcome::Portal(..) => panic!("was let in"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_linked_their_identity_signs_in_with_it_and_nobody_else_does() {
    let outside = Outside::new().await;
    assert_eq!(said(outside.sign_in().await), "identity_unlinked");
    let Outcome::Portal(to, None) = outside.link("patient").await else {
        panic!("linking signs nobody in");
    };
    assert_eq!(to, "http://portal.test/patient/account");
    let session = outside.session(&session_cookie(outside.sign_in().await)).await;
    assert_eq!(session.person.id, outside.world.clinic.person("patient"));
    assert_eq!(
        (session.standing, session.factors.as_slice()),
        (Standing::Full, &[FactorKind::Provider][..])
    );
    // The same identity is nobody else's.
    assert_eq!(said(outside.link("second").await), "state_conflict");
    outside
        .provider
        .tell(&json!({"subject": "patient@riverside.test"}))
        .await;
    assert_eq!(
        said(outside.sign_in().await),
        "identity_unlinked",
        "an address is nobody"
    );
    outside
        .provider
        .tell(&json!({"claims": {"email": "patient@riverside.test", "email_verified": true}}))
        .await;
    assert_eq!(
        said(outside.sign_in().await),
        "identity_unlinked",
        "nor is it in a claim"
    );
    outside
        .provider
        .tell(&json!({"subject": "subject-1", "claims": {}}))
        .await;
    let patient = outside.world.signed_in("patient").await;
    let linked = patient.identity_list().await.unwrap().items;
    assert!(linked[0].used_at.is_some());
    patient.identity_unlink(linked[0].id).await.unwrap();
    assert_eq!(said(outside.sign_in().await), "identity_unlinked");
    // The secret is nowhere in plain text, and shown to nobody.
    let stored: Vec<u8> = sqlx::query_scalar("SELECT client_secret FROM oidc_provider")
        .fetch_one(&mut outside.world.admin().await)
        .await
        .unwrap();
    assert!(!stored.windows(8).any(|part| part == b"a secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_prove_two_factors_here_unless_the_clinic_trusts_the_providers() {
    let outside = Outside::new().await;
    assert!(matches!(outside.link("clinician").await, Outcome::Portal(..)));
    let strong = json!({"claims": {"amr": ["pwd", "mfa"], "auth_time": time::OffsetDateTime::now_utc().unix_timestamp()}});
    outside.provider.tell(&strong).await;
    let session = outside.session(&session_cookie(outside.sign_in().await)).await;
    assert_eq!(
        session.standing,
        Standing::MfaRequired,
        "the clinic did not say so"
    );
    outside.trust(&["mfa"]).await;
    let session = outside.session(&session_cookie(outside.sign_in().await)).await;
    assert_eq!(
        (session.standing, session.factors),
        (Standing::Full, vec![FactorKind::ProviderMfa])
    );
    outside.provider.tell(&json!({"claims": {"amr": ["pwd"]}})).await;
    let weak = outside.session(&session_cookie(outside.sign_in().await)).await;
    assert_eq!(weak.standing, Standing::MfaRequired);
    // A provider that does not say when somebody proved themselves asked them nothing.
    let age = time::OffsetDateTime::now_utc() - weak.authenticated_at;
    assert!(age > medmesh_clinic::identity::STEP_UP_WITHIN, "{age}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_is_believed_that_is_not_the_answer_to_our_question() {
    let outside = Outside::new().await;
    assert!(matches!(outside.link("patient").await, Outcome::Portal(..)));
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    for order in [
        json!({"claims": {"nonce": "another"}}),
        json!({"claims": {"iss": "https://evil.example.org"}}),
        json!({"claims": {"aud": "another"}}),
        json!({"claims": {"aud": [CLIENT_ID, "another"], "azp": "another"}}),
        json!({"claims": {"exp": now - 120}}),
        json!({"claims": {"iat": now - 3600}}),
        json!({"claims": {}, "forge": "none"}),
        json!({"claims": {}, "forge": "hs256"}),
        json!({"claims": {}, "forge": "stranger"}),
    ] {
        outside.provider.tell(&order).await;
        assert_eq!(said(outside.sign_in().await), "provider_refused", "{order}");
    }
    outside.provider.tell(&json!({"claims": {}, "forge": null})).await;
    session_cookie(outside.sign_in().await);
    let refused_logins: i64 = sqlx::query_scalar("SELECT count(*) FROM audit WHERE action = 'login'")
        .fetch_one(&mut outside.world.admin().await)
        .await
        .unwrap();
    assert!(refused_logins >= 1, "who got in is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_good_once_and_only_in_the_browser_that_began() {
    let outside = Outside::new().await;
    assert!(matches!(outside.link("patient").await, Outcome::Portal(..)));
    let (url, cookie) = outside.start().await;
    let callback = outside.provider.walk(&url, CALLBACK).await;
    let (_, other) = outside.start().await;
    assert_eq!(
        said(outside.back(&callback, &other).await),
        "provider_refused",
        "another browser's"
    );
    assert_eq!(said(outside.back(&callback, "").await), "provider_refused");
    let altered = callback.replace("state=", "state=x");
    assert_eq!(said(outside.back(&altered, &cookie).await), "provider_refused");
    let mixed = format!(
        "{CALLBACK}?{}&iss=https%3A%2F%2Fevil.example.org",
        query(&callback, &["code", "state"])
    );
    assert_eq!(
        said(outside.back(&mixed, &cookie).await),
        "provider_refused",
        "another provider's answer"
    );
    session_cookie(outside.back(&callback, &cookie).await);
    // It is we who know the state: a provider that is asked again could not answer.
    outside.provider.tell(&json!({"away": true})).await;
    assert_eq!(
        said(outside.back(&callback, &cookie).await),
        "provider_refused",
        "replayed"
    );
    outside.provider.tell(&json!({"away": false})).await;
    let (url, cookie) = outside.start().await;
    let callback = outside.provider.walk(&url, CALLBACK).await;
    let denied = format!("{CALLBACK}?{}&error=access_denied", query(&callback, &["state"]));
    assert_eq!(said(outside.back(&denied, &cookie).await), "provider_refused");
}

fn query(url: &str, names: &[&str]) -> String {
    let (_, query) = url.split_once('?').unwrap();
    let kept = query
        .split('&')
        .filter(|pair| names.contains(&pair.split('=').next().unwrap()));
    kept.collect::<Vec<_>>().join("&")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_change_and_the_provider_goes_away_and_passwords_work_all_the_while() {
    let outside = Outside::new().await;
    assert!(matches!(outside.link("patient").await, Outcome::Portal(..)));
    outside.provider.tell(&json!({"rotate": true})).await;
    session_cookie(outside.sign_in().await);
    let (url, cookie) = outside.start().await;
    let callback = outside.provider.walk(&url, CALLBACK).await;
    outside.provider.tell(&json!({"away": true})).await;
    assert_eq!(
        said(outside.back(&callback, &cookie).await),
        "provider_unavailable"
    );
    let client = outside.world.node.client();
    client
        .login("patient@riverside.test", medmesh_tests::control::PASSWORD)
        .await
        .unwrap();
    // The admin switches it off: nobody begins, and nobody who began gets in.
    outside.provider.tell(&json!({"away": false})).await;
    let (url, cookie) = outside.start().await;
    let callback = outside.provider.walk(&url, CALLBACK).await;
    let admin = outside.world.signed_in("admin").await;
    let off = OidcProviderSet {
        enabled: false,
        client_secret: None,
        ..outside.settings(&[])
    };
    admin.oidc_provider_set(1, &off).await.unwrap();
    assert_eq!(said(outside.back(&callback, &cookie).await), "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_is_accepted_with_an_identity_in_place_of_a_password() {
    let outside = Outside::new().await;
    let admin = outside.world.signed_in("admin").await;
    let invitation = medmesh_api_types::account::InvitationCreate {
        display_name: medmesh_base::Phi::new("Nora Newcomer".into()),
        email: medmesh_base::Phi::new("nora@riverside.test".into()),
        roles: vec![medmesh_api_types::person::Role::Patient],
        locale: medmesh_api_types::person::Locale::En,
    };
    let key = medmesh_api_client::IdempotencyKey::fresh();
    let invited = admin.invitation_create(&key, &invitation).await.unwrap();
    let link = invited.link.unwrap().url;
    let (_, token) = link.expose().split_once("#set-password=").unwrap();
    let begun = outside.accept(token).await;
    let session = outside
        .session(&session_cookie(outside.follow(begun).await))
        .await;
    assert_eq!(session.person.id, invited.person.id);
    assert_eq!(outside.accept(token).await.status(), 410);
    session_cookie(outside.sign_in().await);
}
