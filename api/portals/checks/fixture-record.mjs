/** Answers about records, credentials and the audit log; part of `fixture.mjs`. They know no rules. */

const JUNE = { id: "01990000-0000-7000-8000-000000000004", display_name: "June Moreau" };
const ROSA = { id: "01990000-0000-7000-8000-000000000001", display_name: "Rosa Delgado" };
const CHEN = { id: "01990000-0000-7000-8000-000000000002", display_name: "Dr. Mei Chen" };
const OKAFOR = { id: "01990000-0000-7000-8000-000000000003", display_name: "Samuel Okafor-Lindqvist" };
const problem = (status, code) => ({ status, body: { type: "about:blank", title: code, status, code, message: code, details: null, request_id: "req-3" } });
const page = (items, next_cursor = null) => ({ body: { items, next_cursor } });
const audited = (person, roles) => ({ ...person, roles });

const TEXT = `I agree that those who care for me at this clinic read and write my record, talk about it with each other, and ask colleagues for advice where my care needs it.

I may withdraw this at any time. What was done before stays done.`;

export function record() {
  return {
    consents: [
      { id: "c2", purpose: "treatment", segment: "general", version: 2, decision: "granted", signed_by: "session", document: "consent/treatment/en/1", recorded_by: ROSA, recorded_at: "2026-09-01T10:00:00Z" },
      { id: "c1", purpose: "treatment", segment: "general", version: 1, decision: "withdrawn", signed_by: "paper", document: "consent/treatment/en/1", proof_sha256: "9f".repeat(32), recorded_by: CHEN, recorded_at: "2026-05-01T10:00:00Z" },
    ],
    disclosures: [
      { id: "x1", disclosed_at: "2026-07-01T08:00:00Z", recipient: "Regional health authority", address: "4 Quay Street, Harbour Town", description: "Result of the measles test", purpose: "Notifiable disease", basis: "public_health", recorded_at: "2026-07-02T09:00:00Z" },
      { id: "x0", disclosed_at: "2025-02-11T15:30:00Z", recipient: "Juan Perez", description: "A letter about another patient in the same envelope", purpose: "Sent by mistake", basis: "breach", recorded_at: "2025-02-12T09:00:00Z" },
    ],
    glass: [
      { id: "g1", patient: ROSA, person: OKAFOR, reason: "Unconscious in the emergency room; allergies must be known before anything is given.", opened_at: "2026-11-20T22:10:00Z", until_at: "2026-11-20T23:10:00Z", version: 1 },
      { id: "g0", patient: ROSA, person: CHEN, reason: "Asked by the ward", opened_at: "2026-10-02T08:10:00Z", until_at: "2026-10-02T09:10:00Z", finding: "unjustified", reviewed_by: OKAFOR, reviewed_at: "2026-10-03T09:00:00Z", version: 2 },
    ],
    officer: { version: 0 },
    rights: { version: 0 },
    copies: [{ id: "x1", patient_id: ROSA.id, state: "ready", requested_at: "2026-11-20T08:00:00Z", ready_at: "2026-11-20T08:00:09Z", expires_at: "2026-11-27T08:00:09Z", json: { size_bytes: 2, signature: "e30..AA" }, fhir: { size_bytes: 2, signature: "e30..AB" } }],
    corrections: [
      { id: "k2", patient: ROSA, what: "The visit of 3 May says left knee. It was the right knee, as the pictures of the same day show.", why: "I was there", requested_at: "2026-11-01T08:00:00Z", due_at: "2026-12-31T08:00:00Z", state: "open", version: 1 },
      { id: "k1", patient: ROSA, what: "My allergy to penicillin is missing", why: "It was found in 2019", requested_at: "2026-07-01T08:00:00Z", due_at: "2026-08-30T08:00:00Z", state: "declined", decided_by: CHEN, decided_at: "2026-08-01T08:00:00Z", reason: "The letter of 2019 speaks of a rash from another cause", version: 2 },
    ],
    credentials: [
      { id: "l1", person: CHEN, kind: "license", profession: "clinician", state: "NY", number: "A-201-77", expires_on: "2027-06-30", status: "pending", submitted_at: "2026-11-01T08:00:00Z", decisions: [], version: 1 },
      { id: "l2", person: CHEN, kind: "npi", number: "1234567893", status: "rejected", submitted_at: "2026-11-01T08:00:00Z", decisions: [{ status: "rejected", decided_at: "2026-11-02T08:00:00Z", decided_by: OKAFOR.id, reason: "The register has another name under this number" }], version: 2 },
      { id: "l3", person: OKAFOR, kind: "dea", state: "CA", number: "AB1234563", expires_on: "2026-01-31", status: "expired", submitted_at: "2024-11-01T08:00:00Z", decisions: [], version: 2 },
    ],
    team: [
      { id: "t1", patient_id: ROSA.id, person: CHEN, role: "clinician", from_at: "2026-03-01T08:00:00Z", version: 1 },
      { id: "t2", patient_id: ROSA.id, person: OKAFOR, role: "nurse", from_at: "2026-03-01T08:00:00Z", until_at: "2027-03-01T08:00:00Z", version: 1 },
    ],
    referrals: [{ id: "r1", patient_id: ROSA.id, from: CHEN, to: OKAFOR, reason: "Second look at the rash on the left arm", created_at: "2026-11-01T08:00:00Z", until_at: "2027-01-30T08:00:00Z", version: 1 }],
  };
}

