/** Answers about one's own account; part of `fixture.mjs`. */

const problem = (status, code) => ({ status, body: { type: "about:blank", title: code, status, code, message: code, details: null, request_id: "req-2" } });

export const passkeys = () => [
  { id: "k1", name: "The telephone in my coat, which is blue and has a long name", version: 1, device: "Safari on iPhone", is_synced: true, created_at: "2026-08-03T09:00:00Z", used_at: "2026-11-20T07:31:00Z" },
  { id: "k2", version: 0, device: "", is_synced: false, created_at: "2026-10-12T15:20:00Z", used_at: null },
];

const DEVICES = [
  { id: "d1", device: "Firefox on Linux", created_at: "2026-11-22T06:40:00Z", seen_at: "2026-11-22T07:10:00Z", is_present: true },
  { id: "d2", device: "Chrome on Windows with a rather long name of its own", created_at: "2026-11-20T11:00:00Z", seen_at: "2026-11-21T16:45:00Z", is_present: false },
];

const PROVIDER = {
  issuer: "https://login.harbour-street.example", client_id: "medmesh", second_factor: ["mfa"], enabled: true, version: 1,
  redirect_uri: "https://clinic.example/v1/auth/oidc/callback", start_url: "https://clinic.example/v1/auth/oidc/start?clinic_id=01990000-0000-7000-8000-0000000000c1",
};

/** Acts that want a fresh proof until one was given. */
const WEIGHTY = /^(DELETE \/v1\/auth\/mfa\/|POST \/v1\/auth\/(password|mfa\/recovery-codes)$)/;

/** The answer, or nothing when the path is not about the account. */
export function account(method, path, who, body, state, locale) {
  if (WEIGHTY.test(`${method} ${path}`) && !state.fresh) return problem(403, "step_up_required");
  if (path === "/v1/auth/step-up") {
    if (body.code !== "123456") return problem(401, "second_factor_refused");
    state.fresh = true;
    return { body: state.sessionOf(who, locale) };
  }
  if (path === "/v1/auth/mfa") return { body: { totp: { since: "2026-06-01T08:00:00Z", name: "Phone", version: 1 }, passkeys: state.passkeys, recovery_codes_left: 2, is_optional: who[1].includes("patient") } };
  if (path === "/v1/auth/mfa/recovery-codes") return { body: { recovery_codes: Array.from({ length: 10 }, (_, n) => `5TQW-1ZK8-${2000 + n}-MNPX-7C3D-JRV4`) } };
  if (path.startsWith("/v1/auth/mfa/passkeys/") && method === "DELETE") {
    state.passkeys = state.passkeys.filter((passkey) => passkey.id !== path.split("/").at(-1));
    return { status: 204 };
  }
  if (path.startsWith("/v1/auth/mfa/") && method === "PATCH") return problem(412, "version_mismatch");
  if (path === "/v1/auth/mfa/totp" && method === "DELETE") return problem(409, "state_conflict");
  if (path === "/v1/auth/sessions") return { body: { items: DEVICES } };
  if (path.startsWith("/v1/auth/sessions/")) return { status: 204 };
  if (path === "/v1/auth/password") return body.password.includes("password") ? problem(422, "unprocessable") : { status: 204 };
  if (path === "/v1/auth/oidc/identities") return { body: { items: [{ id: "i1", issuer: "https://login.harbour-street.example", linked_at: "2026-09-01T08:00:00Z", used_at: "2026-11-21T08:00:00Z" }] } };
  if (path === "/v1/auth/oidc/link") return problem(404, "not_found");
  if (path === "/v1/clinic/oidc") return method === "PUT" ? problem(412, "version_mismatch") : { body: PROVIDER };
  return null;
}
