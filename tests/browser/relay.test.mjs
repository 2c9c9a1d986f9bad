/** The same visit when neither side has any way but a relay. */
import assert from "node:assert/strict";
import { after, it } from "node:test";
import { between, Person } from "./src/person.mjs";
import { system, until, visitForToday, writeResult } from "./src/system.mjs";

const WATCH_SECONDS = 8;
const FRAMES_PER_SECOND_MIN = 15;

const people = [];
after(async () => {
  for (const person of people) await person.close();
});

it("runs with iceTransportPolicy relay on both sides", async () => {
  const visitId = await visitForToday();
  const [edgeA, edgeB] = system.edges;
  const patient = await Person.arrive("relay-patient", "patient", system.logins.patient, { near: edgeA, query: "?relay=1" });
  people.push(patient);
  await patient.comeToVisit(visitId);
  const clinician = await Person.arrive("relay-clinician", "clinician", system.logins.clinician, { near: edgeB, query: "?relay=1" });
  people.push(clinician);
  await clinician.comeToVisit(visitId);
  await clinician.join();
  const clinicianId = await clinician.participant();
  if (await patient.id("lobby").getAttribute("data-state") === "waiting") await clinician.id("admit").first().click();
  await patient.join();
  await patient.seesVideoOf(clinicianId);
  await clinician.seesVideoOf(await patient.participant());
  const start = [await patient.measure(), await clinician.measure()];
  await until("the time to pass", async () => (await patient.measure()).at - start[0].at >= WATCH_SECONDS * 1000, (WATCH_SECONDS + 10) * 1000);
  const seen = { patient: between(start[0], await patient.measure()), clinician: between(start[1], await clinician.measure()) };
  writeResult("relay", seen);
  await patient.photo("visit");
  for (const [who, figures] of Object.entries(seen)) {
    assert.equal(figures.relayed, true, `${who} is relayed`);
    assert.ok(figures.frames_per_second >= FRAMES_PER_SECOND_MIN, `${who} decoded ${figures.frames_per_second} frames/s`);
    assert.ok(figures.audio_energy > 1e-4, `${who} heard ${figures.audio_energy}`);
  }
  await patient.leave();
  await clinician.leave();
});