const ACCESSES = [
  { id: "e1", at: "2026-11-20T22:11:04Z", actor_kind: "person", actor: audited(OKAFOR, ["clinician", "admin"]), action: "visit_read", object_kind: "visit", purpose: "emergency", outcome: "done", break_glass_id: "g1" },
  { id: "e2", at: "2026-11-19T09:30:00Z", actor_kind: "person", actor: audited(CHEN, ["clinician"]), action: "message_create", object_kind: "message", purpose: "treatment", outcome: "done", break_glass_id: null },
  { id: "e3", at: "2026-11-18T12:00:00Z", actor_kind: "person", actor: null, action: "appointment_get", object_kind: "appointment", purpose: "operations", outcome: "refused", break_glass_id: null },
  { id: "e4", at: "2026-11-18T11:00:00Z", actor_kind: "media", actor: null, action: "a_word_added_later", object_kind: "visit", purpose: "operations", outcome: "done", break_glass_id: null },
];

const ENTRIES = ACCESSES.map((access, n) => ({
  ...access, session_id: n % 2 === 0 ? "01990000-0000-7000-8000-0000000000aa" : null, object_id: "01990000-0000-7000-8000-0000000000bb", patient: n === 3 ? { id: ROSA.id, roles: ["patient"] } : audited(ROSA, ["patient"]),
  request_id: "01990000-0000-7000-8000-0000000000cc", ...(n === 0 ? {} : { leaf_index: 48_120 - n }), ...(access.outcome === "refused" ? { action: "denied", denied_action: "appointment_get", denied_reason: "relation" } : {}),
}));

const LOG_KEY = "medmesh/harbour/audit/01990000-0000-7000-8000-0000000000c1+5f3a9c21+AZ3p0Yv7mJt4cXqK8sLwE2rNfU6hBgTzVxD1oCiPjA9k";
const ROOT = "tV9m1Xo2cQy7JfR4sLkE8wNhB3uGpZaD6vKxTqYiC0M=";
const NOTE = `medmesh/harbour/audit/c1\n48120\n${ROOT}\n\n\u2014 medmesh/harbour/audit/c1 Zm9vYmFy\n`;
const HEAD = {
  size: 48_120, root: ROOT, checkpoint: NOTE, witnessed_at: "2026-11-22T10:00:01Z", key: LOG_KEY, notices: ["a notice"],
  outside_witness: { key: "witness.example.org/w1+c8a52f10+BAZ3p0Yv7mJt4cXqK8sLwE2rNfU6hBgTzVxD1oCiPjA9k", signed: { size: 48_001, signed_at: "2026-11-22T09:59:55Z", checkpoint: NOTE }, refused_at: "2026-11-22T10:00:00Z" },
};

/** The answer, or nothing when the path is not about records. */
export function records(method, path, query, who, body, state) {
  const answer = audit(method, path, query, body, state) ?? consent(method, path, who, body, state) ?? glass(method, path, body, state) ?? credentials(method, path, query, who, body, state) ?? rights(method, path, query, body, state);
  if (answer) return answer;
  if (path === "/v1/patients/search") return page(body.q.startsWith("R") ? [{ ...ROSA, roles: ["patient"], active: true }, { ...JUNE, roles: ["patient"], active: true }] : []);
  if (path === `/v1/patients/${JUNE.id}/care-team` || path === `/v1/patients/${JUNE.id}/referrals`) return problem(404, "not_found");
  if (path.endsWith("/care-team")) return page(state.record.team);
  if (path.endsWith("/referrals")) return page(state.record.referrals);
  return null;
}

function audit(method, path, query, body, state) {
  if (path === "/v1/audit") return page(query.get("cursor") ? [] : ENTRIES, query.get("cursor") ? null : "more");
  if (path === "/v1/audit/head") return { body: HEAD };
  if (path === "/v1/audit/consistency") return query.get("from") > HEAD.size ? problem(409, "audit_head_pending") : { body: { from_size: Number(query.get("from")), to_size: HEAD.size, path: [], checkpoint: NOTE, key: LOG_KEY, notices: [] } };
  if (path === "/v1/audit/e1/proof") return problem(409, "audit_head_pending");
  if (path === "/v1/audit/e2/proof") return problem(409, "audit_leaf_altered");
  if (path.startsWith("/v1/audit/") && path.endsWith("/proof")) return { body: { leaf_index: 1, path: [], checkpoint: NOTE, key: LOG_KEY } };
  if (path === "/v1/audit/export") return state.fresh ? { body: "at,actor\n" } : problem(403, "step_up_required");
  if (path.endsWith("/accesses")) return page(ACCESSES);
  if (path.endsWith("/disclosures")) {
    if (method === "GET") return page(state.record.disclosures);
    if (body.basis === "required_by_law") return problem(422, "unprocessable");
    state.record.disclosures.unshift({ ...body, id: `x${Math.random()}`, recorded_at: new Date().toISOString() });
    return { status: 201, body: state.record.disclosures[0] };
  }
  return null;
}

