/** Every control node dies in turn, during a visit and while bookings run: the media never pauses, no acknowledged booking is lost. */
import assert from "node:assert/strict";
import { after, it } from "node:test";
import { between, Person } from "./src/person.mjs";
import { restClient, system, until, visitForToday, writeResult } from "./src/system.mjs";

/** As in an undisturbed visit, on average over the whole time a control node is away. */
const FRAMES_PER_SECOND_MIN = 15;
/** Of what was sent while a control node was away, what may still be on its way: a second of sound. */
const IN_FLIGHT_MAX = 50;
/** Sound that has to have been sent from before each loss until after it, for a hole to show: four seconds of it. */
const SENT_MIN = 4 * IN_FLIGHT_MAX;
/** A restart, an election, and the edges' next report. */
const BACK_MS_MAX = 30_000;
/** Between two bookings: an account that books without a pause is told to wait, and rightly. */
const BOOKING_EVERY_MS = 200;
/** Bookings made between two kills, at the least. */
const BOOKINGS_MIN = 3;

const people = [];
after(async () => {
  for (const person of people) await person.close();
});

it("loses no control node anybody would notice", async () => {
  const visitId = await visitForToday();
  const [edgeA, edgeB] = system.edges;
  const clinician = await Person.arrive("loss-clinician", "clinician", system.logins.clinician, { near: edgeB });
  people.push(clinician);
  await clinician.comeToVisit(visitId);
  await clinician.join();
  const clinicianId = await clinician.participant();
  const patient = await Person.arrive("loss-patient", "patient", system.logins.patient, { near: edgeA });
  people.push(patient);
  await patient.comeToVisit(visitId);
  if (await patient.id("lobby").getAttribute("data-state") === "waiting") await clinician.id("admit").first().click();
  await patient.join();
  await patient.seesVideoOf(clinicianId);
  await clinician.seesVideoOf(await patient.participant());
  for (const person of people) await watchFrames(person);

  const bookings = await book();
  const placed = await rooms();
  const counters = await Promise.all(people.map(async (person) => (await person.measure()).counters));
  const seen = [];
  for (const control of system.controls) {
    const before = bookings.acknowledged.length;
    const start = await Promise.all(people.map((person) => person.measure()));
    process.kill(control.pid, "SIGKILL");
    await until(`control node ${control.id} is gone`, async () => !await isReady(control), BACK_MS_MAX);
    await until(`bookings while control node ${control.id} is away`, () => bookings.acknowledged.length >= before + BOOKINGS_MIN, BACK_MS_MAX);
    await until(`control node ${control.id} is back`, () => isReady(control), BACK_MS_MAX);
    // On a quick machine all that took half a second.
    const end = await until(`sound from before the loss of control node ${control.id} until after it`, async () => {
      const now = await Promise.all(people.map((person) => person.measure()));
      return now.every(({ report }, index) => report.audio_packets_sent - start[index].report.audio_packets_sent >= SENT_MIN) && now;
    }, BACK_MS_MAX);
    for (const [index, person] of people.entries()) {
      const { frames_per_second, audio_energy } = between(start[index], end[index]);
      const sound = (measured) => measured.report.audio.reduce((sum, one) => ({ came: sum.came + one.packets_received, lost: sum.lost + one.packets_lost }), { came: 0, lost: 0 });
      const [before, after] = [sound(start[index]), sound(end[index])];
      const sent = end[1 - index].report.audio_packets_sent - start[1 - index].report.audio_packets_sent;
      seen.push({ control: control.id, person: person.name, frames_per_second, audio_energy, sent, came: after.came - before.came, lost: after.lost - before.lost });
    }
  }
  await bookings.stop();

  const kept = new Map((await appointments()).map((appointment) => [appointment.id, appointment]));
  for (const appointment of bookings.acknowledged) assert.deepEqual(kept.get(appointment.id), appointment);
  const still = new Map((await rooms()).map((room) => [room.id, room]));
  for (const room of placed) {
    const now = still.get(room.id);
    assert.deepEqual(now?.participants.map(({ id, edge }) => ({ id, edge })), room.participants.map(({ id, edge }) => ({ id, edge })));
  }
  const gaps = {};
  for (const person of people) gaps[person.name] = await person.page.evaluate(() => Math.max(...Object.values(window.__gaps).map((gap) => gap.longest)));
  writeResult("control-loss", { bookings: bookings.acknowledged.length, retried: bookings.retried(), longest_gap_ms: gaps, seen });
  for (const { control, person, frames_per_second, audio_energy, sent, came, lost } of seen) {
    // Counted and not timed: sound is not sent again, so what came through every hop has no hole, and none is missing at the end.
    assert.equal(lost, 0, `${person} lost ${lost} packets of ${sent} without control node ${control}`);
    assert.ok(sent >= SENT_MIN && came >= sent - IN_FLIGHT_MAX, `${person} got ${came} packets of ${sent} without control node ${control}`);
    assert.ok(frames_per_second >= FRAMES_PER_SECOND_MIN, `${person} decoded ${frames_per_second} frames/s without control node ${control}`);
    assert.ok(audio_energy > 0, `${person} heard nothing without control node ${control}`);
  }
  // No resume, no ICE restart, no new exchange: the connections did not notice at all.
  assert.deepEqual(await Promise.all(people.map(async (person) => (await person.measure()).counters)), counters);
});

