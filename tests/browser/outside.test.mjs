/** Signing in with an organisation's own OpenID provider: a real one, and a real browser that goes there and comes back. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { Person } from "./src/person.mjs";
import { restClient, system, until } from "./src/system.mjs";

const PROVIDER = fileURLToPath(new URL("../oidc/provider.mjs", import.meta.url));
const CLIENT = { client_id: "clinic one", client_secret: "a secret: with/odd characters%" };
const PASSWORD = "a walk along the river";

describe("an organisation's own sign-in", () => {
  let admin;
  let provider;
  let issuer;
  let patient;
  const login = { email: `outside.${Date.now()}@demo.example`, password: PASSWORD };
  const tell = async (order) => assert.equal((await fetch(`${issuer}/test`, { method: "POST", body: JSON.stringify(order) })).status, 204);

  async function offer(enabled) {
    const { version } = (await admin.request("GET", "/v1/clinic/oidc")).body;
    const body = { issuer, ...CLIENT, second_factor: [], enabled };
    const set = await admin.request("PUT", "/v1/clinic/oidc", body, { headers: { "If-Match": `"${version}"` } });
    assert.equal(set.status, 200, set.body.code);
  }

  before(async () => {
    provider = spawn(process.execPath, [PROVIDER, new URL("/v1/auth/oidc/callback", system.portal_url).href], { stdio: ["pipe", "pipe", "inherit"] });
    [issuer] = await once(createInterface({ input: provider.stdout }), "line");
    admin = await restClient(system.logins.admin);
    const made = await admin.request("POST", "/v1/people", { display_name: "Olga Outside", ...login, roles: ["patient"], locale: "en" });
    assert.equal(made.status, 201, made.body.code);
    await offer(true);
    patient = await Person.arrive("outside", "patient", null);
  });
  after(async () => {
    await patient?.close();
    await offer(false).catch(() => undefined);
    provider?.stdin.end();
  });

  const isIn = () => until("the portal", async () => await patient.id("sign-out").count() === 1);
  /** Nothing of the provider's answer, nor of ours, is left in the address. */
  const isClean = () => assert.deepEqual([new URL(patient.page.url()).search, new URL(patient.page.url()).hash], ["", ""]);

  it("is offered where people sign in, and says in words that nobody here is meant", async () => {
    await patient.see("sign-in-outside");
    assert.match(await patient.id("sign-in-outside").textContent(), /Sign in with /);
    await patient.id("sign-in-outside").click();
    await patient.see("sign-in-refusal");
    assert.match(await patient.id("sign-in-refusal").textContent(), /Nobody here is linked/);
    assert.equal(new URL(patient.page.url()).pathname, "/patient/");
    isClean();
    await patient.photo("refused");
    // An address can be written by anybody: no words of theirs are shown.
    await patient.page.goto(new URL("/patient/?oidc=refused&code=%3Cb%3Ecall%20555%3C%2Fb%3E", system.portal_url).href);
    await patient.see("sign-in-refusal");
    assert.match(await patient.id("sign-in-refusal").textContent(), /did not work/);
  });

  it("is linked on the account's page, and signs in from then on", async () => {
    await patient.id("sign-in-email").fill(login.email);
    await patient.id("sign-in-password").fill(PASSWORD);
    await patient.id("sign-in-submit").click();
    await isIn();
    await patient.id("nav-account").click();
    await patient.see("identity-link");
    await patient.id("identity-link").click();
    await patient.see("identity");
    assert.equal(new URL(patient.page.url()).pathname, "/patient/account");
    isClean();
    await patient.id("sign-out").click();
    await patient.see("sign-in-outside");
    await patient.id("sign-in-outside").click();
    await isIn();
    isClean();
    await patient.photo("signed-in");
    const session = await patient.request("GET", "/v1/auth/session");
    assert.equal(session.body.person.display_name, "Olga Outside");
    assert.deepEqual(session.body.factors, ["provider"]);
  });

  it("comes back with words when the provider says no, is not believed, or is away", async () => {
    await patient.id("sign-out").click();
    for (const [order, words] of [[{ claims: { nonce: "another" } }, /did not confirm/], [{ claims: {}, mute: true }, /is away/]]) {
      await tell(order);
      await patient.see("sign-in-outside");
      await patient.id("sign-in-outside").click();
      await until(`${words}`, async () => words.test(await patient.id("sign-in-refusal").first().textContent().catch(() => "")));
    }
    await tell({ mute: false });
    await offer(false);
    await patient.page.goto(new URL("/patient/", system.portal_url).href);
    await patient.see("sign-in");
    await until("no offer", async () => await patient.id("sign-in-outside").count() === 0);
    assert.deepEqual(patient.errors, []);
  });
});
