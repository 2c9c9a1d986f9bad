"""What the fuzzer cannot know: ids that exist, versions, keys, and who is asking.

Loaded by schemathesis. The process that starts it (fuzz.py) leaves what is needed in the file
that MEDMESH_FUZZ_WORLD names.
"""

import json
import os
import random
import uuid

import requests
import schemathesis

WORLD = json.load(open(os.environ["MEDMESH_FUZZ_WORLD"], encoding="utf-8"))
# Seeded: the same requests for the same seed and the same answers.
DICE = random.Random(WORLD["seed"])
# How often a made-up id is replaced by one that exists; the rest stays what the fuzzer thought of.
REAL = 0.7
# How often a header stays made up: a purpose of use refuses most requests by itself.
MADE_UP = 0.05
# A stream of events never ends, so that nobody real listens to one.
ENDLESS = "/events"
ID_FIELDS = {
    "patient_id": "patients",
    "clinician_id": "clinicians",
    "person_id": "people",
    "visit_id": "visits",
}


def real(kind):
    known = WORLD["ids"].get(kind) or [str(uuid.UUID(int=DICE.getrandbits(128), version=4))]
    return DICE.choice(known)


def path_ids(case):
    if not case.path_parameters or case.path.endswith(ENDLESS):
        return
    kind = case.path.removeprefix("/v1/").removeprefix("fleet/").split("/")[0]
    for name in case.path_parameters:
        if kind in WORLD["ids"] and DICE.random() < REAL:
            case.path_parameters[name] = real(kind)


def body_ids(value):
    if isinstance(value, dict):
        for name, kind in ID_FIELDS.items():
            if name in value and DICE.random() < REAL:
                value[name] = real(kind)
        for inner in value.values():
            body_ids(inner)
    elif isinstance(value, list):
        for inner in value:
            body_ids(inner)


def spare_voters(case):
    """Nobody takes the quorum away: without one, 503 is the right answer to everything."""
    if case.path.endswith("/raft/remove") and isinstance(case.body, dict):
        if case.body.get("node") in WORLD["voters"]:
            case.body["node"] += 1000


def own_session():
    """A session that the operation under test may end."""
    answer = requests.post(
        WORLD["url"] + "/v1/auth/login", json=WORLD["victim"], timeout=10
    )
    if answer.status_code != 200:
        return WORLD["headers"]
    cookies = "; ".join(f"{c.name}={c.value}" for c in answer.cookies)
    return {"Cookie": cookies, "X-CSRF-Token": answer.json()["csrf_token"]}


@schemathesis.hook
def before_call(context, case, kwargs):
    path_ids(case)
    spare_voters(case)
    if isinstance(case.body, (dict, list)):
        body_ids(case.body)
    headers = case.headers
    if headers is None:
        return
    lower = {name.lower(): name for name in headers}
    if "x-purpose-of-use" in lower and DICE.random() > MADE_UP:
        del headers[lower["x-purpose-of-use"]]
    if "if-match" in lower and DICE.random() > MADE_UP:
        headers[lower["if-match"]] = f'"{DICE.randint(1, 4)}"'
    if "idempotency-key" in lower and DICE.random() > MADE_UP:
        headers[lower["idempotency-key"]] = str(uuid.UUID(int=DICE.getrandbits(128), version=4))
    mine = own_session() if WORLD.get("victim") else WORLD["headers"]
    for name, value in mine.items():
        if name.lower() in lower and DICE.random() < MADE_UP:
            continue
        for known in [known for known in headers if known.lower() == name.lower()]:
            del headers[known]
        headers[name] = value
