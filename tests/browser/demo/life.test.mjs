/**
 * `medmesh demo` as people use it: with a synthetic patient, again on the same data, Ctrl-C, and beside something that has its ports.
 * It starts its own: whatever else runs is left alone.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const BINARY = join(process.env.MEDMESH_BINARIES ?? join(ROOT, "target/debug"), "medmesh");
/** A cold start on a machine that is busy with other things. */
const START_MS = 180_000;
const STOP_MS = 60_000;

const dir = mkdtempSync(join(tmpdir(), "medmesh-life-"));
// PostgreSQL refuses root, and its own user has to come in.
chmodSync(dir, 0o711);
const state = join(dir, "state");
const systemFile = join(dir, "system.json");
// The tools beside this folder read it when they are loaded.
process.env.MEDMESH_SYSTEM = systemFile;
const demos = [];

after(async () => {
  for (const demo of demos) if (demo.process.exitCode === null) demo.process.kill("SIGTERM");
  await Promise.all(demos.map((demo) => demo.ended));
  rmSync(dir, { recursive: true, force: true });
});

/** A demo that was told to start; its output and how it ends. */
function start(...args) {
  const child = spawn(BINARY, ["demo", ...args], { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  const demo = { process: child, out: "", err: "" };
  child.stdout.on("data", (text) => { demo.out += text; });
  child.stderr.on("data", (text) => { demo.err += text; });
  demo.ended = new Promise((done) => child.once("close", (code, signal) => done({ code, signal })));
  demos.push(demo);
  return demo;
}

async function until(what, look, deadlineMs) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const value = await look();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what}: not within ${deadlineMs} ms`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

const said = (demo, words) => until(`“${words}”`, () => {
  assert.equal(demo.process.exitCode, null, `it ended: ${demo.err}`);
  return demo.out.includes(words);
}, START_MS);

/** Every process below one, by id and name. */
function descendants(pid) {
  const processes = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try {
      const [, comm, rest] = /^\d+ \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${name}/stat`, "utf8"));
      return [{ pid: Number(name), comm, parent: Number(rest.split(" ")[1]), state: rest[0] }];
    } catch {
      return []; // It has just ended.
    }
  });
  const below = (parent) => processes.filter((one) => one.parent === parent).flatMap((one) => [one, ...below(one.pid)]);
  return below(pid);
}

const isAlive = ({ pid, comm }) => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.includes(`(${comm})`) && !/\) Z /.test(stat);
  } catch {
    return false;
  }
};

/** Where something of a system listens. */
const ports = (system) => [
  ...system.controls.flatMap(({ http, admin }) => [http, admin]), ...system.edges.flatMap(({ signalling_url, admin_url }) => [signalling_url, admin_url]),
].map((url) => Number(new URL(url).port));

const isFree = (port) => new Promise((done) => {
  const socket = connect(port, "127.0.0.1");
  socket.once("connect", () => { socket.destroy(); done(false); });
  socket.once("error", () => done(true));
});

/** Ctrl-C, and nothing is left of it. */
async function interrupt(demo, system) {
  const children = descendants(demo.process.pid);
  demo.process.kill("SIGINT");
  const ended = await Promise.race([demo.ended, new Promise((_, fail) => setTimeout(() => fail(new Error("it does not stop")), STOP_MS).unref())]);
  assert.deepEqual(ended, { code: 0, signal: null }, demo.err);
  // Whose parent was asked to stop may be a moment later than the parent.
  await until("every process below it is gone", () => children.filter(isAlive).length === 0, STOP_MS).catch((error) => {
    throw new Error(`${error.message}: ${children.filter(isAlive).map(({ comm }) => comm)}`);
  });
  if (system !== undefined) for (const port of ports(system)) assert.ok(await isFree(port), `port ${port} is free`);
  return children.map(({ comm }) => comm);
}

const readSystem = (demo) => until("the system is up", () => {
  if (demo.process.exitCode !== null) throw new Error(`it ended: ${demo.err}`);
  return existsSync(systemFile) && demo.out.includes("Ctrl-C stops everything") && JSON.parse(readFileSync(systemFile, "utf8"));
}, START_MS);

/** A port with four hundred free above it, as far as can be seen from here. */
async function freeBase() {
  for (let base = 33_000 - 400 * (1 + (process.pid % 20)); base > 20_000; base -= 400) {
    const free = await Promise.all([0, 1, 2, 3, 10, 20, 30, 31, 40, 50, 60, 70, 134, 210].map((offset) => isFree(base + offset)));
    if (free.every(Boolean)) return base;
  }
  throw new Error("no free ports");
}

/** What PostgreSQL says of itself, and the locks it holds. */
function postgres() {
  const log = readFileSync(join(state, "postgres", "postgres.log"), "utf8");
  const locks = readdirSync(join(state, "postgres"), { recursive: true }).filter((name) => name.endsWith("postmaster.pid"));
  return { log, locks };
}

