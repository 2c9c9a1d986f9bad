/**
 * A visit whose people have no way but a relay that stands by itself: `medmesh-turn`, named in the control nodes' files, told by
 * `medmesh relay peers` of the edges. Over UDP, TCP and TLS. The demo is this test's own.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { fileURLToPath } from "node:url";
import { scrape } from "../src/metrics.mjs";
import { startRelay } from "../src/turn.mjs";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const BINARY = join(process.env.MEDMESH_BINARIES ?? join(ROOT, "target/debug"), "medmesh");
/** A cold start on a machine that is busy with other things. */
const START_MS = 180_000;
const WATCH_SECONDS = 8;
const FRAMES_PER_SECOND_MIN = 15;
/** A voice alone is 50 packets a second. */
const PACKETS_PER_SECOND_MIN = 50;

const dir = mkdtempSync(join(tmpdir(), "medmesh-hospital-"));
// PostgreSQL refuses root, and its own user has to come in.
chmodSync(dir, 0o711);
const systemFile = join(dir, "system.json");
process.env.MEDMESH_SYSTEM = systemFile;
let relay, demo, ended, tools;
const people = [];

async function until(what, look) {
  const end = Date.now() + START_MS;
  while (!await look()) {
    assert.ok(Date.now() < end && demo.exitCode === null, `${what}: ${readFileSync(join(dir, "demo.log"))}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

before(async () => {
  const place = join(dir, "relay");
  mkdirSync(place);
  const peers = join(place, "turn.peers");
  writeFileSync(peers, "end\n");
  relay = await startRelay(place, `mode = "allow-list"\nfile = "${peers}"`);
  const more = join(dir, "more.toml");
  writeFileSync(more, `
[turn]
probe_seconds = 1
[[turn.external]]
name = "hospital"
region = "eu-central"
serves = ["eu-central", "us-east"]
urls = ${JSON.stringify(Object.values(relay.urls))}
secrets_file = "${relay.secrets}"
ca_file = "${relay.ca}"
`);
  const log = openSync(join(dir, "demo.log"), "w");
  demo = spawn(BINARY, ["demo", "--ephemeral", "--control-config", more, "--system-file", systemFile], { cwd: ROOT, stdio: ["ignore", log, log] });
  ended = new Promise((done) => demo.once("close", done));
  await until("the demo is ready", () => existsSync(systemFile));
  // They read the system's file when they are loaded.
  tools = { ...await import("../src/person.mjs"), ...await import("../src/system.mjs") };
  const { system } = tools;
  execFileSync(BINARY, ["relay", "peers", "--file", peers, "--url", system.portal_url, "--token-file", system.operator_token_file]);
  relay.child.kill("SIGHUP");
  await until("the relay knows both edges", async () => await relay.sample('medmesh_turn_peer_rules{list="allow"}') >= 2);
  const ways = Object.keys(relay.urls).length;
  const up = async ({ admin }) => (await scrape({ admin_url: admin })).get("medmesh_external_relay_up") === ways;
  await until("every control node hands it out over every way", async () => (await Promise.all(system.controls.map(up))).every(Boolean));
});

after(async () => {
  for (const person of people) await person.close();
  if (demo?.exitCode === null) demo.kill("SIGTERM");
  await ended;
  relay?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const counted = async () => ({
  allocations: await relay.sample("medmesh_turn_allocations"),
  to_client: await relay.sample('medmesh_turn_packets_total{direction="to_client"}'),
  to_peer: await relay.sample('medmesh_turn_packets_total{direction="to_peer"}'),
});

for (const way of ["udp", "tcp", "tls"]) {
  it(`runs over ${way} through it and nothing else`, async () => {
    const { Person, between, system, visitForToday, writeResult } = tools;
    const visitId = await visitForToday();
    const [near, far] = system.edges;
    const options = { query: "?relay=1", relays: [relay.urls[way]], home: relay.home };
    const patient = await Person.arrive(`hospital-${way}-patient`, "patient", system.logins.patient, { near, ...options });
    people.push(patient);
    await patient.comeToVisit(visitId);
    const clinician = await Person.arrive(`hospital-${way}-clinician`, "clinician", system.logins.clinician, { near: far, ...options });
    people.push(clinician);
    await clinician.comeToVisit(visitId);
    await clinician.join();
    const clinicianId = await clinician.participant();
    if (await patient.id("lobby").getAttribute("data-state") === "waiting") await clinician.id("admit").first().click();
    await patient.join();
    await patient.seesVideoOf(clinicianId);
    await clinician.seesVideoOf(await patient.participant());

    const [from, start] = [await counted(), [await patient.measure(), await clinician.measure()]];
    await tools.until("the time to pass", async () => (await patient.measure()).at - start[0].at >= WATCH_SECONDS * 1000, (WATCH_SECONDS + 10) * 1000);
    const seen = { patient: between(start[0], await patient.measure()), clinician: between(start[1], await clinician.measure()) };
    const to = await counted();
    const embedded = await Promise.all(system.edges.map(async (edge) => (await scrape(edge)).get("medmesh_turn_allocations")));
    writeResult(`hospital-${way}`, { seen, relay: { from, to } });
    for (const [who, figures] of Object.entries(seen)) {
      assert.equal(figures.relayed, true, `${who} is relayed`);
      assert.ok(figures.frames_per_second >= FRAMES_PER_SECOND_MIN, `${who} decoded ${figures.frames_per_second} frames/s`);
      assert.ok(figures.audio_energy > 1e-4, `${who} heard ${figures.audio_energy}`);
    }
    for (const person of [patient, clinician]) {
      const used = await person.page.evaluate(() => globalThis.relaysInUse());
      assert.deepEqual(used, [{ candidateType: "relay", relayProtocol: way, url: relay.urls[way] }], `${person.name}'s one connection`);
    }
    // A browser allocates once for each network of its machine; a probe of a control node comes and goes.
    assert.ok(from.allocations >= 2 && to.allocations >= 2, "both are on the standalone relay");
    assert.deepEqual(embedded, system.edges.map(() => 0), "and nobody on an edge's own");
    for (const direction of ["to_client", "to_peer"]) {
      const packets = to[direction] - from[direction];
      assert.ok(packets >= 2 * WATCH_SECONDS * PACKETS_PER_SECOND_MIN, `${packets} packets ${direction}`);
    }
    for (const person of [patient, clinician]) {
      await person.leave();
      await person.close();
    }
    await tools.until("both leave the relay", async () => await relay.sample("medmesh_turn_allocations") < 2, START_MS);
  });
}
