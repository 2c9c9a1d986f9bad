//! What the API is made to take, in its place, and takes.

use std::time::Duration as Wait;

use http::Method;
use medmesh_api_client::{Clinic, MachineKey};
use medmesh_clinic::identity::{TotpSecret, totp_step};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::call::{Call, Who};
use super::push::Push;

/// Mail comes within this; a machine may be busy with other things.
const MAIL_WAIT: Wait = Wait::from_secs(60);
/// Rounds that also make accounts: each wants mail and several passwords.
const ROUNDS_WITH_ACCOUNTS: usize = 2;
/// Bookings of different rounds, and of what is cancelled in them, do not meet.
const HOURS_A_ROUND: i64 = 2;

impl Push {
    /// Every field that takes text, with a canary that is taken.
    pub(super) async fn everything_taken(&self, n: usize) {
        self.appointments(n).await;
        self.emergency_and_referral().await;
        self.corrections().await;
        self.of_the_record().await;
        self.of_staff(n).await;
        if n < ROUNDS_WITH_ACCOUNTS {
            self.accounts().await;
            self.systems().await;
        }
    }

    /// Creates something, under a key that is a canary too; what was said.
    async fn create(&self, operation: &str, path: &str, who: &Who, body: Value) -> Value {
        let key = self.word(&format!("{operation} header.Idempotency-Key"));
        let call = Call::post(path, who, &body).header("idempotency-key", key);
        let (_, said) = self.call(call).await;
        serde_json::from_str(&said).unwrap_or_default()
    }

    /// Changes the version of something that was just told.
    async fn change(&self, method: Method, path: &str, who: &Who, of: &Value, body: Value) -> Value {
        let version = format!("\"{}\"", of["version"]);
        let call = Call::new(method, path, Some(who)).json(&body);
        let (_, said) = self.call(call.header("if-match", version)).await;
        serde_json::from_str(&said).unwrap_or_default()
    }

    pub(super) fn booking(&self, from_now: Duration, reason: &str) -> Value {
        let starts_at = OffsetDateTime::now_utc() + from_now;
        let ends_at = starts_at + Duration::minutes(30);
        json!({
            "patient_id": self.patient_id, "clinician_id": self.clinician_id,
            "starts_at": starts_at.format(&Rfc3339).unwrap(), "ends_at": ends_at.format(&Rfc3339).unwrap(),
            "reason": reason, "segment": "general",
        })
    }

    async fn appointments(&self, n: usize) {
        let clinician = &self.clinician;
        let n = i64::try_from(n % 1_000).unwrap();
        let hour = Duration::hours(24 + HOURS_A_ROUND * n);
        let (path, operation) = ("/v1/appointments", "appointment_create");
        let booking = || self.booking(hour, &self.word("appointment_create body.reason"));
        let booked = self.create(operation, path, clinician, booking()).await;
        // The same time again: refused, with a reason on the way.
        let again = self.booking(hour, &self.canary());
        self.call(Call::post(path, clinician, &again)).await;
        let one = format!("{path}/{}", booked["id"].as_str().unwrap_or_default());
        let update = json!({"reason": self.word("appointment_update body.reason")});
        let changed = self.change(Method::PATCH, &one, clinician, &booked, update).await;
        let cancel = json!({"reason": self.word("appointment_cancel body.reason")});
        let path = format!("{one}/cancel");
        self.change(Method::POST, &path, clinician, &changed, cancel)
            .await;
        let visit = format!("/v1/visits/{}", self.visit_id);
        for who in [clinician, &self.patient] {
            let message = json!({"body": self.word("message_create body.body")});
            self.create("message_create", &format!("{visit}/messages"), who, message)
                .await;
        }
        let third = json!({"person_id": self.colleague_id});
        let path = format!("{visit}/participants");
        self.create("participant_add", &path, clinician, third).await;
    }

    async fn emergency_and_referral(&self) {
        let at = |tail: &str| format!("/v1/patients/{}/{tail}", self.patient_id);
        let reason = json!({"reason": self.word("break_glass_open body.reason")});
        self.create("break_glass_open", &at("break-glass"), &self.colleague, reason)
            .await;
        let referral =
            json!({"to_id": self.colleague_id, "reason": self.word("referral_create body.reason")});
        let made = self
            .create("referral_create", &at("referrals"), &self.clinician, referral)
            .await;
        let member = json!({"person_id": self.colleague_id, "role": "clinician"});
        let joined = self
            .create("care_team_add", &at("care-team"), &self.clinician, member)
            .await;
        for (path, what) in [("/v1/referrals", &made), ("/v1/care-team", &joined)] {
            let path = format!("{path}/{}/end", what["id"].as_str().unwrap_or_default());
            self.change(Method::POST, &path, &self.clinician, what, Value::Null)
                .await;
        }
    }

