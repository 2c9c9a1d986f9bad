/** Answers about the clinic's systems; part of `fixture.mjs`. They know no rules. */

const key = (kid) => ({ kty: "EC", crv: "P-384", alg: "ES384", use: "sig", kid, x: "x", y: "y" });
const problem = (status, code) => ({ status, body: { type: "about:blank", title: code, status, code, message: code, details: null, request_id: "req-4" } });

const SYSTEMS = [
  { id: "01990000-0000-7000-8000-0000000000d1", name: "Harbour Street records and scheduling system, production", scopes: ["system/Appointment.rs", "system/Appointment.cu", "system/Patient.s"], jwks: { keys: [key("2026-a"), key("kR9vQ2mZ8xT4bN6yH1cJ7wL3sD5fG0pA-8uEiXoVtKq")] }, enabled: true, created_at: "2026-03-01T08:00:00Z", last_used_at: "2026-11-22T09:58:00Z", version: 3 },
  { id: "01990000-0000-7000-8000-0000000000d2", name: "Old billing", scopes: ["system/AuditEvent.rs", "system/AddedLater.rs"], jwks: { keys: [key("old")] }, enabled: false, created_at: "2025-03-01T08:00:00Z", version: 2 },
];

/** The answer, or nothing when the path is not about systems. */
export function systems(method, path, body) {
  if (path === "/.well-known/oauth-authorization-server") return { body: { token_endpoint: "https://clinic.example/oauth/token" } };
  if (path === "/v1/clients") return method === "POST" ? problem(400, "invalid_request") : { body: { items: SYSTEMS, next_cursor: null } };
  if (path.startsWith("/v1/clients/")) return body.enabled === false ? problem(412, "version_mismatch") : { body: { ...SYSTEMS[0], ...body, version: 4 } };
  return null;
}
