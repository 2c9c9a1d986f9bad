import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { ApiError, ClinicApi, EventParser, type Message, newIdempotencyKey, Transport, type Visit } from "./index.ts";

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void;
const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

/** A listener on the loopback that answers each request with the next handler; the last one stays. */
async function listening(...handlers: Handler[]): Promise<{ api: ClinicApi; seen: { method: string; url: string; headers: IncomingMessage["headers"]; body: string }[] }> {
  const seen: { method: string; url: string; headers: IncomingMessage["headers"]; body: string }[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => { body += chunk.toString(); });
    request.on("end", () => {
      seen.push({ method: request.method ?? "", url: request.url ?? "", headers: request.headers, body });
      const handler = handlers.length > 1 ? handlers.shift() : handlers[0];
      handler?.(request, response, body);
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  stops.push(() => new Promise((done) => {
    server.closeAllConnections();
    server.close(() => done());
  }));
  const { port } = server.address() as AddressInfo;
  return { api: new ClinicApi(new Transport(`http://127.0.0.1:${port}`, undefined, async () => undefined)), seen };
}

const answer = (status: number, body: unknown, headers: Record<string, string> = {}): Handler => (_, response) => {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify(body));
};
const problem = (status: number, code: string, headers: Record<string, string> = {}) =>
  answer(status, { type: "x", title: code, status, code, message: `about ${code}`, details: null, request_id: "r-7" }, headers);
const SESSION = { person: { id: "p", display_name: "P", roles: ["patient"] }, clinic: {}, csrf_token: "tok", idle_timeout_seconds: 900, locale: "en" };

describe("evidence", () => {
  it("is handed over as the service wrote it", async () => {
    const { api, seen } = await listening((_, response) => {
      response.writeHead(200, { "Content-Type": "application/json" });
      response.end('{ "leaf_index": 9007199254740993 }');
    });
    expect(await (await api.audit.proof("a b")).text()).toBe('{ "leaf_index": 9007199254740993 }');
    await api.audit.consistency(17);
    expect(seen.map((request) => request.url)).toEqual(["/v1/audit/a%20b/proof", "/v1/audit/consistency?from=17"]);
  });

  it("that is not there yet is refused, with the time to wait", async () => {
    const { api, seen } = await listening(problem(409, "audit_head_pending", { "Retry-After": "1" }));
    await expect(api.audit.proof("e")).rejects.toMatchObject({ code: "audit_head_pending", retryAfterSeconds: 1 });
    // Each proof is an entry: nothing is asked for twice by itself.
    expect(seen.length).toBe(1);
  });
});

describe("what the clinic writes down", () => {
  it("goes out once, under the key it was written with", async () => {
    const { api, seen } = await listening(answer(200, SESSION), answer(201, {}));
    await api.session();
    const disclosure = { disclosed_at: "2026-11-22T09:00:00Z", recipient: "A", description: "b", purpose: "c", basis: "research" } as const;
    await api.audit.disclosureCreate("p 1", disclosure, "key-disclosure");
    const noted = { purpose: "payment", segment: "hiv", decision: "granted", document: "forms/1", signed_by: "paper", proof_sha256: "0".repeat(64) } as const;
    await api.care.consentNote("p 1", noted, "key-consent");
    const [, first, second] = seen;
    expect([first?.url, first?.headers["idempotency-key"], JSON.parse(first?.body ?? "")]).toEqual(["/v1/patients/p%201/disclosures", "key-disclosure", disclosure]);
    expect([second?.url, second?.headers["idempotency-key"], JSON.parse(second?.body ?? "")]).toEqual(["/v1/patients/p%201/consents", "key-consent", noted]);
  });
});

describe("systems", () => {
  it("are changed at the version that was looked at, and only in what changed", async () => {
    const { api, seen } = await listening(answer(200, {}));
    await api.systems.update({ id: "s 1", name: "n", scopes: [], jwks: { keys: [] }, enabled: true, created_at: "", version: 7 }, { enabled: false });
    expect(seen[0]).toMatchObject({ method: "PATCH", url: "/v1/clients/s%201", body: '{"enabled":false}' });
    expect(seen[0]?.headers["if-match"]).toBe('"7"');
  });
});

describe("requests", () => {
  it("carry the CSRF token of the session on unsafe methods only", async () => {
    const { api, seen } = await listening(answer(200, SESSION), answer(200, { items: [] }), answer(200, {}));
    await api.login("a@b", "secret");
    await api.visits();
    await api.visitCheckIn("v 1");
    expect(seen.map((request) => request.headers["x-csrf-token"])).toEqual([undefined, undefined, "tok"]);
    expect(seen[2]?.url).toBe("/v1/visits/v%201/check-in");
  });

  it("wait for one proof where they want a fresh one, and are then sent again", async () => {
    let proofs = 0;
    let proved = false;
    const { api, seen } = await listening((_, response) => {
      if (proved) answer(200, { recovery_codes: ["a"] })(_, response, "");
      else problem(403, "step_up_required")(_, response, "");
    });
    api.onStepUp = async () => {
      proofs += 1;
      await vi.waitUntil(() => seen.length === 2);
      proved = true;
      return true;
    };
    const both = await Promise.all([api.account.recoveryCodesReplace(), api.account.recoveryCodesReplace()]);
    expect(both).toEqual([["a"], ["a"]]);
    expect([proofs, seen.length]).toEqual([1, 4]);
  });

  it("end in the refusal when the proof is not given, or is not enough", async () => {
    const { api, seen } = await listening(problem(403, "step_up_required"));
    await expect(api.account.totpRemove()).rejects.toMatchObject({ code: "step_up_required" });
    api.onStepUp = async () => false;
    await expect(api.account.totpRemove()).rejects.toMatchObject({ code: "step_up_required" });
    api.onStepUp = async () => true;
    await expect(api.account.totpRemove()).rejects.toMatchObject({ code: "step_up_required" });
    expect(seen).toHaveLength(4);
  });

  it("turn problem documents into errors with code and reference", async () => {
    const { api } = await listening(problem(409, "slot_taken"));
    const error = await api.appointmentCreate({ patient_id: "1", clinician_id: "2", starts_at: "", ends_at: "" }, newIdempotencyKey()).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({ status: 409, code: "slot_taken", requestId: "r-7", message: "about slot_taken", isPassing: false });
  });

  it("are repeated with the same Idempotency-Key until answered, and no others are", async () => {
    const message = { id: "m", participant_id: "p", body: "hi", sent_at: "" };
    const cut: Handler = (request) => request.socket.destroy();
    const { api, seen } = await listening(cut, problem(503, "unavailable"), problem(409, "request_in_flight"), answer(201, message));
    expect(await api.messageCreate("v", "hi", "key-12345")).toEqual(message);
    expect(seen.map((request) => request.headers["idempotency-key"])).toEqual(["key-12345", "key-12345", "key-12345", "key-12345"]);
    expect(new Set(seen.map((request) => request.body)).size).toBe(1);
    const failing = await listening(problem(503, "unavailable"));
    await expect(failing.api.appointmentChange("a", "1", {})).rejects.toMatchObject({ status: 503 });
    expect(failing.seen).toHaveLength(1);
    const setting = await listening(problem(503, "unavailable"), answer(200, {}));
    await setting.api.visitOpen("v");
    expect(setting.seen).toHaveLength(2);
  });

  it("say once that the session has ended, but not that a password was wrong", async () => {
    const { api } = await listening(problem(401, "login_failed"), problem(401, "unauthenticated"));
    let ended = 0;
    api.onSignedOut = () => { ended += 1; };
    await expect(api.login("a@b", "wrong")).rejects.toMatchObject({ code: "login_failed" });
    expect(ended).toBe(0);
    await expect(api.visit("v")).rejects.toMatchObject({ code: "unauthenticated" });
    expect(ended).toBe(1);
  });

  it("say which of them no person caused, and those alone", async () => {
    const { api, seen } = await listening(answer(200, SESSION), answer(200, { items: [] }));
    await api.session();
    await api.session(true);
    await api.visitPulses("2026-11-22");
    await api.visits();
    await api.visit("v", true);
    await api.visitOpen("v");
    expect(seen.map((request) => request.headers["medmesh-background"])).toEqual([undefined, "1", "1", undefined, "1", undefined]);
    expect(seen[2]?.url).toBe("/v1/visits/pulses?day=2026-11-22");
  });

  it("name the version they change", async () => {
    const { api, seen } = await listening(answer(200, { id: "a", version: 4 }, { ETag: '"4"' }), problem(412, "version_mismatch"));
    const { etag } = await api.appointment("a");
    await expect(api.appointmentCancel("a", etag)).rejects.toMatchObject({ code: "version_mismatch" });
    expect(seen[1]?.headers["if-match"]).toBe('"4"');
  });

  it("understand an answer that is no problem document", async () => {
    const { api } = await listening((_, response) => response.writeHead(502, { "Content-Type": "text/html" }).end("<h1>Bad gateway"));
    await expect(api.visitOpen("v")).rejects.toMatchObject({ status: 502, code: "http_502", isPassing: true });
  });
});

describe("server-sent events", () => {
  it("survive any cut of the stream", () => {
    const text = ": hello\r\nevent: message\r\nid: 7\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nevent: ping\ndata\n\ndata: x\n\n";
    for (let cut = 1; cut < text.length; cut += 1) {
      const parser = new EventParser();
      const events = [...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))];
      expect(events).toEqual([
        { event: "message", data: '{"a":\n1}', id: "7" },
        { event: "ping", data: "", id: null },
        { event: "message", data: "x", id: null },
      ]);
    }
  });

  it("are bounded", () => {
    const parser = new EventParser();
    expect(() => {
      for (let n = 0; n < 10; n += 1) parser.push("x".repeat(64 * 1024));
    }).toThrow("too long");
  });

  it("resume after the last message and the version that were seen", async () => {
    const message = (id: string): Message => ({ id, participant_id: "p", body: id, sent_at: "" });
    const stream = (visit: string, ...ids: string[]): Handler => (_, response) => {
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.end(visit + ids.map((id) => `event: message\nid: ${id}\ndata: ${JSON.stringify(message(id))}\n\n`).join(""));
    };
    const visit = 'event: visit\ndata: {"version":7}\n\n';
    const { api, seen } = await listening(
      problem(503, "unavailable"), stream(visit, "m1", "m2"), stream("", "m3"), (_, response) => response.writeHead(200, { "Content-Type": "text/event-stream" }).write(": open\n\n"),
    );
    const got: string[] = [];
    const trouble: unknown[] = [];
    const stop = await new Promise<() => void>((done) => {
      const end = api.follow("v", {
        visit: ({ version }: Visit) => { got.push(`visit ${version}`); },
        message: ({ id }) => { got.push(id); if (id === "m3") setTimeout(() => done(end)); },
        connected: () => undefined,
        troubled: (error) => { trouble.push(error); },
        refused: () => undefined,
      });
    });
    stop();
    expect(got).toEqual(["visit 7", "m1", "m2", "m3"]);
    expect(trouble).toMatchObject([{ code: "unavailable" }]);
    expect(seen.slice(0, 3).map((request) => [request.url, request.headers["last-event-id"]])).toEqual([
      ["/v1/visits/v/events", undefined], ["/v1/visits/v/events", undefined], ["/v1/visits/v/events?seen=7", "m2"],
    ]);
  });

  it("stop for good when the visit is not ours", async () => {
    const { api, seen } = await listening(problem(404, "not_found"));
    const error = await new Promise<ApiError>((done) => {
      api.follow("v", { visit: () => undefined, message: () => undefined, connected: () => undefined, troubled: () => undefined, refused: done });
    });
    expect(error.code).toBe("not_found");
    expect(seen).toHaveLength(1);
  });
});
