/** Two peer connections of a real browser that may only use the standalone relay: over UDP, TCP and TLS. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { chromium } from "playwright-core";
import { startRelay } from "./src/turn.mjs";

const FRAMES_MIN = 30;
const MESSAGES = 50;
const PATIENCE_MS = 60_000;

let directory, relay, browser;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "medmesh-turn-"));
  relay = await startRelay(directory, 'mode = "allow-list"\nallow = ["127.0.0.1:1024-65535"]');
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    env: { ...process.env, HOME: relay.home },
  });
});

after(async () => {
  await browser?.close();
  relay?.stop();
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

for (const protocol of ["udp", "tcp", "tls"]) {
  it(`relays over ${protocol} and nothing else`, async () => {
    const username = `${Math.floor(Date.now() / 1000) + 600}:browser`;
    const credential = createHmac("sha1", relay.secret).update(username).digest("base64");
    const page = await browser.newPage();
    const iceServers = [{ urls: [relay.urls[protocol]], username, credential }];
    const figures = await page.evaluate(call, { iceServers, messages: MESSAGES, frames: FRAMES_MIN, patience: PATIENCE_MS });
    await page.close();
    assert.deepEqual([figures.candidate, figures.protocol, figures.messages], ["relay", protocol, MESSAGES]);
    assert.ok(figures.frames >= FRAMES_MIN, `${figures.frames} frames`);
  });
}
