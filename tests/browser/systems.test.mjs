/** A system of the clinic: registered on the page with its public key, let in by its private one, given another, shut out. */
import assert from "node:assert/strict";
import { generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { Person } from "./src/person.mjs";
import { system, until } from "./src/system.mjs";
import { nextCode } from "./src/totp.mjs";

const NAME = `Log watcher ${Date.now() % 100_000}`;
const ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const LIFE_SECONDS = 120;

/** A key pair for ES384, of this name. */
function pair(kid) {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const jwk = (key) => ({ ...key.export({ format: "jwk" }), kid });
  return { kid, privateKey, publicJwk: jwk(publicKey), privateJwk: jwk(privateKey) };
}

describe("a system of the clinic", () => {
  let admin;
  let id;
  let endpoint;
  const [first, second] = [pair("first"), pair("second")];
  before(async () => {
    admin = await Person.arrive("systems-admin", "admin", system.logins.admin);
    await admin.see("nav-systems");
    await admin.id("nav-systems").click();
  });
  after(async () => { await admin?.close(); });

  /** Its line on the page. */
  const line = () => admin.page.locator('[data-testid="system"]', { hasText: NAME });

  /** Saves the dialog; where the service wants a fresh proof, gives one. */
  async function save() {
    await admin.id("system-submit").click();
    const dialog = admin.id("system-dialog");
    await until("an answer", async () => await dialog.count() === 0 || await admin.id("step-up-code").isVisible());
    if (await dialog.count() > 0) {
      await admin.id("step-up-code").fill(await nextCode(system.logins.admin.totp_secret));
      await admin.id("step-up-submit").click();
    }
    await dialog.waitFor({ state: "detached", timeout: 15_000 });
    await admin.see("system-saved");
  }

  /** Asks for a token as the system does (RFC 7523). */
  async function ask({ kid, privateKey }) {
    const now = Math.floor(Date.now() / 1000);
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const text = `${part({ alg: "ES384", typ: "JWT", kid })}.${part({ iss: id, sub: id, aud: endpoint, exp: now + LIFE_SECONDS, jti: randomUUID() })}`;
    const signature = sign("sha384", Buffer.from(text), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url");
    const body = new URLSearchParams({ grant_type: "client_credentials", client_assertion_type: ASSERTION, client_assertion: `${text}.${signature}` });
    const answer = await fetch(endpoint, { method: "POST", body });
    return { status: answer.status, body: await answer.json() };
  }

  const head = async (token) => fetch(new URL("/v1/audit/head", system.portal_url), { headers: { Authorization: `Bearer ${token}` } });

  it("is registered with its public key; a private one does not even leave the page", async () => {
    const sent = [];
    admin.page.on("request", (request) => { if (request.method() === "POST") sent.push(request.postData() ?? ""); });
    await admin.id("system-new").click();
    await admin.id("system-name").fill(NAME);
    await admin.id("system-scope-system/AuditEvent.rs").check();
    await admin.id("system-keys").fill(JSON.stringify({ keys: [first.privateJwk] }));
    await admin.id("system-submit").click();
    await admin.page.locator("[data-testid=system-keys][aria-invalid]").waitFor();
    await admin.photo("private");
    assert.deepEqual(sent, []);
    await admin.id("system-keys").fill(JSON.stringify({ keys: [first.publicJwk] }));
    await save();
    await line().waitFor();
    id = await line().getByTestId("system-id").textContent();
    endpoint = await admin.id("token-endpoint").textContent();
    assert.match(await line().textContent(), /Never let in so far/);
  });

  it("proves itself with the private one, watches the log, and is seen to be in use", async () => {
    const { status, body } = await ask(first);
    assert.equal(status, 200, body.error_description);
    assert.equal((await head(body.access_token)).status, 200);
    await admin.page.reload();
    await line().waitFor();
    assert.match(await line().textContent(), /Last let in/);
    await admin.photo("in-use");
  });

  it("changes its key without a break, and is shut out at once", async () => {
    await line().getByTestId("system-change").click();
    await admin.id("system-keys").fill(JSON.stringify(second.publicJwk));
    await save();
    const [old, next] = [await ask(first), await ask(second)];
    assert.deepEqual([old.status, next.status], [200, 200]);
    await line().getByTestId("system-change").click();
    await admin.id("system-key-first").uncheck();
    await save();
    assert.equal((await ask(first)).status, 401);
    assert.equal((await head(old.body.access_token)).status, 401);
    assert.equal((await head(next.body.access_token)).status, 200);
    await line().getByTestId("system-change").click();
    await admin.id("system-enabled").uncheck();
    await save();
    assert.equal((await ask(second)).status, 401);
    assert.equal((await head(next.body.access_token)).status, 401);
    await until("the page says so", async () => await line().getAttribute("data-enabled") === "false");
    assert.deepEqual(admin.errors, []);
  });
});
