import { describe, expect, it, vi } from "vitest";
import { base64Url, createProof, createProofKey } from "./keys.ts";
import { parseServerMessage } from "./messages.ts";
import { EdgeProbes, probeAll, type ProbeResult } from "./probes.ts";
import { summarise } from "./report.ts";
import { answerAfterRestart, iceParameters, restartFragment } from "./sdp.ts";
import { levelOf } from "./sound.ts";
import { Store } from "./store.ts";
import { WishBook } from "./wishes.ts";

const bytes = (text: string) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const json = (text: string) => JSON.parse(new TextDecoder().decode(bytes(text))) as Record<string, unknown>;

describe("proofs of possession (RFC 9449)", () => {
  it("are signed by a key that cannot leave the browser, and name the request and the token", async () => {
    const key = await createProofKey();
    expect(key.privateKey.extractable).toBe(false);
    const proof = await createProof(key, { method: "POST", url: "https://edge.example/v1/whip?x=1#y", token: "abc" }, 1_700_000_000_500);
    const [header = "", claims = "", signature = ""] = proof.split(".");
    expect(json(header)).toEqual({ typ: "dpop+jwt", alg: "ES256", jwk: key.publicJwk });
    expect(Object.keys(key.publicJwk)).toEqual(["kty", "crv", "x", "y"]);
    expect(json(claims)).toMatchObject({ htm: "POST", htu: "https://edge.example/v1/whip", iat: 1_700_000_000 });
    // SHA-256 of "abc", FIPS 180-2 appendix B.1.
    expect(json(claims)["ath"]).toBe("ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
    const verifier = await crypto.subtle.importKey("jwk", { ...key.publicJwk }, { name: "ECDSA", namedCurve: "P-256" }, false, ["verify"]);
    const input = new TextEncoder().encode(`${header}.${claims}`);
    expect(await crypto.subtle.verify({ name: "ECDSA", hash: "SHA-256" }, verifier, bytes(signature), input)).toBe(true);
    expect(bytes(signature)).toHaveLength(64);
  });

  it("are never the same twice", async () => {
    const key = await createProofKey();
    const request = { method: "POST", url: "https://edge.example/v1/whip", token: "t" };
    const [a, b] = [await createProof(key, request), await createProof(key, request)];
    expect(json(a.split(".")[1] ?? "")["jti"]).not.toBe(json(b.split(".")[1] ?? "")["jti"]);
  });

  it("use base64url without padding", () => {
    expect(base64Url(Uint8Array.of(251, 255, 254, 1))).toBe("-__-AQ");
  });
});

describe("control messages", () => {
  it("are taken when well-shaped", () => {
    const slots = { type: "slots", audio: [null], video: [{ mid: "9", participant: "p", source: "camera" }, null] };
    expect(parseServerMessage(JSON.stringify(slots))).toEqual(slots);
    expect(parseServerMessage('{"type":"speaker","participant":null}')).toEqual({ type: "speaker", participant: null });
  });

  it.each([
    ["not JSON", "{"],
    ["unknown type", '{"type":"teapot"}'],
    ["a name of Object's", '{"type":"constructor"}'],
    ["missing field", '{"type":"welcome","participant":"p"}'],
    ["wrong source", '{"type":"slots","audio":[],"video":[{"mid":"9","participant":"p","source":"keyboard"}]}'],
    ["not an object", "[1]"],
    ["too long", JSON.stringify({ type: "migrate", reason: "x".repeat(17_000) })],
    ["binary", new ArrayBuffer(2)],
  ])("are ignored otherwise: %s", (_, text) => {
    expect(parseServerMessage(text)).toBeNull();
  });
});

describe("probes", () => {
  it("report the smallest round, leave out the first, and what does not answer", async () => {
    let clock = 0;
    const waits: Record<string, number[]> = { near: [900, 12, 9.5, 30, 11], dead: [] };
    const request = async (url: string) => {
      const wait = waits[url]?.shift();
      if (wait === undefined) throw new TypeError("refused");
      clock += wait;
    };
    const found = new Map<string, ProbeResult>();
    const targets = [{ id: "a", probe_url: "near" }, { id: "b", probe_url: "dead" }];
    await probeAll(targets, (result) => found.set(result.edge_id, result), request, () => clock);
    expect([...found.values()]).toEqual([{ edge_id: "a", rtt_ms: 9.5 }]);
  });

  it("keep what was measured when an edge stops answering halfway", async () => {
    let clock = 0;
    let rounds = 0;
    const request = async () => {
      rounds += 1;
      if (rounds > 2) throw new TypeError("gone");
      clock += 20;
    };
    const found: ProbeResult[] = [];
    await probeAll([{ id: "a", probe_url: "x" }], (result) => found.push(result), request, () => clock);
    expect(found).toEqual([{ edge_id: "a", rtt_ms: 20 }]);
  });
});

describe("what is known of the edges", () => {
  it("is asked for once while fresh, and again after a refusal", async () => {
    let asked = 0;
    const probes = new EdgeProbes(async () => {
      asked += 1;
      if (asked === 1) throw new Error("not admitted yet");
      return [];
    });
    await probes.take();
    expect(probes.results).toEqual([]);
    await Promise.all([probes.take(), probes.take()]);
    await probes.take();
    expect(asked).toBe(2);
  });
});

describe("wishes", () => {
  it("are one ordered list per settled layout, and repeated only on demand", () => {
    vi.useFakeTimers();
    const sent: unknown[] = [];
    const book = new WishBook((wishes) => sent.push(wishes));
    book.set("anna", "camera", 100, 1);
    book.set("ben", "camera", 700, 2);
    book.set("anna", "screen", 5000, 3);
    expect(sent).toHaveLength(0);
    vi.runAllTimers();
    expect(sent).toEqual([[
      { participant: "anna", source: "screen", height: 1080 },
      { participant: "ben", source: "camera", height: 720 },
      { participant: "anna", source: "camera", height: 120 },
    ]]);
    book.set("anna", "camera", 118, 1);
    vi.runAllTimers();
    expect(sent).toHaveLength(1);
    book.repeat();
    vi.runAllTimers();
    expect(sent).toHaveLength(2);
    book.delete("anna", "screen");
    vi.runAllTimers();
    expect(sent.at(-1)).toHaveLength(2);
    vi.useRealTimers();
  });

  it("say nothing to a new edge before any tile exists", () => {
    vi.useFakeTimers();
    const sent: unknown[] = [];
    new WishBook((wishes) => sent.push(wishes)).repeat();
    vi.runAllTimers();
    expect(sent).toHaveLength(0);
    vi.useRealTimers();
  });
});

describe("ICE restart (RFC 9725 §4.3.2)", () => {
  const ANSWER = [
    "v=0", "a=ice-lite", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=ice-ufrag:old1", "a=ice-pwd:oldpwd", "a=candidate:1 1 udp 1 10.0.0.1 5000 typ host",
    "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=ice-ufrag:old1", "a=ice-pwd:oldpwd", "",
  ].join("\r\n");

  it("reads and writes the credentials", () => {
    expect(iceParameters(ANSWER)).toEqual({ ufrag: "old1", pwd: "oldpwd" });
    expect(iceParameters("v=0\r\n")).toBeNull();
    expect(iceParameters(restartFragment({ ufrag: "u", pwd: "p" }))).toEqual({ ufrag: "u", pwd: "p" });
  });

  it("keeps the answer but for credentials and candidates", () => {
    const next = answerAfterRestart(ANSWER, "a=ice-ufrag:new1\r\na=ice-pwd:newpwd\r\na=candidate:1 1 udp 1 10.0.0.2 6000 typ host\r\n");
    expect(next).not.toContain("old");
    expect(next.match(/a=ice-ufrag:new1/g)).toHaveLength(2);
    expect(next.match(/a=candidate:/g)).toHaveLength(1);
    expect(next).toContain("10.0.0.2 6000");
    expect(next.split("\r\n")).toHaveLength(ANSWER.split("\r\n").length);
  });

  it("keeps the candidates of an edge that names none", () => {
    expect(answerAfterRestart(ANSWER, "a=ice-ufrag:new1\r\na=ice-pwd:newpwd\r\n")).toContain("10.0.0.1 5000");
  });
});

describe("small parts", () => {
  it("a store tells of changes only", () => {
    const store = new Store({ a: 1, b: "x" });
    const heard = vi.fn();
    const stop = store.subscribe(heard);
    store.patch({ a: 1 });
    expect(heard).not.toHaveBeenCalled();
    store.patch({ a: 2 });
    expect(heard).toHaveBeenCalledTimes(1);
    stop();
    store.patch({ a: 3 });
    expect(heard).toHaveBeenCalledTimes(1);
    expect(store.get()).toEqual({ a: 3, b: "x" });
  });

  it("the level is silent for silence, full for a shout, and rises with speech", () => {
    expect(levelOf(new Float32Array(64))).toBe(0);
    expect(levelOf(new Float32Array(64).fill(0.9))).toBe(1);
    expect(levelOf(new Float32Array(64).fill(0.03))).toBeGreaterThan(0.3);
  });

  it("statistics are numbers of what arrived", () => {
    const report = summarise([
      { id: "T", type: "transport", selectedCandidatePairId: "P" },
      { id: "P", type: "candidate-pair", localCandidateId: "L", currentRoundTripTime: 0.0124, bytesReceived: 10, bytesSent: 20 },
      { id: "L", type: "local-candidate", candidateType: "relay", address: "10.0.0.1" },
      { id: "v", type: "inbound-rtp", kind: "video", mid: "9", packetsReceived: 5, framesDecoded: 3, framesPerSecond: 29, frameHeight: 360, packetsLost: 2 },
      // Padding that probes the bandwidth is no picture.
      { id: "w", type: "inbound-rtp", kind: "video", mid: "10", packetsReceived: 40, framesDecoded: 0 },
      { id: "a", type: "inbound-rtp", kind: "audio", mid: "3", packetsReceived: 7, packetsLost: 1, totalAudioEnergy: 0.5 },
      { id: "o", type: "outbound-rtp", kind: "audio", packetsSent: 9 },
      { id: "p", type: "outbound-rtp", kind: "video", packetsSent: 30 },
    ]);
    expect(report).toMatchObject({ rtt_ms: 12, send_bps: null, receive_bytes: 10, packets_lost: 3, relayed: true });
    expect(report.video).toEqual([{ slot_mid: 9, frames_decoded: 3, frames_per_second: 29, height_px: 360, freezes: 0 }]);
    expect(report.audio).toEqual([{ slot_mid: 3, energy: 0.5, packets_received: 7, packets_lost: 1 }]);
    expect(report.audio_packets_sent).toBe(9);
    expect(JSON.stringify(report)).not.toContain("10.0.0.1");
  });
});