/** Notes the longest time between two presented frames of every remote picture: reported, not judged, as a busy machine has longer ones. */
async function watchFrames(person) {
  await person.page.evaluate(() => {
    window.__gaps = {};
    document.querySelectorAll('[data-testid="tile"] video').forEach((video, index) => {
      const gap = (window.__gaps[index] = { last: performance.now(), longest: 0 });
      const look = () => {
        const now = performance.now();
        gap.longest = Math.max(gap.longest, now - gap.last);
        gap.last = now;
        video.requestVideoFrameCallback(look);
      };
      video.requestVideoFrameCallback(look);
    });
  });
}

/** Books one slot after the other, for a patient who is not in the visit, at whatever control node answers. */
async function book() {
  const admin = await restClient(system.logins.admin);
  const patient_id = (await restClient(system.logins.patient2)).session.person.id;
  const clinician_id = (await restClient(system.logins.colleague)).session.person.id;
  const acknowledged = [];
  let stopped = false;
  let retried = 0;
  let day = 1;
  const work = (async () => {
    while (!stopped) {
      const starts = new Date(Date.now() + day * 86_400_000);
      starts.setUTCSeconds(0, 0);
      day += 1;
      const body = { patient_id, clinician_id, starts_at: starts.toISOString(), ends_at: new Date(starts.getTime() + 900_000).toISOString() };
      const answer = await admin.create("/v1/appointments", body, () => { retried += 1; });
      if (answer.status !== 201) throw new Error(`booking answered ${answer.status} ${answer.body?.code}`);
      acknowledged.push(answer.body);
      await new Promise((done) => setTimeout(done, BOOKING_EVERY_MS));
    }
  })();
  return { acknowledged, retried: () => retried, stop: () => { stopped = true; return work; } };
}

async function appointments() {
  const admin = await restClient(system.logins.admin);
  const all = [];
  for (let cursor = null, first = true; first || cursor; first = false) {
    const answer = await admin.request("GET", `/v1/appointments?limit=200${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
    assert.equal(answer.status, 200);
    all.push(...answer.body.items);
    cursor = answer.body.next_cursor;
  }
  return all;
}

async function rooms() {
  const { readFileSync } = await import("node:fs");
  const token = readFileSync(system.operator_token_file, "utf8").trim();
  return until("the fleet's sessions", async () => {
    const response = await fetch(new URL("/v1/fleet/sessions", system.portal_url), { headers: { Authorization: `Bearer ${token}` } }).catch(() => null);
    return response?.ok && (await response.json()).rooms;
  });
}

async function isReady(control) {
  const response = await fetch(new URL("/readyz", control.admin)).catch(() => null);
  return response?.ok === true;
}
