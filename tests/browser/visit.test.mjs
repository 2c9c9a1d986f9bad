/** Two people on two edges, then a third: pictures and sound across the mesh, screen, mute, chat, and coming back after a reload. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { growth, scrape } from "./src/metrics.mjs";
import { between, Person } from "./src/person.mjs";
import { system, until, visitForToday, writeResult } from "./src/system.mjs";

const WATCH_SECONDS = 20;
const FRAMES_PER_SECOND_MIN = 15;
/** The fake microphone beeps once a second; silence has no energy at all. */
const ENERGY_MIN = 1e-4;
const CHAT_MS_MAX = 1_000;
/** Numbers of repetitions of each way of the chat. */
const CHAT_TIMES = 5;

describe("a visit through the mesh", () => {
  const [edgeA, edgeB] = system.edges;
  let patient, clinician, colleague;
  let visitId, patientId, clinicianId;

  before(async () => { visitId = await visitForToday(); });
  after(async () => {
    for (const person of [patient, clinician, colleague]) await person?.close();
  });

  it("leads the patient through the check into the waiting room", async () => {
    patient = await Person.arrive("patient", "patient", system.logins.patient, { near: edgeA });
    await patient.comeToVisit(visitId);
  });

  it("lets the clinician open it, see who is waiting and admit", async () => {
    clinician = await Person.arrive("clinician", "clinician", system.logins.clinician, { near: edgeB });
    await clinician.comeToVisit(visitId);
    await clinician.join();
    await clinician.photo("alone");
    clinicianId = await clinician.participant();
    if (await patient.id("lobby").getAttribute("data-state") === "waiting") {
      await clinician.see("admit");
      await clinician.photo("admit");
      await clinician.id("admit").first().click();
    }
    await patient.see("join");
    await patient.photo("admitted");
    await patient.join();
    patientId = await patient.participant();
  });

  it("puts each on the edge near them", () => {
    assert.equal(patient.edge?.name, edgeA.name);
    assert.equal(clinician.edge?.name, edgeB.name);
  });

  it(`shows and plays each to the other for ${WATCH_SECONDS} s, over the mesh`, async () => {
    await patient.seesVideoOf(clinicianId);
    await clinician.seesVideoOf(patientId);
    const mesh = [await scrape(edgeA), await scrape(edgeB)];
    const start = [await patient.measure(), await clinician.measure()];
    await until("the time to pass", async () => (await patient.measure()).at - start[0].at >= WATCH_SECONDS * 1000, (WATCH_SECONDS + 10) * 1000);
    const end = [await patient.measure(), await clinician.measure()];
    const seen = { patient: between(start[0], end[0]), clinician: between(start[1], end[1]) };
    const crossed = { [edgeA.name]: growth(mesh[0], await scrape(edgeA), "_mesh_"), [edgeB.name]: growth(mesh[1], await scrape(edgeB), "_mesh_") };
    writeResult("two-edges", { seen, crossed });
    await patient.photo("visit");
    await clinician.photo("visit");
    for (const [who, figures] of Object.entries(seen)) {
      assert.ok(figures.frames_per_second >= FRAMES_PER_SECOND_MIN, `${who} decoded ${figures.frames_per_second} frames/s`);
      assert.ok(figures.audio_energy > ENERGY_MIN, `${who} heard ${figures.audio_energy}`);
    }
    // Fifty packets of sound a second, and one for each frame at least, both ways.
    const least = WATCH_SECONDS * (50 + FRAMES_PER_SECOND_MIN) * 0.9;
    for (const [edge, counters] of Object.entries(crossed)) {
      for (const way of ["received", "sent"]) {
        const packets = Object.entries(counters).filter(([name]) => name.includes(`mesh_${way}_packets`)).reduce((sum, [, count]) => sum + count, 0);
        assert.ok(packets >= least, `${packets} packets ${way} over the mesh at ${edge}, not ${least}: ${JSON.stringify(counters)}`);
      }
    }
  });

  it("takes in a third without a new SDP exchange of the first two", async () => {
    const before = [await patient.measure(), await clinician.measure()];
    const posts = [patient.exchanges.length, clinician.exchanges.length];
    await clinician.id("people-button").click();
    colleague = await Person.arrive("colleague", "clinician", system.logins.colleague, { near: edgeA });
    await colleague.see("waiting-count");
    const already = await colleague.page.locator(`[data-testid="open"][data-visit="${visitId}"]`).isVisible();
    if (!already) {
      const name = await colleagueName();
      await clinician.id("add-person").click();
      await clinician.page.locator(`[data-testid="add-person-select"] option`, { hasText: name }).waitFor({ state: "attached" });
      await clinician.id("add-person-select").selectOption({ label: name });
      await clinician.id("add-person-submit").click();
    }
    await colleague.comeToVisit(visitId);
    if (await colleague.id("lobby").getAttribute("data-state") === "waiting") {
      await clinician.see("admit");
      await clinician.id("admit").first().click();
    }
    await colleague.join();
    const colleagueId = await colleague.participant();
    for (const person of [patient, clinician]) await person.seesVideoOf(colleagueId);
    await colleague.seesVideoOf(patientId);
    await colleague.seesVideoOf(clinicianId);
    await clinician.page.keyboard.press("Escape");
    for (const person of [patient, clinician, colleague]) await person.photo("three");
    const after = [await patient.measure(), await clinician.measure()];
    assert.deepEqual(after.map((now) => now.counters), before.map((then) => then.counters));
    assert.deepEqual([patient.exchanges.length, clinician.exchanges.length], posts);
    assert.equal(after[0].counters.sdp_exchanges, 1);
    await colleague.leave();
    await until("the colleague's tile goes", async () => await patient.tile(colleagueId).count() === 0);
    await colleague.close();
    colleague = undefined;
  });

  it("takes in somebody without camera and microphone, who sees and hears the others", async () => {
    colleague = await Person.arrive("without-devices", "clinician", system.logins.colleague, { near: edgeB, devices: false });
    await colleague.comeToVisit(visitId);
    await colleague.join();
    const id = await colleague.participant();
    await colleague.seesVideoOf(patientId);
    await patient.page.locator(`[data-testid="tile"][data-participant="${id}"][data-video="false"] .tile-muted`).waitFor();
    const start = await colleague.measure();
    await until("sound", async () => between(start, await colleague.measure()).audio_energy > ENERGY_MIN);
    await colleague.photo("visit");
    await colleague.id("camera").click();
    await colleague.see("device-trouble");
    await colleague.leave();
    await colleague.close();
    colleague = undefined;
  });

  it("shows a shared screen, and takes it away again", async () => {
    await clinician.id("share").click();
    await patient.seesVideoOf(clinicianId, "screen");
    await patient.photo("screen");
    await clinician.id("share").click();
    await until("the screen goes", async () => await patient.tile(clinicianId, "screen").count() === 0);
  });

  it("tells of a mute and silences it, and of a camera that is off", async () => {
    await patient.id("mute").click();
    await clinician.tile(patientId).locator(".tile-muted").waitFor();
    // Playout drains within a second; then nothing more arrives.
    const quiet = await until("silence", async () => {
      const start = await clinician.measure();
      await until("a moment", async () => (await clinician.measure()).at - start.at > 1_500);
      return between(start, await clinician.measure()).audio_energy < ENERGY_MIN / 10;
    });
    assert.ok(quiet);
    await clinician.photo("muted");
    await patient.id("mute").click();
    await clinician.tile(patientId).locator(".tile-muted").waitFor({ state: "detached" });
    await patient.id("camera").click();
    await clinician.page.locator(`[data-testid="tile"][data-participant="${patientId}"][data-video="false"]`).waitFor();
    await patient.id("camera").click();
    await clinician.seesVideoOf(patientId);
  });

  it("carries messages both ways, at the median within a second", async () => {
    const times = [];
    // The visit may have been used by a run before this one.
    const run = Date.now() % 1_000_000;
    for (const [from, to] of [[patient, clinician], [clinician, patient]]) {
      if (await from.id("chat-input").count() === 0) await from.id("chat").click();
      for (let n = 0; n < CHAT_TIMES; n += 1) {
        const text = `message ${n} of ${run} from ${from.name}`;
        await from.id("chat-input").fill(text);
        const start = Date.now();
        await from.id("chat-send").click();
        if (n === 0 && to === clinician) await to.see("chat-badge");
        if (await to.id("chat-list").count() === 0) await to.id("chat").click();
        await to.page.locator('[data-testid="message"][data-state="sent"]', { hasText: text }).waitFor();
        times.push(Date.now() - start);
        await from.page.locator('[data-testid="message"][data-state="sent"]', { hasText: text }).waitFor();
      }
    }
    await patient.photo("chat");
    await clinician.photo("chat");
    writeResult("chat", { milliseconds: times });
    // The usual one is judged: a single message may meet a moment in which a loaded machine did something else.
    const median = [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)];
    assert.ok(median < CHAT_MS_MAX, `took ${times} ms`);
  });

  it("brings somebody back after a reload, without asking again", async () => {
    await patient.page.reload();
    await patient.see("call");
    await patient.seesVideoOf(clinicianId);
    await clinician.seesVideoOf(patientId);
    await patient.photo("rejoined");
    assert.equal(await patient.participant(), patientId);
    assert.equal((await clinician.measure()).counters.sdp_exchanges, 1);
  });

  it("ends for whoever leaves, without an error on any page", async () => {
    await patient.leave();
    await patient.photo("left");
    await until("the tile goes", async () => await clinician.tile(patientId).count() === 0);
    await clinician.leave();
    assert.deepEqual([...patient.errors, ...clinician.errors], []);
  });

  async function colleagueName() {
    const { restClient } = await import("./src/system.mjs");
    return (await restClient(system.logins.colleague)).session.person.display_name;
  }
});

describe("the clinic's side", () => {
  it("shows people and appointments to the admin", async () => {
    const admin = await Person.arrive("admin", "admin", system.logins.admin);
    await admin.see("appointment-row");
    await admin.photo("appointments");
    await admin.id("nav-people").click();
    await admin.see("person-row");
    await admin.photo("people");
    await admin.close();
  });
});
