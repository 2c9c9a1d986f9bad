/**
 * The running system under test, described by the file that `medmesh demo --system-file PATH` writes and MEDMESH_SYSTEM names:
 * {"portal_url", "logins": {patient, clinician, colleague, admin: {email, password, totp_secret}}, "visit_id"?,
 *  "edges": [{name, region, signalling_url, admin_url}], "controls": [{id, http, admin, pid}]}
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { nextCode } from "./totp.mjs";

const path = process.env.MEDMESH_SYSTEM;
if (path === undefined) throw new Error("MEDMESH_SYSTEM names no file: start `medmesh demo --ephemeral --system-file PATH` and set it");

export const system = JSON.parse(readFileSync(path, "utf8"));

/** Where pictures and figures go. */
export const OUT = fileURLToPath(new URL("../../../target/browser", import.meta.url));
mkdirSync(OUT, { recursive: true });

export function writeResult(name, value) {
  writeFileSync(`${OUT}/${name}.json`, `${JSON.stringify(value, null, 2)}\n`);
}

/** Waits until `look` answers something true, and answers that. No fixed sleeps: a condition and a deadline. */
export async function until(what, look, deadlineMs = 15_000) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const value = await look();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what}: not within ${deadlineMs} ms`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** How long a creating request is retried at whatever node answers. */
const RETRY_MS_MAX = 30_000;

/** A signed-in REST client with cookie and CSRF token, for what a test needs beside the portals. */
export async function restClient({ email, password, totp_secret }) {
  let cookie = "";
  let csrf = "";
  const request = async (method, route, body, { key = crypto.randomUUID(), base = system.portal_url, headers: more = {} } = {}) => {
    const headers = { "Content-Type": "application/json", Cookie: cookie, Origin: new URL(system.portal_url).origin };
    if (method !== "GET") Object.assign(headers, { "X-CSRF-Token": csrf, "Idempotency-Key": key }, more);
    const response = await fetch(new URL(route, base), { method, headers, body: body && JSON.stringify(body) });
    const set = response.headers.getSetCookie().map((line) => line.split(";")[0]);
    if (set.length > 0) cookie = set.join("; ");
    return { status: response.status, body: response.status === 204 ? null : await response.json() };
  };
  const login = await request("POST", "/v1/auth/login", { email, password });
  if (login.status !== 200) throw new Error(`login answered ${login.status} ${login.body?.code}`);
  csrf = login.body.csrf_token;
  if (login.body.standing === "mfa_required") {
    const verified = await request("POST", "/v1/auth/mfa/verify", { method: "totp", code: await nextCode(totp_secret) });
    if (verified.status !== 200) throw new Error(`second step answered ${verified.status} ${verified.body?.code}`);
  }
  /** Creates exactly once: the same key at one node after the other until one answers. */
  const create = async (route, body, onRetry) => {
    const key = crypto.randomUUID();
    const end = Date.now() + RETRY_MS_MAX;
    for (let attempt = 0; ; attempt += 1) {
      const base = system.controls[attempt % system.controls.length].http;
      const answer = await request("POST", route, body, { key, base }).catch(() => null);
      const again = answer === null || answer.status >= 500 || answer.body?.code === "request_in_flight";
      if (!again) return answer;
      if (Date.now() > end) throw new Error(`no node took ${route} within ${RETRY_MS_MAX} ms`);
      onRetry?.();
      await new Promise((done) => setTimeout(done, 100));
    }
  };
  return { request, create, session: login.body };
}

const SLOT_MINUTES = 30;

/** A visit of the patient and the clinician that may be joined now: the system's own, or a new one in the first free time. */
export async function visitForToday() {
  if (system.visit_id) return system.visit_id;
  const admin = await restClient(system.logins.admin);
  const person = async (login) => (await restClient(login)).session.person.id;
  const [patient_id, clinician_id] = [await person(system.logins.patient), await person(system.logins.clinician)];
  for (let minute = 1; minute <= 14; minute += 1) {
    const starts = new Date(Date.now() + minute * 60_000);
    const ends = new Date(starts.getTime() + SLOT_MINUTES * 60_000);
    const answer = await admin.request("POST", "/v1/appointments", { patient_id, clinician_id, starts_at: starts.toISOString(), ends_at: ends.toISOString() });
    if (answer.status === 201) return answer.body.visit_id;
    if (answer.body.code !== "slot_taken") throw new Error(`booking answered ${answer.status} ${answer.body.code}`);
  }
  throw new Error("patient or clinician is busy for the next quarter of an hour");
}