describe("a demo", () => {
  let base;
  let first;
  let people;
  before(async () => { base = await freeBase(); });

  it("has a synthetic patient whose picture and sound reach whoever admits them", async () => {
    const demo = start("--state", state, "--base-port", String(base), "--system-file", systemFile, "--bots");
    const system = await readSystem(demo);
    const { Person, between } = await import("../src/person.mjs");
    const { restClient } = await import("../src/system.mjs");
    const clinician = await Person.arrive("life-clinician", "clinician", system.logins.clinician);
    try {
      await clinician.comeToVisit(system.visit_id);
      await clinician.id("admit").first().click({ timeout: 60_000 });
      await clinician.join();
      const visit = (await clinician.request("GET", `/v1/visits/${system.visit_id}`)).body;
      const bot = visit.participants.find(({ role }) => role === "patient").participant_id;
      await clinician.seesVideoOf(bot);
      const start = await clinician.measure();
      const { frames, energy } = await until("twenty pictures and some sound of the patient", async () => {
        const { frames_per_second, seconds, audio_energy } = between(start, await clinician.measure());
        return frames_per_second * seconds >= 20 && audio_energy > 0 && { frames: frames_per_second * seconds, energy: audio_energy };
      }, 60_000);
      console.log(`of the synthetic patient: ${Math.round(frames)} pictures, sound of energy ${energy.toExponential(1)}`);
    } finally {
      await clinician.close();
    }
    const admin = await restClient(system.logins.admin);
    people = (await admin.request("GET", "/v1/people")).body.items.map(({ id, display_name }) => `${id} ${display_name}`).sort();
    assert.ok(people.length >= 4);
    first = system;

    const gone = await interrupt(demo, system);
    for (const name of ["postgres", "redis-server", "medmesh-control", "medmesh-edge", "chromium"]) assert.ok(gone.some((comm) => comm.startsWith(name)), `${name} ran: ${gone}`);
    const { log, locks } = postgres();
    assert.match(log, /database system is shut down\n$/);
    assert.deepEqual(locks, [], "PostgreSQL has taken its lock away");
  });

  it("starts again on what it kept, and nobody else takes its data or its ports", async () => {
    rmSync(systemFile);
    const demo = start("--state", state, "--base-port", String(base), "--system-file", systemFile);
    const again = await readSystem(demo);
    assert.deepEqual(again.logins, first.logins);
    const { restClient } = await import("../src/system.mjs");
    const admin = await restClient(again.logins.admin);
    assert.deepEqual((await admin.request("GET", "/v1/people")).body.items.map(({ id, display_name }) => `${id} ${display_name}`).sort(), people);
    const patient = await restClient(again.logins.patient);
    const kept = await patient.request("GET", `/v1/visits/${first.visit_id}`);
    assert.equal(kept.status, 200, kept.body.code);
    assert.equal(kept.body.id, first.visit_id);
    assert.doesNotMatch(postgres().log, /not properly shut down/);

    // The same ports for other data; other ports for the same data.
    const ports = start("--state", join(dir, "other"), "--base-port", String(base));
    assert.equal((await ports.ended).code, 1);
    assert.match(ports.err, /^medmesh: port \d+ is in use; choose other ports with --base-port\n$/);
    const data = start("--state", state, "--base-port", String(base - 400));
    assert.equal((await data.ended).code, 1);
    assert.match(data.err, /^medmesh: another demo runs on .*state; stop it, or say where this one keeps its data \(--state\)\n$/);
    assert.equal((await patient.request("GET", `/v1/visits/${first.visit_id}`)).status, 200, "the first is as it was");
    await interrupt(demo, again);
  });

  it("stops while it starts, and one that keeps nothing leaves nothing", async () => {
    const demo = start("--ephemeral");
    await said(demo, "PostgreSQL");
    await until("PostgreSQL runs", () => descendants(demo.process.pid).some(({ comm }) => comm === "postgres"), START_MS);
    const kept = join(tmpdir(), `medmesh-demo-${demo.process.pid}`);
    assert.ok(existsSync(kept));
    await interrupt(demo);
    assert.ok(!existsSync(kept), "its directory is gone");
  });

  it("says which port something else has", async () => {
    const server = createServer();
    const port = await new Promise((done) => server.listen(base + 1, "127.0.0.1", () => done(server.address().port)));
    try {
      const demo = start("--state", join(dir, "third"), "--base-port", String(base));
      const { code } = await demo.ended;
      assert.equal(code, 1);
      assert.ok(demo.err.includes(`port ${port} is in use`), demo.err);
      assert.deepEqual(descendants(demo.process.pid), []);
    } finally {
      server.close();
    }
  });
});
