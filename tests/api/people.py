"""People of every role, and a machine: made through the API as an admin makes them.

What a role needs before it may act (a second factor, a verified licence) is set up here, so that
a run as that role reaches more than refusals.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import struct
import subprocess
import time
import uuid

import requests

# The key of a run, and the role's name.
STAFF = {
    "nurse": "nurse",
    "scheduler": "scheduler",
    "pharmacist": "pharmacist",
    "coordinator": "care_coordinator",
    "auditor": "auditor",
}
# Roles that act only with a verified licence.
LICENSED = ("nurse", "pharmacist")
SCOPES = [
    "system/Appointment.rs", "system/Appointment.cu", "system/Patient.s", "system/Person.rs",
    "system/CareTeam.rs", "system/AuditEvent.rs",
]
TIMEOUT = 20
DEVICE_COOKIE = "__Host-medmesh_device"


class Asked:
    """Which operation was answered with what, by us and by schemathesis."""

    def __init__(self, file):
        self.file = file

    def ask(self, operation, method, url, headers=None, body=None, version=None):
        """One request of ours, which has to be answered with a 2xx."""
        headers = dict(headers or {})
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        if version is not None:
            headers["If-Match"] = f'"{version}"'
        return self.note(operation, requests.request(method, url, json=body, headers=headers, timeout=TIMEOUT))

    def note(self, operation, answer):
        """Counts an answer to us, if it is a success; nothing goes on without."""
        if not answer.ok:
            raise SystemExit(f"{operation}: {answer.status_code} {answer.text}")
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(f"own {operation} {answer.status_code}\n")
        return answer


def totp(secret):
    """The code of an authenticator app (RFC 6238)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at:at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"


def session_headers(answer):
    """Cookie and CSRF token out of an answer that began or rotated a session."""
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in answer.cookies)
    said = answer.json()
    return {"Cookie": cookies, "X-CSRF-Token": said.get("session", said)["csrf_token"]}


def device_headers(answer):
    """What a browser sends that has signed in before, if this answer gave it."""
    given = answer.cookies.get(DEVICE_COOKIE)
    return {"Cookie": f"{DEVICE_COOKIE}={given}"} if given else {}


def staff(asked, url, admin, role):
    """Login of a new person of this role, with a second factor and what the role needs verified."""
    password = secrets.token_urlsafe(24)
    email = f"{role.replace('_', '-')}@demo.example"
    person = {"display_name": f"A {role.replace('_', ' ')}", "email": email, "roles": [role], "password": password}
    made = asked.ask("person_create", "POST", url + "/v1/people", admin, person).json()
    login = {"email": email, "password": password}
    answer = asked.ask("auth_login", "POST", url + "/v1/auth/login", None, login)
    headers, device = session_headers(answer), device_headers(answer)
    setup = asked.ask("totp_begin", "POST", url + "/v1/auth/mfa/totp", headers).json()
    code = {"code": totp(setup["secret"])}
    answer = asked.ask("totp_confirm", "POST", url + "/v1/auth/mfa/totp/confirm", headers, code)
    if answer.cookies:
        headers = session_headers(answer)
    if role in LICENSED:
        claim = {"kind": "license", "profession": role, "state": "NY", "number": "RN-123456",
                 "expires_on": "2030-06-30"}
        stated = asked.ask("credential_submit", "POST", url + "/v1/credentials", headers, claim).json()
        path = f"{url}/v1/credentials/{stated['id']}/verify"
        asked.ask("credential_verify", "POST", path, admin, None, stated["version"])
    return login | {"totp_secret": setup["secret"], "id": made["id"], "device": device}


def machine(asked, url, admin, medmesh, out):
    """A machine of the clinic with every scope, and its token."""
    key_file = out / "machine.pem"
    key_file.unlink(missing_ok=True)
    made = subprocess.run([medmesh, "machine", "key", "--kid", "fuzz", "--out", str(key_file)],
                          stdout=subprocess.PIPE, check=True)
    jwk = json.loads(made.stdout)
    wanted = {"name": "A hospital system", "scopes": SCOPES, "jwks": jwk if "keys" in jwk else {"keys": [jwk]}}
    client = asked.ask("client_create", "POST", url + "/v1/clients", admin, wanted).json()
    token = [medmesh, "machine", "token", "--client-id", client["id"], "--kid", "fuzz", "--key-file", str(key_file)]
    given = subprocess.run(token, stdout=subprocess.PIPE, check=True, env=os.environ | {"MEDMESH_URL": url})
    with open(asked.file, "a", encoding="utf-8") as file:
        file.write("own oauth_token 200\n")
    return {"Authorization": f"Bearer {json.loads(given.stdout)['access_token']}"}
