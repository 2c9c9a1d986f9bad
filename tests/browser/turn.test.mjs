/** Two peer connections of a real browser that may only use the standalone relay: over UDP, TCP and TLS. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { chromium } from "playwright-core";

const SECRET = "0123456789abcdef0123456789abcdef0123456789a";
const FRAMES_MIN = 30;
const MESSAGES = 50;
const PATIENCE_MS = 60_000;

let directory, relay, browser, ports;

const freePort = () => new Promise((resolve) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

/** A certificate for 127.0.0.1 that the browser of `home` trusts, as a hospital's own authority would be. */
function certificate(home) {
  const [cert, key] = [join(directory, "cert.pem"), join(directory, "key.pem")];
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=relay",
    "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", key, "-out", cert], { stdio: "ignore" });
  const database = join(home, ".pki/nssdb");
  mkdirSync(database, { recursive: true });
  execFileSync("certutil", ["-d", `sql:${database}`, "-N", "--empty-password"]);
  execFileSync("certutil", ["-d", `sql:${database}`, "-A", "-t", "CP,CP,CP", "-n", "relay", "-i", cert]);
  return { cert, key };
}

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "medmesh-turn-"));
  const home = join(directory, "home");
  const { cert, key } = certificate(home);
  const secrets = join(directory, "secrets");
  writeFileSync(secrets, `1 ${SECRET}\n`);
  chmodSync(secrets, 0o600);
  ports = { turn: await freePort(), tls: await freePort(), admin: await freePort() };
  const config = join(directory, "turn.toml");
  writeFileSync(config, `
[turn]
listen = ["127.0.0.1:${ports.turn}"]
relay = ["127.0.0.1"]
secrets_file = "${secrets}"
[[turn.tcp]]
listen = "127.0.0.1:${ports.turn}"
[[turn.tls]]
listen = "127.0.0.1:${ports.tls}"
[turn.certificate]
cert_file = "${cert}"
key_file = "${key}"
[peers]
mode = "allow-list"
allow = ["127.0.0.1:1024-65535"]
[admin]
listen = "127.0.0.1:${ports.admin}"
`);
  relay = spawn(join(process.env.MEDMESH_BINARIES, "medmesh-turn"), ["--config", config], { stdio: ["ignore", "ignore", "inherit"] });
  const deadline = Date.now() + PATIENCE_MS;
  while (!await fetch(`http://127.0.0.1:${ports.admin}/healthz`).then((answer) => answer.ok, () => false)) {
    assert.ok(Date.now() < deadline && relay.exitCode === null, "the relay starts");
  }
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    env: { ...process.env, HOME: home },
  });
});

after(async () => {
  await browser?.close();
  relay?.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

/** Runs in the page. */
async function call({ iceServers, messages, frames, patience }) {
  const settings = { iceServers, iceTransportPolicy: "relay" };
  const [one, two] = [new RTCPeerConnection(settings), new RTCPeerConnection(settings)];
  for (const [here, there] of [[one, two], [two, one]]) {
    here.addEventListener("icecandidate", ({ candidate }) => candidate && there.addIceCandidate(candidate));
  }
  const canvas = document.createElement("canvas");
  const paint = canvas.getContext("2d");
  const painting = setInterval(() => { paint.fillStyle = `hsl(${Date.now() % 360} 80% 50%)`; paint.fillRect(0, 0, 300, 150); }, 40);
  one.addTrack(canvas.captureStream(25).getVideoTracks()[0]);
  const channel = one.createDataChannel("echo");
  two.addEventListener("datachannel", ({ channel: other }) => other.addEventListener("message", ({ data }) => other.send(data)));
  const limit = new Promise((_, refuse) => setTimeout(() => refuse(new Error(`no call: ${one.iceConnectionState}`)), patience));
  const echoed = new Promise((resolve) => {
    let heard = 0;
    channel.addEventListener("message", () => ++heard === messages ? resolve(heard) : channel.send(`message ${heard}`));
    channel.addEventListener("open", () => channel.send("message 0"));
  });
  await one.setLocalDescription();
  await two.setRemoteDescription(one.localDescription);
  await two.setLocalDescription();
  await one.setRemoteDescription(two.localDescription);
  const figures = { messages: await Promise.race([echoed, limit]) };
  const seen = async () => [...(await two.getStats()).values()].find(({ type }) => type === "inbound-rtp")?.framesDecoded ?? 0;
  const deadline = performance.now() + patience;
  do {
    figures.frames = await seen();
    await new Promise((next) => setTimeout(next, 100));
  } while (figures.frames < frames && performance.now() < deadline);
  const stats = [...(await one.getStats()).values()];
  const pair = stats.find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
  const local = stats.find(({ id }) => id === pair?.localCandidateId);
  figures.candidate = local?.candidateType;
  figures.protocol = local?.relayProtocol;
  clearInterval(painting);
  one.close();
  two.close();
  return figures;
}

for (const [protocol, url] of [
  ["udp", () => `turn:127.0.0.1:${ports.turn}?transport=udp`],
  ["tcp", () => `turn:127.0.0.1:${ports.turn}?transport=tcp`],
  ["tls", () => `turns:127.0.0.1:${ports.tls}?transport=tcp`],
]) {
  it(`relays over ${protocol} and nothing else`, async () => {
    const username = `${Math.floor(Date.now() / 1000) + 600}:browser`;
    const credential = createHmac("sha1", SECRET).update(username).digest("base64");
    const page = await browser.newPage();
    const iceServers = [{ urls: [url()], username, credential }];
    const figures = await page.evaluate(call, { iceServers, messages: MESSAGES, frames: FRAMES_MIN, patience: PATIENCE_MS });
    await page.close();
    assert.deepEqual([figures.candidate, figures.protocol, figures.messages], ["relay", protocol, MESSAGES]);
    assert.ok(figures.frames >= FRAMES_MIN, `${figures.frames} frames`);
  });
}
