/** Nobody at the screen: it locks and the session ends; and a page that looks by itself all day is not in the patient's log all day. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Person } from "./src/person.mjs";
import { restClient, system, until } from "./src/system.mjs";

const MINUTE = 60_000;

describe("a portal that nobody touches", () => {
  let clinician;
  let patient;
  let visitId;
  before(async () => {
    // Whoever else tests has their own patients: what these visits go through is looked at.
    const admin = await restClient(system.logins.admin);
    const login = { email: `idle.${Date.now()}@demo.example`, password: "a walk along the river" };
    const made = await admin.request("POST", "/v1/people", { display_name: "Ida Leclerc", ...login, roles: ["patient"], locale: "en" });
    assert.equal(made.status, 201, made.body.code);
    patient = await restClient(login);
    clinician = await Person.arrive("idle-clinician", "clinician", system.logins.colleague);
    visitId = await book();
    await clinician.see("visit-row");
  });
  after(async () => clinician?.close());

  /** The waiting room opens an hour before. */
  async function book() {
    await clinician.see("nav-account");
    const clinician_id = (await clinician.request("GET", "/v1/auth/session")).body.person.id;
    for (let minute = 20; minute < 60; minute += 5) {
      const starts = Date.now() + minute * MINUTE;
      const [starts_at, ends_at] = [starts, starts + 10 * MINUTE].map((at) => new Date(at).toISOString());
      const answer = await clinician.request("POST", "/v1/appointments", { patient_id: patient.session.person.id, clinician_id, starts_at, ends_at });
      if (answer.status === 201) return answer.body.visit_id;
      assert.equal(answer.body.code, "slot_taken");
    }
    throw new Error("no time is free in the next hour");
  }

  /** How often the clinician read a visit of the patient since then, as the patient is told. */
  async function readsSince(start) {
    const me = (await clinician.request("GET", "/v1/auth/session")).body.person.id;
    const answer = await patient.request("GET", `/v1/patients/${patient.session.person.id}/accesses?limit=100`);
    assert.equal(answer.status, 200, answer.body.code);
    return answer.body.items.filter(({ action, at, actor }) => action === "visit_read" && actor?.id === me && Date.parse(at) >= start).length;
  }

  it("looks again and again, and reads only what is new", async () => {
    const start = Date.now();
    const asked = [];
    clinician.page.on("request", (request) => asked.push(new URL(request.url()).pathname));
    await clinician.page.reload();
    await clinician.see("visit-row");
    const looks = () => asked.filter((path) => path === "/v1/visits/pulses").length;
    await until("six looks", () => looks() >= 6, 60_000);
    assert.equal(asked.filter((path) => path === "/v1/visits").length, 1);
    const first = await readsSince(start);
    assert.ok(first >= 1, "what the page shows was read once");

    // The patient comes to the waiting room: that visit is read, once, and shown.
    const came = await patient.request("POST", `/v1/visits/${visitId}/check-in`);
    assert.equal(came.status, 200, came.body.code);
    const seen = looks();
    await clinician.page.locator(`[data-testid="visit-row"][data-visit="${visitId}"] .slot-card-waiting`).waitFor({ timeout: 15_000 });
    await until("three looks more", () => looks() >= seen + 3, 60_000);
    assert.equal(asked.filter((path) => path === `/v1/visits/${visitId}`).length, 1);
    assert.equal(asked.filter((path) => path === "/v1/visits").length, 1);
    assert.equal(await readsSince(start), first + 1);
  });

  it("asks whether somebody is there, goes on for whoever answers, and locks for whoever does not", async () => {
    const { page } = clinician;
    await page.clock.install();
    await page.reload();
    await clinician.see("visit-row");
    const other = await clinician.context.newPage();
    await other.goto(page.url());
    await other.getByTestId("visit-row").first().waitFor();

    await page.clock.fastForward(14 * MINUTE + 5_000);
    await clinician.see("idle-warning");
    await clinician.photo("warning");
    await clinician.id("idle-stay").click();
    for (const tab of [page, other]) await tab.getByTestId("idle-warning").waitFor({ state: "detached" });

    await page.clock.fastForward(15 * MINUTE);
    for (const tab of [page, other]) {
      await tab.getByTestId("sign-in").waitFor();
      assert.equal(await tab.getByTestId("visit-row").count(), 0);
    }
    await clinician.photo("locked");
    // The service has ended the session, not only the page its show.
    const status = () => page.evaluate(async () => (await fetch("/v1/auth/session")).status);
    await until("the session is over", async () => await status() === 401);
    await other.close();
    assert.deepEqual(clinician.errors, []);
  });
});
