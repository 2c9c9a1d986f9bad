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

import good

WORLD = json.load(open(os.environ["MEDMESH_FUZZ_WORLD"], encoding="utf-8"))
# Seeded: the same requests for the same seed and the same answers.
DICE = random.Random(WORLD["seed"])
# How often a made-up id is replaced by one that exists; the rest stays what the fuzzer thought of.
REAL = 0.7
# How often a header stays made up: a purpose of use refuses most requests by itself.
MADE_UP = 0.05
# How often a body is one that is good.
GOOD = 0.35
# What was created or listed during any run: kind, id, version.
LEARNED_MAX = 200
# A stream of events never ends, so that nobody real listens to one.
ENDLESS = "/events"
ID_FIELDS = {
    "patient_id": "patients",
    "clinician_id": "clinicians",
    "person_id": "people",
    "visit_id": "visits",
}


VERSIONS = {}


def learn(kind, thing):
    """Remembers something that exists, here and for the runs that follow."""
    if not isinstance(thing, dict) or not isinstance(thing.get("id"), str):
        return
    if isinstance(thing.get("version"), int):
        VERSIONS[thing["id"]] = thing["version"]
    known = WORLD["ids"].setdefault(kind, [])
    if thing["id"] not in known and len(known) < LEARNED_MAX:
        known.append(thing["id"])
        with open(WORLD["learned"], "a", encoding="utf-8") as file:
            file.write(json.dumps([kind, thing["id"], thing.get("version")]) + "\n")


def recall():
    """What earlier runs learned."""
    if not os.path.exists(WORLD["learned"]):
        return
    with open(WORLD["learned"], encoding="utf-8") as file:
        for line in file:
            kind, thing, version = json.loads(line)
            known = WORLD["ids"].setdefault(kind, [])
            if thing not in known:
                known.append(thing)
            if version is not None:
                VERSIONS[thing] = version


recall()


def real(kind):
    known = WORLD["ids"].get(kind) or [str(uuid.UUID(int=DICE.getrandbits(128), version=4))]
    return DICE.choice(known)


def segments(case):
    """What stands before each parameter of a path: `patients` before `{id}`."""
    parts = case.operation.path.strip("/").split("/")
    return {part[1:-1]: parts[at - 1] for at, part in enumerate(parts) if part.startswith("{") and at > 0}


def path_ids(case):
    if not case.path_parameters or case.path.endswith(ENDLESS):
        return
    for name, kind in segments(case).items():
        # A clinic stands behind `audit`, and so does one entry of its log.
        kind = {"clinic": "clinics", "leaf": "audit"}.get(name, kind)
        if name in case.path_parameters and WORLD["ids"].get(kind) and DICE.random() < REAL:
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


def spare_visit(case):
    """The open visit is over only now and then: most operations of visits need one that is not."""
    ends = operation_of(case) in ("visit_end", "appointment_cancel")
    if ends and (case.path_parameters or {}).get("id") == WORLD.get("live") and DICE.random() > MADE_UP:
        case.path_parameters["id"] = str(uuid.UUID(int=DICE.getrandbits(128), version=4))


def spare_network(case):
    """A node that is thought up is looked for on this machine, and nowhere else."""
    if isinstance(case.body, dict) and ":" in str(case.body.get("link_address")):
        case.body["link_address"] = "127.0.0.1:9"


def spare_people(case):
    """Whoever a run is made as stays who they are: not shut out, not erased."""
    if not isinstance(case.body, dict) or (case.path_parameters or {}).get("id") not in WORLD["spared"]:
        return
    if case.body.get("erasure") is True:
        case.body["erasure"] = False
    if operation_of(case) == "person_update":
        case.path_parameters["id"] = str(uuid.UUID(int=DICE.getrandbits(128), version=4))


def own_session():
    """A session that the operation under test may end."""
    victim = WORLD["victim"]
    given = {key: victim[key] for key in ("email", "password")}
    answer = requests.post(WORLD["url"] + "/v1/auth/login", json=given, headers=victim["device"], timeout=10)
    if answer.status_code != 200:
        return WORLD["headers"]
    cookies = "; ".join(f"{c.name}={c.value}" for c in answer.cookies)
    return {"Cookie": cookies, "X-CSRF-Token": answer.json()["csrf_token"]}


def operation_of(case):
    return case.operation.definition.raw["operationId"]


@schemathesis.hook
def after_call(context, case, response):
    """Writes down what was asked and answered, and learns what exists."""
    with open(WORLD["asked"], "a", encoding="utf-8") as file:
        file.write(f"{WORLD['name']} {operation_of(case)} {response.status_code}\n")
    if operation_of(case) == "password_change" and response.status_code == 204:
        WORLD["victim"]["password"] = case.body["password"]
    if not 200 <= response.status_code < 300 or "json" not in (response.headers.get("content-type") or [""])[0]:
        return
    try:
        said = response.json()
    except ValueError:
        return
    parts = [part for part in case.operation.path.strip("/").split("/") if not part.startswith("{")]
    if isinstance(said, dict):
        # What there is one of in a clinic has a version and no id.
        if isinstance(said.get("version"), int) and not case.path_parameters:
            VERSIONS[case.operation.path] = said["version"]
        for one in said.get("participants") or []:
            learn("participants", {"id": one.get("participant_id")} if isinstance(one, dict) else one)
        for one in said.get("rooms") or []:
            learn("rooms", one)
    if isinstance(said, dict) and isinstance(said.get("items"), list):
        for one in said["items"]:
            learn(parts[-1], one)
    elif case.operation.method.lower() == "post" and not case.operation.path.endswith("}"):
        learn(parts[-1] if response.status_code == 201 else parts[-2], said)
    elif isinstance(said, dict):
        learn(parts[-1], said)


@schemathesis.hook
def before_call(context, case, kwargs):
    path_ids(case)
    operation = operation_of(case)
    if operation in good.BODIES and DICE.random() < GOOD:
        case.body = good.BODIES[operation](real, DICE)
    spare_voters(case)
    spare_network(case)
    spare_visit(case)
    spare_people(case)
    if isinstance(case.body, (dict, list)):
        body_ids(case.body)
    headers = case.headers
    if headers is None:
        return
    lower = {name.lower(): name for name in headers}
    if "x-purpose-of-use" in lower and DICE.random() > MADE_UP:
        del headers[lower["x-purpose-of-use"]]
    if "if-match" in lower and DICE.random() > MADE_UP:
        named = [*(case.path_parameters or {}).values(), case.operation.path]
        versions = [VERSIONS[one] for one in named if one in VERSIONS]
        headers[lower["if-match"]] = f'"{DICE.choice([*versions, *versions, DICE.randint(0, 4)])}"'
    if "idempotency-key" in lower and DICE.random() > MADE_UP:
        headers[lower["idempotency-key"]] = str(uuid.UUID(int=DICE.getrandbits(128), version=4))
    mine = own_session() if WORLD.get("victim") else WORLD["headers"]
    for name, value in mine.items():
        if name.lower() in lower and DICE.random() < MADE_UP:
            continue
        for known in [known for known in headers if known.lower() == name.lower()]:
            del headers[known]
        headers[name] = value
