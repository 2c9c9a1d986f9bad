/** Staff from the first day to the last: credentials stated and verified, roles given, the account closed; factors called by a name. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Person } from "./src/person.mjs";
import { system, until } from "./src/system.mjs";
import { nextCode } from "./src/totp.mjs";

const PASSWORD = "a walk along the river";
const NAME = `Nils Newcomer ${Date.now() % 100_000}`;

describe("somebody new on the staff", () => {
  let admin;
  let clinician;
  const login = { email: `credentials.${Date.now()}@demo.example`, password: PASSWORD };
  const people = [];
  before(async () => {
    admin = await arrive("credentials-admin", "admin", system.logins.admin);
    await admin.see("nav-people");
    const made = await admin.request("POST", "/v1/people", { display_name: NAME, ...login, roles: ["clinician"], locale: "en" });
    assert.equal(made.status, 201, made.body.code);
    clinician = await arrive("credentials-clinician", "clinician", login);
  });
  after(async () => { for (const person of people) await person.close(); });

  async function arrive(name, portal, as) {
    const person = await Person.arrive(name, portal, as);
    people.push(person);
    return person;
  }

  /** The line of the newcomer's credential of this kind. */
  const line = (person, kind) => person.page.locator(`[data-testid="credential"][data-kind="${kind}"]`);

  it("sets up an app first, and calls it by a name", async () => {
    await clinician.see("enrol");
    await clinician.id("enrol-app").click();
    await clinician.see("enrol-scan");
    const secret = (await clinician.id("enrol-secret").textContent()).replaceAll(" ", "");
    await clinician.id("enrol-code").fill(await nextCode(secret));
    await clinician.id("enrol-submit").click();
    await clinician.see("enrol-codes");
    await clinician.id("enrol-kept").check();
    await clinician.id("enrol-done").click();
    await clinician.see("nav-account");
    await clinician.id("nav-account").click();
    for (const name of ["My telephone", "The blue telephone"]) {
      await clinician.id("totp-rename").click();
      await clinician.id("rename-name").fill(name);
      await clinician.page.keyboard.press("Enter");
      await clinician.id("rename-dialog").waitFor({ state: "detached" });
      await clinician.page.locator('[data-testid="totp-row"]', { hasText: name }).waitFor({ timeout: 15_000 });
    }
    // Staff keep their only one.
    await clinician.id("totp-remove").click();
    await clinician.id("confirm-submit").click();
    await clinician.see("confirm-error");
    await clinician.photo("last-factor");
    await clinician.page.keyboard.press("Escape");
  });

  it("states a licence and an NPI, which an admin verifies, and only with both may they act", async () => {
    await clinician.id("nav-credentials").click();
    await clinician.see("credential-awaiting");
    await clinician.id("credential-number").fill("A-201-77");
    await clinician.id("credential-state").fill("ny");
    await clinician.id("credential-expires").fill(`${new Date().getFullYear() + 2}-06-30`);
    await clinician.id("credential-submit").click();
    await line(clinician, "license").waitFor({ timeout: 15_000 });
    await clinician.id("credential-kind").selectOption("npi");
    await clinician.id("credential-number").fill("1234567890");
    await clinician.id("credential-submit").click();
    await clinician.see("credential-error");
    await clinician.id("credential-number").fill("1234567893");
    await clinician.id("credential-submit").click();
    await line(clinician, "npi").waitFor({ timeout: 15_000 });
    await clinician.photo("credentials");

    await admin.id("nav-credentials").click();
    for (const kind of ["license", "npi"]) {
      const asked = line(admin, kind).filter({ hasText: NAME });
      await asked.getByTestId("credential-verify").click();
      await admin.id("confirm-submit").click();
      await asked.waitFor({ state: "detached", timeout: 15_000 });
      await clinician.page.reload();
      await clinician.page.locator(`[data-testid="credential"][data-kind="${kind}"][data-status="verified"]`).waitFor({ timeout: 15_000 });
      assert.equal(await clinician.id("credential-awaiting").count(), kind === "license" ? 1 : 0, kind);
    }
    const day = await clinician.request("GET", "/v1/visits");
    assert.equal(day.status, 200, day.body.code);
  });

  it("is given a role by the admin, who cannot give themselves one, and is signed out when the account is closed", async () => {
    await admin.id("nav-people").click();
    const row = (who) => admin.page.locator('[data-testid="person-row"]', { hasText: who });
    const own = (await admin.request("GET", "/v1/auth/session")).body.person;
    await row(own.display_name).getByTestId("member-open").click();
    assert.ok(await admin.id("member-role-clinician").isDisabled(), "not for oneself");
    await admin.page.keyboard.press("Escape");

    await row(NAME).getByTestId("member-open").click();
    await admin.id("member-role-support").check();
    await admin.photo("member");
    await admin.id("member-submit").click();
    await admin.see("member-saved");
    await row(NAME).filter({ hasText: "Support" }).waitFor({ timeout: 15_000 });
    const session = await clinician.request("GET", "/v1/auth/session");
    assert.deepEqual(session.body.person.roles, ["clinician", "support"], "without signing in again");

    await row(NAME).getByTestId("member-open").click();
    await admin.id("member-active").uncheck();
    await admin.id("member-submit").click();
    await row(NAME).filter({ hasText: "Inactive" }).waitFor({ timeout: 15_000 });
    await clinician.id("nav-account").click();
    await clinician.see("sign-in");
    await clinician.id("sign-in-email").fill(login.email);
    await clinician.id("sign-in-password").fill(PASSWORD);
    await clinician.id("sign-in-submit").click();
    await clinician.see("sign-in-error");
    await clinician.photo("closed");
  });

  it("and the log has it all, without a page having been refused anything by its policy", async () => {
    await admin.id("nav-audit").click();
    await admin.see("audit-row");
    await admin.id("audit-action").selectOption("person_deactivate");
    await admin.id("audit-apply").click();
    await until("only that act", async () => {
      const acts = await admin.id("audit-row").evaluateAll((rows) => rows.map((shown) => shown.dataset.action));
      return acts.length > 0 && acts.every((act) => act === "person_deactivate");
    });
    for (const person of people) assert.deepEqual(person.errors, []);
  });
});