    async fn corrections(&self) {
        let path = format!("/v1/patients/{}/corrections", self.patient_id);
        let asked = json!({"what": self.word("correction_create body.what"),
            "why": self.word("correction_create body.why")});
        let asked = self
            .create("correction_create", &path, &self.patient, asked)
            .await;
        let one = format!("/v1/corrections/{}", asked["id"].as_str().unwrap_or_default());
        let reason = json!({"reason": self.word("correction_decline body.reason")});
        let declined = self
            .change(
                Method::POST,
                &format!("{one}/decline"),
                &self.clinician,
                &asked,
                reason,
            )
            .await;
        let statement = json!({"statement": self.word("correction_disagree body.statement")});
        let path = format!("{one}/disagree");
        self.change(Method::POST, &path, &self.patient, &declined, statement)
            .await;
    }

    async fn of_the_record(&self) {
        let at = |tail: &str| format!("/v1/patients/{}/{tail}", self.patient_id);
        let yesterday = (OffsetDateTime::now_utc() - Duration::days(1))
            .format(&Rfc3339)
            .unwrap();
        let word = |name: &str| self.word(&format!("disclosure_create body.{name}"));
        let disclosed = json!({"disclosed_at": yesterday, "recipient": word("recipient"), "address": word("address"),
            "description": word("description"), "purpose": word("purpose"), "basis": "judicial"});
        // The clinician is the privacy officer.
        self.create(
            "disclosure_create",
            &at("disclosures"),
            &self.clinician,
            disclosed,
        )
        .await;
        let said = json!({"purpose": "treatment", "segment": "general", "decision": "granted",
            "signed_by": "witness", "document": self.word("consent_record body.document")});
        self.create("consent_record", &at("consents"), &self.clinician, said)
            .await;
        self.create("record_export_create", &at("exports"), &self.patient, json!({}))
            .await;
        let searches = [self.canary(), format!("{}@riverside.test", self.canary())];
        for q in searches.into_iter().chain([self.word("patient_search body.q")]) {
            self.call(Call::post(
                "/v1/patients/search",
                &self.clinician,
                &json!({"q": q}),
            ))
            .await;
        }
        for (operation, path) in [("audit_list", "/v1/audit"), ("audit_export", "/v1/audit/export")] {
            let action = self.word(&format!("{operation} query.action"));
            self.call(Call::get(format!("{path}?action={action}"), &self.admin))
                .await;
        }
    }

    async fn of_staff(&self, n: usize) {
        let (clinician, admin) = (&self.clinician, &self.admin);
        // Each round names it anew.
        let path = format!("/v1/auth/mfa/passkeys/{}", self.passkey_id);
        let name = json!({"name": self.word("passkey_rename body.name")});
        let renamed = Call::new(Method::PATCH, path, Some(clinician)).json(&name);
        self.call(renamed.header("if-match", format!("\"{n}\""))).await;

        let licence = json!({"kind": "license", "profession": "clinician", "state": "NY", "expires_on": "2030-06-30",
            "number": format!("{}-1", self.word("credential_submit body.number"))});
        let stated = self
            .create("credential_submit", "/v1/credentials", clinician, licence)
            .await;
        let path = format!(
            "/v1/credentials/{}/reject",
            stated["id"].as_str().unwrap_or_default()
        );
        let reason = json!({"reason": self.word("credential_reject body.reason")});
        self.change(Method::POST, &path, admin, &stated, reason).await;

        let word = |name: &str| self.word(&format!("person_create body.{name}"));
        let person = json!({"display_name": format!("{} {}", word("display_name"), self.canary()),
            "email": format!("{}@riverside.test", word("email")), "roles": ["patient"],
            "password": format!("{} {}", word("password"), self.canary())});
        self.create("person_create", "/v1/people", admin, person).await;
        let login = json!({"email": format!("{}@riverside.test", self.canary()), "password": self.canary()});
        self.call(Call::new(Method::POST, "/v1/auth/login", None).json(&login))
            .await;
        let reset = json!({"email": format!("{}@riverside.test", self.word("reset_request body.email"))});
        self.call(Call::new(Method::POST, "/v1/auth/reset", None).json(&reset))
            .await;
    }