function consent(method, path, who, body, state) {
  if (path === "/v1/consent-text") return { body: { document: "consent/treatment/en/1", text: TEXT, text_sha256: "0".repeat(64) } };
  if (!path.endsWith("/consents")) return null;
  if (method === "GET") return page(state.record.consents);
  if (body.decision === "withdrawn" && !state.record.told) {
    state.record.told = true;
    return problem(409, "state_conflict");
  }
  if (body.document === "unknown") return problem(422, "unprocessable");
  const { purpose, segment, decision, signed_by, document, proof_sha256 } = body;
  const version = 1 + state.record.consents.filter((consent) => consent.purpose === purpose && consent.segment === segment).length;
  const next = { id: `c${Math.random()}`, purpose, segment, version, decision, signed_by, document, proof_sha256, recorded_by: who[0], recorded_at: new Date().toISOString() };
  state.record.consents.unshift(next);
  return { status: 201, body: next };
}

function glass(method, path, body, state) {
  if (path === "/v1/privacy-officer") {
    if (method === "PUT") state.record.officer = { person: [CHEN, OKAFOR].find(({ id }) => id === body.person_id) ?? { id: body.person_id, display_name: "Alex Rivera" }, named_at: new Date().toISOString(), version: 1 };
    return { body: state.record.officer };
  }
  if (path === "/v1/break-glass") return state.record.officer.version === 0 ? problem(403, "forbidden") : page(state.record.glass);
  if (path.endsWith("/review")) return problem(412, "version_mismatch");
  if (!path.endsWith("/break-glass")) return null;
  if (method === "GET") return page(state.record.glass);
  return { status: 201, body: { ...state.record.glass[0], id: "g9", reason: body.reason, until_at: "2026-11-22T23:00:00Z" } };
}

function credentials(method, path, query, who, body, state) {
  if (path === "/v1/credentials/mine") return { body: { items: state.record.credentials.filter((credential) => credential.person.id === who[0].id) } };
  if (path === "/v1/credentials" && method === "POST") return body.kind === "npi" ? problem(422, "unprocessable") : { status: 201, body: state.record.credentials[0] };
  if (path === "/v1/credentials") return page(state.record.credentials.filter((credential) => !query.get("status") || credential.status === query.get("status")));
  const verb = /^\/v1\/credentials\/([^/]+)\/(verify|reject|withdraw)$/.exec(path);
  if (!verb) return null;
  const credential = state.record.credentials.find(({ id }) => id === verb[1]);
  credential.status = { verify: "verified", reject: "rejected", withdraw: "withdrawn" }[verb[2]];
  return { body: credential };
}

function rights(method, path, query, body, state) {
  const { record } = state;
  if (path.endsWith("/rights")) {
    if (method === "PUT") record.rights = { version: 1, ...(body.restricted ? { restricted_at: new Date().toISOString() } : {}) };
    return { body: record.rights };
  }
  if (path.endsWith("/exports")) {
    if (method === "GET") return page(record.copies);
    if (!state.fresh) return problem(403, "step_up_required");
    if (record.copies.length > 1) return problem(409, "state_conflict");
    record.copies.unshift({ id: "x2", patient_id: ROSA.id, state: "queued", requested_at: new Date().toISOString() });
    return { status: 201, body: record.copies[0] };
  }
  if (path.endsWith("/content")) return { body: "{}" };
  if (path === "/v1/corrections") return page(record.corrections.filter(({ state: known }) => !query.get("state") || known === query.get("state")));
  if (path.endsWith("/corrections")) {
    if (method === "GET") return page(record.corrections);
    record.corrections.unshift({ ...record.corrections[0], ...body, id: `k${Math.random()}`, requested_at: new Date().toISOString() });
    return { status: 201, body: record.corrections[0] };
  }
  const verb = /^\/v1\/corrections\/([^/]+)\/(accept|decline|disagree)$/.exec(path);
  if (!verb) return null;
  const correction = record.corrections.find(({ id }) => id === verb[1]);
  if (verb[2] === "accept") return problem(412, "version_mismatch");
  if (verb[2] === "disagree") correction.disagreement = { statement: body.statement, at: new Date().toISOString() };
  else Object.assign(correction, { state: "declined", decided_by: CHEN, decided_at: new Date().toISOString(), reason: body.reason });
  return { body: correction };
}
