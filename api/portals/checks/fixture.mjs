/**
 * Contract-shaped answers for checks of layout and accessibility only: the built pages under the real content policy, one
 * patient, one clinician, one admin, one day of visits. It knows no rules; what the service does is tested against the service.
 */
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { NONCE_MARK } from "../scripts/portals.mjs";
import { account, passkeys } from "./fixture-account.mjs";
import { record, records } from "./fixture-record.mjs";
import { systems } from "./fixture-systems.mjs";

const DIST = fileURLToPath(new URL("../dist", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2" };

/** The policy of the service (`control-plane/src/http/portals/shell.rs`), for an edge that stands nowhere. */
const policyWith = (nonce) => [
  "default-src 'none'", `script-src 'nonce-${nonce}'`, `style-src 'nonce-${nonce}'`, "img-src 'self' data: blob:", "font-src 'self'", "media-src 'self' blob:",
  "worker-src 'self'", "manifest-src 'self'", "connect-src 'self' http://edge.invalid http://other-edge.invalid http://third-edge.invalid",
  "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
].join("; ");

const person = (id, display_name) => ({ id, display_name });
const ROSA = person("01990000-0000-7000-8000-000000000001", "Rosa Delgado");
const CHEN = person("01990000-0000-7000-8000-000000000002", "Dr. Mei Chen");
const OKAFOR = person("01990000-0000-7000-8000-000000000003", "Samuel Okafor-Lindqvist");
const JUNE = person("01990000-0000-7000-8000-000000000004", "June Moreau");
const ADMIN = person("01990000-0000-7000-8000-000000000005", "Alex Whitfield");
const CLINIC = { id: "01990000-0000-7000-8000-0000000000c1", name: "Harbour Street Clinic", time_zone: "Europe/Madrid" };
const PEOPLE = [
  { ...ROSA, email: "rosa@example.org", roles: ["patient"], active: true, version: 1 },
  { ...CHEN, email: "chen@example.org", roles: ["clinician"], active: true, version: 1 },
  { ...OKAFOR, email: "samuel.okafor.lindqvist@example.org", roles: ["clinician", "admin"], active: true, version: 1 },
  { ...JUNE, email: "june@example.org", roles: ["patient"], active: false, version: 1 },
  { ...ADMIN, email: "alex@example.org", roles: ["admin"], active: true, version: 1 },
];
/** Somebody who has a second factor, and somebody who must set one up. */
const VERA = person("01990000-0000-7000-8000-000000000006", "Vera Lindholm");
const ELIAS = person("01990000-0000-7000-8000-000000000007", "Elias Brandt");
/** Those who nurse, book and audit, each nothing else. */
const NINA = person("01990000-0000-7000-8000-000000000008", "Nina Halvorsen-Achterberg");
const SAM = person("01990000-0000-7000-8000-000000000009", "Sam Ibarra");
export const AUDITOR = person("01990000-0000-7000-8000-00000000000a", "Ana Katz");
const LOGINS = {
  "nina@example.org": [NINA, ["nurse"]], "sam@example.org": [SAM, ["scheduler"]], "ana@example.org": [AUDITOR, ["auditor"]],
  "vera@example.org": [VERA, ["clinician"], "mfa_required"], "elias@example.org": [ELIAS, ["admin"], "mfa_enrolment_required"],
  "rosa@example.org": [ROSA, ["patient"]], "chen@example.org": [CHEN, ["clinician"]], "alex@example.org": [ADMIN, ["admin"]] };

const today = new Date().toISOString().slice(0, 10);
const at = (time) => `${today}T${time}:00Z`;
export const PARTICIPANTS = { patient: "a1", clinician: "a2", guest: "a3" };

function visits() {
  const visit = (id, from, to, state, participants) => ({ id, appointment_id: `ap-${id}`, starts_at: at(from), ends_at: at(to), state, participants, version: 1 });
  const part = (participant_id, who, role, state) => ({ participant_id, person: who, role, state });
  return [
    visit("v0", "08:00", "08:30", "ended", [part("b1", JUNE, "patient", "left"), part("b2", CHEN, "clinician", "left")]),
    visit("v1", "09:30", "10:00", "scheduled", [
      part(PARTICIPANTS.patient, ROSA, "patient", "expected"), part(PARTICIPANTS.clinician, CHEN, "clinician", "expected"),
      part(PARTICIPANTS.guest, OKAFOR, "guest", "expected"),
    ]),
    visit("v2", "11:00", "11:20", "scheduled", [part("c1", JUNE, "patient", "expected"), part("c2", CHEN, "clinician", "expected")]),
  ];
}

function appointments() {
  const row = (id, patient, clinician, from, to, status) => ({ id, visit_id: id, patient, clinician, starts_at: from, ends_at: to, status, version: 1 });
  const later = new Date(Date.now() + 3 * 86_400_000).toISOString();
  return [
    row("ap-v1", ROSA, CHEN, at("09:30"), at("10:00"), "booked"),
    row("ap-2", JUNE, OKAFOR, at("11:00"), at("11:20"), "cancelled"),
    row("ap-3", ROSA, OKAFOR, later, later, "booked"),
  ];
}

/** Starts on a free port of the loopback. `handlers` may be changed by a check while it runs. */
export async function startFixture({ locale = "en" } = {}) {
  const state = { visits: visits(), messages: [], streams: new Set(), fresh: false, signalled: 0, edges: null, passkeys: passkeys(), record: record(), clinic: { ...CLINIC, home_region: "eu-south", media_regions: ["eu-south", "eu-west"], self_registration: true, version: 1 } };
  state.sessionOf = sessionOf;
  const sessions = new Map();

  const api = async (method, path, query, body, cookie) => {
    const who = sessions.get(cookie);
    if (path === "/v1/auth/login") {
      const login = LOGINS[body.email];
      if (!login || body.password !== "correct horse battery") return problem(401, "login_failed");
      const token = `s${sessions.size + 1}`;
      sessions.set(token, login);
      return { body: sessionOf(login, locale), cookie: token };
    }
    if (path === "/v1/auth/oidc/offers") return { body: { items: [{ clinic_id: CLINIC.id, clinic_name: CLINIC.name }] } };
    if (path === "/v1/auth/reset") return { status: 202 };
    if (path === "/v1/auth/link") return body.token === "good" ? { status: 204 } : problem(410, "link_spent");
    if (path === "/v1/auth/registration") return { status: 202 };
    if (path === "/v1/auth/registration/complete") return body.token === "good" ? { status: 204 } : problem(410, "link_spent");
    if (!who) return problem(401, "unauthenticated");
    const mine = account(method, path, who, body, state, locale);
    if (mine) return mine;
    const about = records(method, path, query, who, body, state);
    if (about) return about;
    const machines = systems(method, path, body);
    if (machines) return machines;
    if (path === "/v1/auth/mfa/verify") return problem(401, "second_factor_refused");
    if (path === "/v1/auth/mfa/totp") return { body: { secret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", uri: "otpauth://totp/Harbour%20Street%20Clinic:Elias%20Brandt?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Harbour%20Street%20Clinic&algorithm=SHA1&digits=6&period=30" } };
    if (path === "/v1/auth/mfa/totp/confirm") {
      if (body.code !== "123456") return problem(401, "second_factor_refused");
      return { body: { session: sessionOf(who.slice(0, 2), locale), recovery_codes: Array.from({ length: 10 }, (_, n) => `7K2M-9QX4-${1000 + n}-TBVZ-8HNR-5WJC`) } };
    }
    if (path === "/v1/auth/session") return { body: sessionOf(who, locale) };
    if (path === "/v1/auth/logout") {
      sessions.delete(cookie);
      return { status: 204 };
    }
    if (path === "/v1/clinic") return method === "PATCH" ? { body: Object.assign(state.clinic, body, { version: state.clinic.version + 1 }) } : { body: state.clinic };
    if (path === "/v1/invitations") return { status: 201, body: { person: { id: "p9", display_name: body.display_name, email: body.email, roles: body.roles, active: true, version: 1 }, link: { url: `${"https://clinic.example/patient/"}#set-password=${"k7".repeat(21)}x`, expires_at: at("23:00") } } };
    if (path === "/v1/people") return { body: { items: query.get("role") ? PEOPLE.filter((p) => p.roles.includes(query.get("role"))) : PEOPLE, next_cursor: null } };
    if (path.startsWith("/v1/people/") && method === "PATCH") return problem(409, "state_conflict");
    if (path === "/v1/appointments") return method === "POST" ? problem(409, "slot_taken") : { body: { items: appointments(), next_cursor: null } };
    if (path.startsWith("/v1/appointments/")) return { body: appointments()[0], etag: '"1"' };
    if (path === "/v1/visits/pulses") return { body: { items: state.visits.filter((visit) => seenBy(visit, who).you).map(({ id, version }) => ({ id, pulse: version })) } };
    if (path === "/v1/visits") return { body: { items: state.visits.map((visit) => seenBy(visit, who)).filter((visit) => visit.you) } };
    if (path === "/v1/signaling/candidates") return { body: { edges: [] } };
    if (path === "/v1/signaling/session") {
      const visit = state.visits.find((candidate) => candidate.id === body.visit_id);
      state.signalled += 1;
      const edges = state.edges ?? [
        { id: "e1", name: "madrid-1", region: "eu-south", whip_url: "http://edge.invalid/v1/whip" },
        { id: "e2", name: "paris-1", region: "eu-west", whip_url: "http://other-edge.invalid/v1/whip" },
      ];
      return { status: 201, body: { room_id: "r1", participant_id: seenBy(visit, who).you, epoch: 1, join_token: "join", resume_token: "resume", resume_expires_at: at("23:00"), edges, ice_servers: [] } };
    }
    const match = /^\/v1\/visits\/([^/]+)(?:\/(.+))?$/.exec(path);
    const visit = match && state.visits.find((candidate) => candidate.id === match[1]);
    if (!visit) return problem(404, "not_found");
    return visitAction(method, match[2], visit, who, body);
  };

  const visitAction = (method, action, visit, who, body) => {
    const you = visit.participants.find((participant) => participant.person.id === who[0].id);
    if (action === "messages" && method === "POST") {
      const message = { id: `m${state.messages.length + 1}`, participant_id: you.participant_id, body: body.body, sent_at: new Date().toISOString() };
      state.messages.push(message);
      broadcast(visit.id, "message", message, message.id);
      return { status: 201, body: message };
    }
    if (action === "messages") return { body: { items: state.messages } };
    if (action === "check-in") you.state = "waiting";
    if (action === "open") visit.state = "open";
    if (action === "end") visit.state = "ended";
    if (action === "admit") visit.participants.find((participant) => participant.participant_id === body.participant_id).state = "admitted";
    if (action !== undefined) change(visit);
    return { body: seenBy(visit, who) };
  };

  const change = (visit) => {
    visit.version += 1;
    broadcast(visit.id, "visit", visit, null);
  };

  const broadcast = (visitId, event, data, id) => {
    for (const stream of state.streams) {
      if (stream.visitId !== visitId) continue;
      const shown = event === "visit" ? seenBy(data, stream.who) : data;
      stream.response.write(`event: ${event}\n${id === null ? "" : `id: ${id}\n`}data: ${JSON.stringify(shown)}\n\n`);
    }
  };

  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://localhost");
    const cookie = /session=([^;]+)/.exec(request.headers.cookie ?? "")?.[1];
    if (!/^\/(v1|\.well-known)\//.test(url.pathname)) return page(url.pathname, response);
    const events = /^\/v1\/visits\/([^/]+)\/events$/.exec(url.pathname);
    if (events && sessions.has(cookie)) {
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.write("event: ping\ndata: {}\n\n");
      const stream = { visitId: events[1], who: sessions.get(cookie), response };
      const send = (event, id, data) => response.write(`event: ${event}\n${id}data: ${JSON.stringify(data)}\n\n`);
      const visit = state.visits.find((candidate) => candidate.id === events[1]);
      if (visit && Number(url.searchParams.get("seen")) !== visit.version) send("visit", "", seenBy(visit, stream.who));
      const last = state.messages.findIndex((message) => message.id === request.headers["last-event-id"]);
      for (const message of state.messages.slice(last + 1)) send("message", `id: ${message.id}\n`, message);
      state.streams.add(stream);
      request.on("close", () => state.streams.delete(stream));
      return;
    }
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const answer = await api(request.method, url.pathname, url.searchParams, text === "" ? {} : JSON.parse(text), cookie);
    const headers = { "Content-Type": answer.status >= 400 ? "application/problem+json" : "application/json", "Cache-Control": "no-store" };
    if (answer.etag) headers.ETag = answer.etag;
    if (answer.cookie) headers["Set-Cookie"] = `session=${answer.cookie}; HttpOnly; SameSite=Strict; Path=/`;
    response.writeHead(answer.status ?? 200, headers);
    response.end(answer.body === undefined ? undefined : JSON.stringify(answer.body));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    state,
    change,
    say(participant_id, body) {
      const message = { id: `m${state.messages.length + 1}`, participant_id, body, sent_at: new Date().toISOString() };
      state.messages.push(message);
      broadcast("v1", "message", message, message.id);
    },
    stop() {
      for (const stream of state.streams) stream.response.end();
      server.closeAllConnections();
      return new Promise((done) => server.close(done));
    },
  };
}

const sessionOf = ([who, roles, standing = "full"], locale) => ({
  person: { ...who, roles, awaiting_credentials: who === CHEN ? ["clinician"] : [] }, clinic: CLINIC, csrf_token: "csrf", idle_timeout_seconds: 900, locale,
  standing, second_factors: standing === "mfa_enrolment_required" ? [] : ["totp", "passkey", "recovery_code"],
});
const problem = (status, code) => ({ status, body: { type: "about:blank", title: code, status, code, message: code, details: null, request_id: "req-1" } });
const seenBy = (visit, who) => ({ ...visit, you: visit.participants.find((participant) => participant.person.id === who[0].id)?.participant_id ?? null });

async function page(path, response) {
  const portal = /^\/(patient|clinician|admin)(?:\/|$)/.exec(path)?.[1];
  const file = extname(path) === "" ? join(DIST, portal ?? "home", "index.html") : join(DIST, portal === undefined ? "home" : "", path);
  try {
    const content = await readFile(file);
    if (extname(file) !== ".html") {
      response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" });
      return response.end(content);
    }
    const nonce = randomBytes(16).toString("base64");
    response.writeHead(200, { "Content-Type": TYPES[".html"], "Content-Security-Policy": policyWith(nonce) });
    response.end(content.toString().replaceAll(NONCE_MARK, nonce));
  } catch {
    response.writeHead(404).end();
  }
}