    /// Somebody registers, signs in, changes what they sign in with; somebody else is invited.
    async fn accounts(&self) {
        let email = format!("{}@riverside.test", self.word("registration_request body.email"));
        let asked = json!({"clinic_id": self.clinic_id, "email": email});
        self.call(Call::new(Method::POST, "/v1/auth/registration", None).json(&asked))
            .await;
        let token = self.token_of(&email, "#register=").await;
        let first = format!(
            "{} {}",
            self.word("registration_complete body.password"),
            self.canary()
        );
        let complete = json!({"token": token, "password": first,
            "display_name": self.word("registration_complete body.display_name")});
        let path = "/v1/auth/registration/complete";
        self.call(Call::new(Method::POST, path, None).json(&complete))
            .await;

        let mut password = first;
        let client = self.sign_in(&email, &password).await;
        self.took("auth_login body.email");
        self.took("auth_login body.password");
        let next = format!("{} {}", self.word("password_change body.password"), self.canary());
        let who = Who::of(&client).await;
        let change = Call::post("/v1/auth/password", &who, &json!({"password": next}));
        if (200..300).contains(&self.call(change).await.0) {
            password = next;
        }
        let client = self.sign_in(&email, &password).await;
        let who = Who::of(&client).await;
        let proof = json!({"method": "password", "password": password});
        if self.call(Call::post("/v1/auth/step-up", &who, &proof)).await.0 == 200 {
            self.took("step_up body.password");
        }
        self.app(&self.sign_in(&email, &password).await).await;

        let email = format!("{}@riverside.test", self.word("invitation_create body.email"));
        let invited = json!({"display_name": self.word("invitation_create body.display_name"), "email": email,
            "roles": ["nurse"]});
        self.create("invitation_create", "/v1/invitations", &self.admin, invited)
            .await;
        let token = self.token_of(&email, "#set-password=").await;
        let password = format!("{} {}", self.word("link_redeem body.password"), self.canary());
        let link = json!({"token": token, "password": password});
        self.call(Call::new(Method::POST, "/v1/auth/link", None).json(&link))
            .await;
    }

    /// Sets up an authenticator app and names it.
    async fn app(&self, client: &Clinic) {
        let setup = client.totp_begin().await.unwrap();
        let secret = TotpSecret::from_base32(setup.secret.expose()).unwrap();
        let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap();
        client.totp_confirm(&secret.code(totp_step(now))).await.unwrap();
        let name = json!({"name": self.word("totp_rename body.name")});
        let who = Who::of(client).await;
        let call = Call::new(Method::PATCH, "/v1/auth/mfa/totp", Some(&who)).json(&name);
        self.call(call.header("if-match", "\"0\"".into())).await;
    }

    /// Machines and the clinic's provider: what is a secret of theirs, and keys of requests.
    async fn systems(&self) {
        let pem = MachineKey::generate_pem().unwrap();
        let key = MachineKey::from_pem("a-key", pem.as_bytes()).unwrap();
        let machine = json!({"name": "a system", "scopes": ["system/Appointment.rs"],
            "jwks": {"keys": [key.public_jwk()]}});
        self.create("client_create", "/v1/clients", &self.admin, machine)
            .await;
        let path = "/v1/clinic/oidc";
        let provider = json!({"issuer": "https://id.riverside.test", "client_id": "medmesh", "enabled": false,
            "client_secret": self.word("oidc_provider_set body.client_secret"), "second_factor": []});
        let version = self.version(path, &self.admin).await;
        let call = Call::new(Method::PUT, path, Some(&self.admin)).json(&provider);
        self.call(call.header("if-match", version)).await;
    }

    async fn sign_in(&self, email: &str, password: &str) -> Clinic {
        let client = Clinic::new(&self.url, None).unwrap();
        client.login(email, password).await.unwrap();
        client
    }

    /// The token behind this mark in the mail to somebody.
    async fn token_of(&self, email: &str, mark: &str) -> String {
        let found = async {
            let mut n = 0;
            loop {
                let mail = self.mail.mail(n).await;
                let text = mail.data.replace("=\n", "").replace("=3D", "=");
                match text.split_once(mark) {
                    Some((_, after)) if mail.to == [email.to_owned()] => {
                        return after.chars().take(43).collect();
                    }
                    _ => n += 1,
                }
            }
        };
        let found = tokio::time::timeout(MAIL_WAIT, found).await;
        found.unwrap_or_else(|_| panic!("no mail with {mark}"))
    }
}
