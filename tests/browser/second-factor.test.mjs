/** Staff who sign in for the first time set up a second factor: a passkey of a real browser, or an app; and use it from then on. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Person } from "./src/person.mjs";
import { restClient, system, until } from "./src/system.mjs";
import { nextCode } from "./src/totp.mjs";

const PASSWORD = "a walk along the river";

describe("the second factor of staff", () => {
  let admin;
  const people = [];
  before(async () => { admin = await restClient(system.logins.admin); });
  after(async () => { for (const person of people) await person.close(); });

  async function newcomer(name) {
    const email = `${name}.${Date.now()}@demo.example`;
    const body = { display_name: "Nadia Newcomer", email, password: PASSWORD, roles: ["clinician"], locale: "en" };
    const made = await admin.request("POST", "/v1/people", body);
    assert.equal(made.status, 201);
    const person = await Person.arrive(name, "clinician", { email, password: PASSWORD });
    people.push(person);
    await person.see("enrol");
    return { person, email };
  }

  /** A platform authenticator that knows its owner's finger. */
  async function withAuthenticator(person) {
    const cdp = await person.context.newCDPSession(person.page);
    await cdp.send("WebAuthn.enable");
    await cdp.send("WebAuthn.addVirtualAuthenticator", {
      options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
    });
  }

  async function keepCodes(person) {
    await person.see("enrol-codes");
    const codes = await person.id("recovery-code").allTextContents();
    assert.equal(codes.length, 10);
    await person.id("enrol-kept").check();
    await person.id("enrol-done").click();
    await isIn(person);
    return codes;
  }

  const isIn = (person) => until("the schedule", async () => await person.id("sign-in").count() === 0 && await person.id("sign-out").count() === 1 && await person.id("second-step").count() === 0);

  async function signOut(person) {
    await person.id("sign-out").click();
    await person.see("sign-in");
  }

  it("sets up a passkey and signs in with it alone, without name and password", async () => {
    const { person } = await newcomer("passkey");
    await withAuthenticator(person);
    await person.photo("enrol");
    await person.id("enrol-passkey").click();
    await keepCodes(person);
    await signOut(person);
    await person.id("sign-in-passkey").click();
    await isIn(person);
    assert.deepEqual(person.errors, []);
  });

  it("sets up an app, is asked for its code, and gets in with a recovery code when it is lost", async () => {
    const { person, email } = await newcomer("app");
    await person.id("enrol-app").click();
    await person.see("enrol-scan");
    await person.photo("scan");
    const secret = (await person.id("enrol-secret").textContent()).replaceAll(" ", "");
    await person.id("enrol-code").fill(await nextCode(secret));
    await person.id("enrol-submit").click();
    const codes = await keepCodes(person);
    for (const step of [
      async () => person.id("second-step-code").fill(await nextCode(secret)),
      async () => { await person.id("second-step-recovery").click(); await person.id("second-step-code").fill(codes[0]); },
    ]) {
      await signOut(person);
      await person.id("sign-in-email").fill(email);
      await person.id("sign-in-password").fill(PASSWORD);
      await person.id("sign-in-submit").click();
      await person.see("second-step");
      await step();
      await person.id("second-step-submit").click();
      await isIn(person);
    }
    assert.deepEqual(person.errors, []);
  });
});
