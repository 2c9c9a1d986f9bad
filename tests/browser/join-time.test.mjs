/** From the click on Join to the first decoded picture of the other: measured, not judged; a loaded machine is no defect. */
import assert from "node:assert/strict";
import { after, it } from "node:test";
import { Person } from "./src/person.mjs";
import { system, until, visitForToday, writeResult } from "./src/system.mjs";

const TIMES = 20;
const STEPS = ["session", "offer", "answer", "connected", "control", "first_frame"];

const people = [];
after(async () => {
  for (const person of people) await person.close();
});

it(`takes the time from click to picture ${TIMES} times`, async () => {
  const visitId = await visitForToday();
  const [edgeA, edgeB] = system.edges;
  const clinician = await Person.arrive("timing-clinician", "clinician", system.logins.clinician, { near: edgeB });
  people.push(clinician);
  await clinician.comeToVisit(visitId);
  await clinician.join();
  const patient = await Person.arrive("timing-patient", "patient", system.logins.patient, { near: edgeA });
  people.push(patient);
  await patient.comeToVisit(visitId);
  if (await patient.id("lobby").getAttribute("data-state") === "waiting") await clinician.id("admit").first().click();

  const runs = [];
  for (let n = 0; n < TIMES; n += 1) {
    await patient.see("join");
    // A person takes a moment too; the next connection is prepared meanwhile.
    await patient.probesTaken();
    await patient.join();
    runs.push(await until("the first picture", async () => {
      const { timings_ms } = await patient.measure();
      return timings_ms.first_frame !== undefined && timings_ms;
    }));
    if (n === 0) {
      await patient.id("settings").click();
      await patient.see("statistics");
      await patient.photo("statistics");
      await patient.page.keyboard.press("Escape");
    }
    await patient.leave();
  }
  await clinician.leave();

  const sorted = (step) => runs.map((run) => run[step]).sort((a, b) => a - b);
  const at = (values, share) => values[Math.min(values.length - 1, Math.ceil(share * values.length) - 1)];
  const summary = Object.fromEntries(STEPS.map((step) => [step, { p50_ms: at(sorted(step), 0.5), p95_ms: at(sorted(step), 0.95) }]));
  writeResult("join-time", { times: TIMES, edges: [edgeA.name, edgeB.name], since_click: summary, runs });
  console.log(JSON.stringify(summary));
  assert.equal(runs.length, TIMES);
});
