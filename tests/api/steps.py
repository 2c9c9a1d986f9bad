"""What somebody does by the rules, so that a run gets behind them: signs in anew, sits in a visit, asks for help.

Every step has to be answered with a success, and counts as one (`own`) in the report.
"""

import datetime
import secrets
import time

import requests

from people import TIMEOUT, device_headers, session_headers, totp

# An authenticator's code is taken once; the next one is at most this far away.
CODE_SECONDS = 31
# How old a session of our own steps may be.
RENEW_SECONDS = 120
# How long our own visits are: the shortest there are, so that some fit into the time in which one may be opened.
SLOT = datetime.timedelta(minutes=5)
KEY = {"kty": "EC", "crv": "P-256", "x": "YP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Y",
       "y": "eQP-EAi4vJmkGunpVii8ZPLxsgwtfp9Rd6PClNRGIpk"}


class Person:
    """Somebody who can sign in as often as it takes: what is sensitive wants a proof of the last minutes."""

    def __init__(self, asked, url, login):
        self.asked, self.url, self.login, self.headers = asked, url, login, {}
        self.since, self.device = None, login.get("device", {})

    def ask(self, operation, method, path, body=None, version=None):
        return self.asked.ask(operation, method, self.url + path, self.headers, body, version)

    def fresh(self):
        """A new session that may do everything its person may."""
        given = {"email": self.login["email"], "password": self.login["password"]}
        # As a browser does, with what says that it has signed in before: others' failures do not count for it.
        answer = self.asked.ask("auth_login", "POST", self.url + "/v1/auth/login", self.device, given)
        self.device = device_headers(answer) or self.device
        self.headers = session_headers(answer)
        if self.login.get("totp_secret"):
            self.headers = session_headers(self.proven("mfa_verify", "/v1/auth/mfa/verify"))
        self.since = time.monotonic()
        return self.headers

    def renew(self):
        """A session that is not old: its token is replaced as time goes by."""
        if self.since is None or time.monotonic() - self.since > RENEW_SECONDS:
            self.fresh()

    def proven(self, operation, path):
        """A proof by code, with the next one if this one was spent."""
        for last in (False, True):
            proof = {"method": "totp", "code": totp(self.login["totp_secret"])}
            answer = requests.post(self.url + path, json=proof, headers=self.headers, timeout=TIMEOUT)
            if answer.ok or last:
                break
            time.sleep(CODE_SECONDS)
        return self.asked.note(operation, answer)

    def id(self):
        """Who it is: of the staff that was made here it is known, of others their session says so."""
        if "id" not in self.login:
            self.login["id"] = self.ask("auth_session", "GET", "/v1/auth/session").json()["person"]["id"]
        return self.login["id"]


class Visits:
    """A visit that is open whenever a run begins, however the run before treated it."""

    def __init__(self, clinician, patient, guest_id):
        self.clinician, self.patient, self.guest_id = clinician, patient, guest_id
        self.visit, self.next = None, datetime.datetime.min.replace(tzinfo=datetime.timezone.utc)

    def make_room(self):
        """Cancels what the clinician has booked: our own visits come now."""
        for booked in self.clinician.ask("appointment_list", "GET", "/v1/appointments").json()["items"]:
            if booked["status"] == "booked":
                path = f"/v1/appointments/{booked['id']}/cancel"
                self.clinician.ask("appointment_cancel", "POST", path, {"reason": "moved"}, booked["version"])

    def open(self):
        """Ids of an open visit and of who is in it."""
        if self.visit is None or self._now()["state"] != "open":
            self._begin()
        return self.visit, [one["participant_id"] for one in self._now()["participants"]]

    def _now(self):
        return self.clinician.ask("visit_get", "GET", f"/v1/visits/{self.visit}").json()

    def _begin(self):
        patient, clinician = self.patient, self.clinician
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        # Right after the one before, which keeps its time when it is over.
        starts = max(self.next, now + datetime.timedelta(minutes=1))
        self.next = starts + SLOT
        wanted = {"patient_id": patient.id(), "clinician_id": clinician.id(), "reason": "a cough",
                  "starts_at": _text(starts), "ends_at": _text(self.next)}
        booked = clinician.ask("appointment_create", "POST", "/v1/appointments", wanted).json()
        self.visit = booked["visit_id"]
        path = f"/v1/visits/{self.visit}"
        clinician.ask("participant_add", "POST", path + "/participants", {"person_id": self.guest_id})
        waiting = patient.ask("visit_check_in", "POST", path + "/check-in").json()
        clinician.ask("visit_open", "POST", path + "/open")
        clinician.ask("visit_admit", "POST", path + "/admit", {"participant_id": waiting["you"]})
        clinician.ask("message_create", "POST", path + "/messages", {"body": "How are you?"})
        session = {"visit_id": self.visit, "probes": [], "key": KEY}
        patient.ask("signaling_session", "POST", "/v1/signaling/session", session)
        self._listen(path)

    def _listen(self, path):
        """The first event; a stream of them never ends, which is why the runs listen to nobody real."""
        with requests.get(self.patient.url + path + "/events", headers=self.patient.headers, stream=True,
                          timeout=TIMEOUT) as answer:
            next(answer.iter_lines())
            self.patient.asked.note("visit_events", answer)


