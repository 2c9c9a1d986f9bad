/** A visit goes on when the network changes and when an edge dies. Runs last: it kills the process of an edge. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { between, Person } from "./src/person.mjs";
import { system, until, visitForToday, writeResult } from "./src/system.mjs";

const FRAMES_PER_SECOND_MIN = 15;
const WATCH_MS = 3_000;

describe("a visit that moves", () => {
  const [edgeA, edgeB] = system.edges;
  let patient, clinician, patientId, clinicianId;

  before(async () => {
    const visitId = await visitForToday();
    clinician = await Person.arrive("moving-clinician", "clinician", system.logins.clinician, { near: edgeB });
    await clinician.comeToVisit(visitId);
    await clinician.join();
    clinicianId = await clinician.participant();
    patient = await Person.arrive("moving-patient", "patient", system.logins.patient, { near: edgeA });
    await patient.comeToVisit(visitId);
    if (await patient.id("lobby").getAttribute("data-state") === "waiting") await clinician.id("admit").first().click();
    await patient.join();
    patientId = await patient.participant();
    await patient.seesVideoOf(clinicianId);
    await clinician.seesVideoOf(patientId);
  });
  after(async () => {
    for (const person of [patient, clinician]) await person?.close();
  });

  /** Pictures flow at full rate for a while; a stretch in which the machine was busy elsewhere is watched again. */
  const flowing = (person) => until(`${person.name} sees ${FRAMES_PER_SECOND_MIN} frames/s`, async () => {
    const start = await person.measure();
    await until("a while", async () => (await person.measure()).at - start.at >= WATCH_MS);
    return between(start, await person.measure()).frames_per_second >= FRAMES_PER_SECOND_MIN;
  }, 20_000);

  it("restarts ICE on a new network, on the same connection", async () => {
    await patient.page.evaluate(() => window.dispatchEvent(new Event("online")));
    await until("the restart", async () => (await patient.measure()).counters.ice_restarts === 1);
    await flowing(patient);
    await flowing(clinician);
    assert.deepEqual((await patient.measure()).counters, { sdp_exchanges: 1, ice_restarts: 1, resumes: 0, heartbeats_missed: 0 });
  });

  it("goes on over the other edge when the patient's dies", { skip: edgeA.pid === undefined && "the system file names no process" }, async () => {
    assert.equal(patient.edge.name, edgeA.name);
    const killedAt = Date.now();
    process.kill(edgeA.pid, "SIGKILL");
    await until("the resume", async () => (await patient.measure()).counters.resumes === 1);
    const resumed_ms = Date.now() - killedAt;
    await patient.seesVideoOf(clinicianId);
    await clinician.seesVideoOf(patientId);
    const picture_ms = Date.now() - killedAt;
    await patient.photo("visit");
    writeResult("edge-death", { resumed_ms, picture_ms });
    await flowing(patient);
    await flowing(clinician);
    assert.equal((await clinician.measure()).counters.sdp_exchanges, 1);
  });
});
