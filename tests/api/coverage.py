"""Was every operation of every description asked, and answered with a success?

Judged from what the runs wrote down: `who operation status`, one line for each answer.
"""

import collections
import json

# Nobody here can make what these want; each has tests of its own. Asked all the same.
WITHOUT_SUCCESS = {
    "passkey_add": "an authenticator's signature",
    "passkey_login": "an authenticator's signature",
    "passkey_rename": "a passkey",
    "passkey_remove": "a passkey",
    "oidc_start": "an outside provider",
    "oidc_accept": "an outside provider",
    "oidc_link": "an outside provider",
    "identity_unlink": "an outside provider",
    "job_retry": "a job that failed for good",
    "audit_log_resume": "a log that was cut short",
    "raft_promote": "one more node",
}
# 200 to 399: a redirect is what some routes are for.
SUCCESS = range(200, 400)


def operations(descriptions):
    """Ids of all operations of these descriptions."""
    found = set()
    for path in descriptions:
        document = json.loads(path.read_text(encoding="utf-8"))
        for item in document["paths"].values():
            found |= {operation["operationId"] for operation in item.values()}
    return found


def read(asked_file):
    """Statuses of the runs and of our own steps, by operation."""
    runs, own = collections.defaultdict(collections.Counter), collections.defaultdict(collections.Counter)
    for line in asked_file.read_text(encoding="utf-8").splitlines():
        who, operation, status = line.split()
        (own if who == "own" else runs)[operation][int(status)] += 1
    return runs, own


def answers_of(name, asked_file):
    """How many answers one run had: one without any has asked nothing, however it ended."""
    lines = asked_file.read_text(encoding="utf-8").splitlines() if asked_file.exists() else []
    return sum(line.startswith(f"{name} ") for line in lines)


def succeeded(counts):
    return any(status in SUCCESS for status in counts)


def lacking(known, asked_file):
    """Operations that were not asked, and those without a success; the exempt ones left out."""
    runs, own = read(asked_file)
    unasked = {operation for operation in known if not runs[operation]}
    failed = {operation for operation in known - set(WITHOUT_SUCCESS)
              if not succeeded(runs[operation]) and not succeeded(own[operation])}
    return unasked, failed


def report(known, asked_file, out):
    """Writes what was asked, says what is missing; whether nothing is."""
    runs, own = read(asked_file)
    rows = {operation: {"asked": sum(runs[operation].values()),
                        "answers": dict(sorted(runs[operation].items())),
                        "own_steps": sum(own[operation].values())} for operation in sorted(known)}
    (out / "coverage.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    unasked, failed = lacking(known, asked_file)
    by_own = sorted(operation for operation in known
                    if succeeded(own[operation]) and not succeeded(runs[operation]))
    exempt = sorted(set(WITHOUT_SUCCESS) & known)
    with_success = len(known) - len(failed | {one for one in exempt if not succeeded(runs[one])})
    print(f"operations: {len(known)}, asked: {len(known) - len(unasked)}, with a success: {with_success}, "
          f"exempt: {len(exempt)}; details in {out / 'coverage.json'}")
    if by_own:
        print(f"with a success in steps of our own only: {' '.join(by_own)}")
    for operation in sorted(unasked):
        print(f"never asked: {operation}")
    for operation in sorted(failed):
        print(f"never answered with a success: {operation} {dict(sorted(runs[operation].items()))}")
    for operation in sorted(set(WITHOUT_SUCCESS) - known):
        print(f"exempt, and nowhere described: {operation}")
    return not unasked and not failed and set(WITHOUT_SUCCESS) <= known
