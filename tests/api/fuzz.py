"""Runs the whole system and lets schemathesis ask every operation of its two descriptions.

Nothing may be answered with a 5xx, with a status or in a form that the description does not know.
Each role goes through clinic.json with a session of its own, a machine with its token; the operator
through fleet.json. At the end every operation was asked, and answered with a success at least once.

    fuzz.py MEDMESH PORTALS OUT [EXAMPLES]
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import requests

import coverage
import people
import post
import steps

SEED = int(os.environ.get("FUZZ_API_SEED", "20260"))
HERE = pathlib.Path(__file__).resolve().parent
OPENAPI = HERE.parent.parent / "api" / "openapi"
# A stream of events is text to its schema, whose events are objects to ours.
EVENTS = ["visit_events"]
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# Whoever runs these ends the session, takes a factor away that the others need, or guesses at one until nobody may.
ENDS_SESSION = [
    "auth_logout",
    "password_change",
    "session_revoke",
    "session_revoke_others",
    "totp_remove",
    "totp_begin",
    "totp_confirm",
    "recovery_codes_replace",
    "mfa_verify",
    "step_up",
]
# How often the open visit stands among the ids of visits.
LIVE_SHARE = 4
# Membership of the quorum is changed by the last run only, when nothing else needs it.
MEMBERSHIP = ["raft_add_learner", "raft_promote", "raft_remove"]
START_SECONDS = 120
# One run may take this long; what is not asked by then is not asked, and said so.
RUN_SECONDS = int(os.environ.get("FUZZ_API_SECONDS", "40"))


def gather_ids(url, clinician, admin, system):
    """Ids that exist, by the word their paths begin with."""
    def items(path, headers):
        answer = requests.get(url + path, headers=headers, timeout=10)
        answer.raise_for_status()
        return answer.json()["items"]

    people_listed = items("/v1/people", admin)
    appointments = items("/v1/appointments", clinician)
    visits = {item["visit_id"] for item in appointments if item.get("visit_id")}
    return {
        "people": [one["id"] for one in people_listed],
        "patients": [one["id"] for one in people_listed if "patient" in one["roles"]],
        "clinicians": [one["id"] for one in people_listed if "clinician" in one["roles"]],
        "appointments": [one["id"] for one in appointments],
        "visits": sorted(visits | {system["visit_id"]}),
        "audit": [one["id"] for one in items("/v1/audit", admin)],
        "admins": [one["id"] for one in people_listed if "admin" in one["roles"]],
        "clinics": [requests.get(url + "/v1/auth/session", headers=admin, timeout=10).json()["clinic"]["id"]],
    }


def run(name, description, world, out, examples, include=(), exclude=(), checks=CHECKS):
    """One run of schemathesis; gives how it ended."""
    world = world | {"name": name, "asked": str(out / "asked.txt"), "learned": str(out / "learned.txt")}
    world_file = out / f"{name}.world.json"
    world_file.write_text(json.dumps(world), encoding="utf-8")
    world_file.chmod(0o600)
    command = [
        str(pathlib.Path(sys.executable).parent / "schemathesis"), "run", str(OPENAPI / description),
        "--url", world["url"], "--checks", checks, "--seed", str(SEED), "--max-examples", str(examples),
        "--phases", "examples,coverage,fuzzing", "--request-timeout", "20", "--max-time", str(RUN_SECONDS),
        "--continue-on-failure", "--no-shrink", "--suppress-health-check", "all", "--warnings", "off",
    ]
    for operation in include:
        command += ["--include-operation-id", operation]
    for operation in exclude:
        command += ["--exclude-operation-id", operation]
    environment = os.environ | {
        "MEDMESH_FUZZ_WORLD": str(world_file),
        "SCHEMATHESIS_HOOKS": "hooks",
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    log = out / f"{name}.log"
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        ended = subprocess.run(command, env=environment, cwd=out, stdout=file, stderr=subprocess.STDOUT,
                               check=False)
    world_file.unlink()
    asked = coverage.answers_of(name, out / "asked.txt")
    good = ended.returncode == 0 and asked > 0
    verdict = "ok" if good else f"FAILED, see {log}"
    print(f"{name:<24} {time.monotonic() - started:5.0f} s {asked:6} answers  {verdict}", flush=True)
    return good


def metric(system, name):
    """The lines of one metric on all nodes."""
    found = []
    for node in system["controls"]:
        text = requests.get(node["admin"] + "/metrics", timeout=10).text
        found += [line for line in text.splitlines() if line.startswith(name + "{")]
    return found


def statuses(system):
    """How many answers of each status the nodes gave."""
    counts = {}
    for line in metric(system, "medmesh_http_requests_total"):
        status = line.split('status="')[1].split('"')[0]
        counts[status] = counts.get(status, 0) + int(float(line.rsplit(" ", 1)[1]))
    return dict(sorted(counts.items()))


def unhurried(medmesh, out, office):
    """The programs with control nodes that send mail, and let anybody ask as often as they like: limits are for
    others, and would hide everything behind them. A program looks for the others beside itself, so that it is a hard link."""
    programs = out / "programs"
    shutil.rmtree(programs, ignore_errors=True)
    programs.mkdir()
    for name in ("medmesh", "medmesh-edge"):
        os.link(medmesh.with_name(name), programs / name)
    control = programs / "medmesh-control"
    # Only here: an edge refuses to start with a setting that is not its own.
    settings = {"MEDMESH_LIMITS__SCALE": "1000"} | office.settings()
    told = " ".join(f"{name}={value}" for name, value in settings.items())
    control.write_text(f'#!/bin/sh\n{told} exec "{medmesh.with_name("medmesh-control")}" "$@"\n', encoding="utf-8")
    control.chmod(0o755)
    return str(programs / "medmesh")


def start(medmesh, portals, out, office):
    system_file = out / "system.json"
    system_file.unlink(missing_ok=True)
    demo = subprocess.Popen(
        [unhurried(pathlib.Path(medmesh), out, office), "demo", "--ephemeral", "--portals", portals,
         "--system-file", str(system_file)],
        stdout=(out / "demo.log").open("w"), stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + START_SECONDS
    while not system_file.exists():
        if demo.poll() is not None or time.monotonic() > deadline:
            demo.kill()
            sys.exit(f"the system did not start, see {out / 'demo.log'}")
        time.sleep(0.2)
    return demo, json.loads(system_file.read_text(encoding="utf-8"))


def everything(system, office, medmesh, out, examples):
    url, logins = system["portal_url"], system["logins"]
    asked = people.Asked(out / "asked.txt")
    known = {name: steps.Person(asked, url, logins[name]) for name in ("admin", "patient", "patient2", "clinician")}
    admin = known["admin"]
    admin.fresh()
    steps.settle(admin, office)
    for name, role in people.STAFF.items():
        known[name] = steps.Person(asked, url, people.staff(asked, url, admin.headers, role))
    token = people.machine(asked, url, admin.headers, medmesh, out)
    for name in ("patient", "patient2", "clinician"):
        known[name].fresh()
    ids = gather_ids(url, known["clinician"].headers, admin.headers, system)
    live = steps.Visits(known["clinician"], known["patient"], ids["clinicians"][-1])
    live.make_room()
    steps.disagree(known["patient"], admin)
    spared = [who.id() for who in known.values()]
    world = World(url, ids, spared, [node["id"] for node in system["controls"]], live, known, token)
    good = True
    forms = CHECKS.replace(",response_schema_conformance", "")
    good &= run("events", "clinic.json", world.of("clinician"), out, min(examples, 10), include=EVENTS, checks=forms)
    steps.settle_factors(known["patient2"], office)
    victim = {key: logins["patient2"][key] for key in ("email", "password")} | {"device": known["patient2"].device}
    good &= run("session-ends", "clinic.json", world.of(None) | {"victim": victim}, out,
                min(examples, 20), include=ENDS_SESSION)
    # The admin last: what an admin changes, everybody else would feel.
    for name in ("patient", "clinician", *people.STAFF, "machine", "admin"):
        good &= run(name, "clinic.json", world.of(name), out, examples, exclude=ENDS_SESSION + EVENTS)
    good &= run("stranger", "clinic.json", world.of(None), out, min(examples, 15))
    # Before the operator's, who closes edges and takes them away.
    good &= rest(world, ("admin", "clinician", "patient"), "clinic.json", out, examples)
    bearer = pathlib.Path(system["operator_token_file"]).read_text(encoding="utf-8").strip()
    world.tokens["operator"] = {"Authorization": f"Bearer {bearer}"}
    good &= run("operator", "fleet.json", world.of("operator"), out, examples, exclude=MEMBERSHIP)
    good &= rest(world, ("operator",), "fleet.json", out, examples)
    good &= run("operator-membership", "fleet.json", world.of("operator"), out, min(examples, 20), include=MEMBERSHIP)
    good &= coverage.report(coverage.operations(sorted(OPENAPI.glob("*.json"))), out / "asked.txt", out)
    print(f"answers by status: {statuses(system)}")
    for line in metric(system, "medmesh_http_undescribed_total"):
        print(f"not in the description: {line}")
        good = False
    return good


class World:
    """What every run is told: who asks, with a session of this moment, and what there is, with a visit that is open."""

    def __init__(self, url, ids, spared, voters, live, known, token):
        self.told = {"url": url, "seed": SEED, "spared": spared, "voters": voters}
        self.ids, self.live, self.known, self.tokens = ids, live, known, {"machine": token}

    def of(self, name):
        """For a run as this person, machine or operator; as nobody without a name."""
        if name is None:
            return self.told | {"headers": {}, "ids": self.ids}
        if name in self.tokens:
            headers = self.tokens[name]
        else:
            headers = self.known[name].fresh()
        for keeper in (self.live.clinician, self.live.patient):
            keeper.renew()
        visit, participants = self.live.open()
        # Those that are over stay known; most requests shall be to the one that is not.
        ids = self.ids | {"visits": [visit] * LIVE_SHARE + self.ids["visits"], "participants": participants}
        return self.told | {"headers": headers, "ids": ids, "live": visit}


def rest(world, names, description, out, examples):
    """What the runs had no time for, or had no luck with: asked again, by whoever may."""
    good, asked = True, out / "asked.txt"
    known = coverage.operations([OPENAPI / description]) - set(ENDS_SESSION + EVENTS + MEMBERSHIP)
    for name in names:
        unasked, failed = coverage.lacking(known, asked)
        left = sorted(unasked | failed)
        if left:
            print(f"once more as {name}: {' '.join(left)}", flush=True)
            good &= run(f"{name}-again", description, world.of(name), out, examples, include=left)
    return good


def main():
    medmesh, portals, out = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    examples = int(sys.argv[4]) if len(sys.argv) > 4 else 40
    out.mkdir(parents=True, exist_ok=True)
    for name in ("asked.txt", "learned.txt"):
        (out / name).unlink(missing_ok=True)
    office = post.Office()
    demo, system = start(medmesh, portals, out, office)
    try:
        good = everything(system, office, medmesh, out, examples)
    finally:
        demo.send_signal(signal.SIGTERM)
        demo.wait(timeout=60)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