def _text(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def settle(admin, office):
    """What an admin decides once: who may register, which somebody does, and who looks after privacy."""
    clinic = admin.ask("clinic_get", "GET", "/v1/clinic").json()
    admin.ask("clinic_update", "PATCH", "/v1/clinic", {"self_registration": True}, clinic["version"])
    # Before anything else may change that.
    somebody, at = "ines@demo.example", admin.url + "/v1/auth/registration"
    wanted = {"clinic_id": clinic["id"], "email": somebody}
    admin.asked.ask("registration_request", "POST", at, None, wanted)
    chosen = {"token": office.token(somebody, "register"), "display_name": "Ines", "password": secrets.token_urlsafe(24)}
    admin.asked.ask("registration_complete", "POST", at + "/complete", None, chosen)
    officer = admin.ask("privacy_officer_get", "GET", "/v1/privacy-officer").json()
    chosen = {"person_id": admin.id()}
    admin.ask("privacy_officer_set", "PUT", "/v1/privacy-officer", chosen, officer["version"])


def disagree(patient, admin):
    """A correction that is asked for, declined and disagreed with: each step wants the one before."""
    path = f"/v1/patients/{patient.id()}/corrections"
    wanted = {"what": "My allergy", "why": "It is another one"}
    asked = patient.ask("correction_create", "POST", path, wanted).json()
    path = f"/v1/corrections/{asked['id']}"
    reason = {"reason": "It is right as it is"}
    declined = admin.ask("correction_decline", "POST", path + "/decline", reason, asked["version"]).json()
    statement = {"statement": "It is not"}
    patient.ask("correction_disagree", "POST", path + "/disagree", statement, declined["version"])


def settle_factors(person, office):
    """Everything that ends sessions or changes how somebody proves who they are, by a patient without a second factor."""
    person.fresh()
    setup = person.ask("totp_begin", "POST", "/v1/auth/mfa/totp").json()
    code = {"code": totp(setup["secret"])}
    answer = person.ask("totp_confirm", "POST", "/v1/auth/mfa/totp/confirm", code)
    if answer.cookies:
        person.headers = session_headers(answer)
    person.login["totp_secret"] = setup["secret"]
    # The code that confirmed is spent.
    time.sleep(CODE_SECONDS)
    person.fresh()
    time.sleep(CODE_SECONDS)
    person.headers = session_headers(person.proven("step_up", "/v1/auth/step-up"))
    person.ask("recovery_codes_replace", "POST", "/v1/auth/mfa/recovery-codes")
    person.ask("totp_remove", "DELETE", "/v1/auth/mfa/totp")
    del person.login["totp_secret"]
    person.fresh()
    held = person.ask("session_list", "GET", "/v1/auth/sessions").json()["items"]
    for spare in [one["id"] for one in held if not one["is_present"]][:1]:
        person.ask("session_revoke", "DELETE", f"/v1/auth/sessions/{spare}")
    person.ask("session_revoke_others", "POST", "/v1/auth/sessions/revoke-others")
    person.login["password"] = secrets.token_urlsafe(24)
    person.ask("password_change", "POST", "/v1/auth/password", {"password": person.login["password"]})
    person.fresh()
    person.ask("auth_logout", "POST", "/v1/auth/logout")
    # Forgotten, and chosen anew.
    forgotten = {"email": person.login["email"]}
    person.asked.ask("reset_request", "POST", person.url + "/v1/auth/reset", None, forgotten)
    person.login["password"] = secrets.token_urlsafe(24)
    chosen = {"token": office.token(person.login["email"], "set-password"), "password": person.login["password"]}
    person.asked.ask("link_redeem", "POST", person.url + "/v1/auth/link", None, chosen)
