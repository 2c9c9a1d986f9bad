/** Whom one can trust with what: one's own devices and factors, a record opened in an emergency, consents, the log of it all. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { Person } from "./src/person.mjs";
import { OUT, system, until } from "./src/system.mjs";
import { nextCode } from "./src/totp.mjs";

const PASSWORD = "a walk along the river";
const REASON = "Unconscious in the emergency room";
/** A program that is told nothing but files and a key: no address, no token. */
const checkOffline = (...args) => promisify(execFile)(`${process.env.MEDMESH_BINARIES}/medmesh`, ["audit", ...args], { env: {} });

describe("the ground of trust", () => {
  let admin;
  let patient;
  const people = [];
  before(async () => {
    admin = await arrive("trust-admin", "admin", system.logins.admin);
    await admin.see("nav-people");
    patient = await newcomer("trust-patient", "Paula Ferreira", ["patient"], "patient");
    await patient.see("nav-account");
  });
  after(async () => { for (const person of people) await person.close(); });

  async function arrive(name, portal, login) {
    const person = await Person.arrive(name, portal, login);
    people.push(person);
    return person;
  }

  /** Somebody whom the admin adds, signed in for the first time. */
  async function newcomer(name, display_name, roles, portal) {
    const email = `${name}.${Date.now()}@demo.example`;
    const made = await admin.request("POST", "/v1/people", { display_name, email, password: PASSWORD, roles, locale: "en" });
    assert.equal(made.status, 201, made.body.code);
    const person = await arrive(name, portal, { email, password: PASSWORD });
    person.login = { email, password: PASSWORD };
    return person;
  }

  it("one device signs another out, which then has to sign in again", async () => {
    const other = await arrive("trust-other", "patient", patient.login);
    await other.see("nav-account");
    await patient.id("nav-account").click();
    await patient.see("device-row");
    await until("both devices", async () => await patient.id("device-row").count() === 2);
    await patient.photo("devices");
    await patient.id("device-revoke").click();
    await patient.id("confirm-submit").click();
    await patient.see("device-revoked");
    await other.id("nav-account").click();
    await other.see("sign-in");
    assert.equal(await patient.id("device-row").count(), 1);
    await other.close();
  });

  it("a patient adds a passkey and an app to the account, and takes the passkey away again", async () => {
    const cdp = await patient.context.newCDPSession(patient.page);
    await cdp.send("WebAuthn.enable");
    await cdp.send("WebAuthn.addVirtualAuthenticator", {
      options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
    });
    await patient.id("passkey-add").click();
    await patient.see("codes-dialog");
    assert.equal(await patient.id("recovery-code").count(), 10);
    await patient.id("enrol-kept").check();
    await patient.id("enrol-done").click();
    await patient.see("passkey-row");
    await patient.id("totp-add").click();
    await patient.see("totp-dialog");
    const secret = (await patient.id("enrol-secret").textContent()).replaceAll(" ", "");
    await patient.id("enrol-code").fill(await nextCode(secret));
    await patient.id("enrol-submit").click();
    await patient.see("totp-row");
    await patient.photo("factors");
    await patient.id("passkey-remove").click();
    await patient.id("confirm-submit").click();
    await patient.id("passkey-row").waitFor({ state: "detached" });
    assert.equal(await patient.id("totp-row").count(), 1);
  });

  it("a record opened in an emergency is seen by the patient with the reason, and settled by the privacy officer", async () => {
    await admin.id("nav-emergencies").click();
    await admin.id("officer-change").click();
    const me = (await admin.request("GET", "/v1/auth/session")).body.person.id;
    await admin.id("officer-person").selectOption(me);
    await admin.id("officer-submit").click();
    await admin.see("officer-saved");

    const doctor = await arrive("trust-doctor", "clinician", system.logins.colleague);
    await doctor.see("nav-patients");
    await doctor.id("nav-patients").click();
    await doctor.id("patient-search").fill("Paula Fereira");
    await doctor.id("patient-search-submit").click();
    await doctor.see("patient-match");
    await doctor.id("patient-match").first().click();
    await doctor.see("patient-hidden");
    await doctor.id("glass-open").click();
    await doctor.id("glass-reason").fill(REASON);
    await doctor.photo("glass");
    await doctor.id("glass-submit").click();
    await doctor.see("glass-opened");

    await patient.id("nav-accesses").click();
    await patient.see("emergency");
    await patient.photo("accesses");
    assert.match(await patient.id("emergency").first().textContent(), new RegExp(REASON));

    await admin.id("glass-only-open").uncheck();
    await admin.id("glass-only-open").check();
    const glass = admin.page.locator('[data-testid="glass"]', { hasText: "Paula Ferreira" });
    await glass.getByTestId("glass-settle").click();
    await admin.id("settle-justified").click();
    await glass.waitFor({ state: "detached" });
    await patient.id("nav-visits").click();
    await patient.id("nav-accesses").click();
    await patient.page.locator('[data-testid="emergency"]', { hasText: "Found to be justified" }).waitFor({ timeout: 15_000 });
    await doctor.close();
  });

  it("a patient reads and signs a consent, and withdraws it", async () => {
    await patient.id("nav-consents").click();
    const row = patient.page.locator('[data-testid="consent"][data-purpose="treatment"][data-segment="general"]');
    for (const decision of ["granted", "withdrawn"]) {
      await row.getByTestId("consent-change").click();
      await patient.see("consent-text");
      await patient.id("consent-read").check();
      await patient.id("consent-sign").click();
      await until(decision, async () => await row.getAttribute("data-decision") === decision);
    }
    assert.equal(await patient.id("consent-version").count(), 2);
  });

  it("what was given outside is noted by the privacy officer, what was signed on paper by who treats, and the patient reads both", async () => {
    const me = (await patient.request("GET", "/v1/auth/session")).body.person.id;
    await admin.id("nav-disclosures").click();
    await admin.id("patient-search").fill("Paula Fereira");
    await admin.id("patient-search-submit").click();
    await admin.page.locator('[data-testid="patient-match"]', { hasText: "Paula Ferreira" }).first().click();
    await admin.id("disclosure-new").click();
    await admin.id("disclosure-recipient").fill("County health department");
    await admin.id("disclosure-address").fill("1 Mill Lane");
    await admin.id("disclosure-description").fill("A laboratory report");
    await admin.id("disclosure-purpose").fill("A notifiable disease");
    await admin.id("disclosure-basis").selectOption("public_health");
    await admin.photo("disclosure");
    await admin.id("disclosure-submit").click();
    await admin.see("disclosure-noted");
    await until("the account has it", async () => await admin.id("disclosure").count() === 1);

    const doctor = await arrive("trust-paper", "clinician", system.logins.colleague);
    const them = (await doctor.request("GET", "/v1/auth/session")).body.person.id;
    const joined = await admin.request("POST", `/v1/patients/${me}/care-team`, { person_id: them, role: "clinician" });
    assert.equal(joined.status, 201, joined.body.code);
    await doctor.see("nav-patients");
    await doctor.id("nav-patients").click();
    await doctor.id("patient-search").fill("Paula Fereira");
    await doctor.id("patient-search-submit").click();
    await doctor.page.locator('[data-testid="patient-match"]', { hasText: "Paula Ferreira" }).first().click();
    await doctor.see("consent-note");
    await doctor.id("consent-note").click();
    await doctor.id("consent-note-purpose").selectOption("payment");
    await doctor.id("consent-note-document").fill("forms/payment/2026-3");
    const scan = Buffer.from("%PDF-1.7 signed by Paula Ferreira");
    await doctor.id("consent-note-scan").setInputFiles({ name: "scan.pdf", mimeType: "application/pdf", buffer: scan });
    await doctor.see("consent-note-digest");
    await doctor.photo("consent-note");
    await doctor.id("consent-note-submit").click();
    await doctor.see("consent-noted");
    assert.deepEqual(doctor.errors, []);

    await patient.id("nav-accesses").click();
    await patient.page.locator('[data-testid="disclosure"][data-basis="public_health"]', { hasText: "County health department" }).waitFor({ timeout: 15_000 });
    await patient.id("nav-consents").click();
    const row = patient.page.locator('[data-testid="consent"][data-purpose="payment"][data-segment="general"]');
    await until("granted on paper", async () => await row.getAttribute("data-decision") === "granted");
    const proof = patient.page.locator('[data-testid="consent-version"][data-signed-by="paper"]').getByTestId("consent-proof");
    assert.equal(await proof.getAttribute("title"), createHash("sha256").update(scan).digest("hex"));
    await patient.photo("noted");
    await doctor.close();
  });

  it("and the log of all this is there to be searched, without a page having been refused anything by its policy", async () => {
    await admin.id("nav-audit").click();
    await admin.see("audit-row");
    await admin.id("audit-action").selectOption("break_glass_open");
    await admin.id("audit-apply").click();
    await until("only that act", async () => {
      const acts = await admin.id("audit-row").evaluateAll((rows) => rows.map((row) => row.dataset.action));
      return acts.length > 0 && acts.every((act) => act === "break_glass_open");
    });
    for (const person of people) assert.deepEqual(person.errors, []);
  });

  /** What a click makes the browser save, as a file of ours. */
  async function saved(click, name) {
    const [download] = await Promise.all([admin.page.waitForEvent("download", { timeout: 15_000 }), click()]);
    const file = `${OUT}/${name}`;
    await download.saveAs(file);
    return file;
  }

  it("an auditor saves a proof and keeps a head, and a program that asks nobody believes both and nothing else", async () => {
    const row = admin.id("audit-row").first();
    // Under a signed head by now: the row was written several seconds ago.
    const proof = await saved(() => row.getByTestId("audit-proof").click(), "trust-proof.json");
    await admin.page.locator('[data-testid="audit-proof-said"]', { hasText: "Saved" }).waitFor();
    const key = await admin.id("head-key").textContent();
    const { stdout } = await checkOffline("check", proof, "--key", key);
    assert.match(stdout, /^proved: leaf \d+ of \d+/);
    assert.match(stdout, /break_glass_open/);
    const bent = JSON.parse(await readFile(proof, "utf8"));
    bent.leaf_index += 1;
    await writeFile(`${OUT}/trust-bent.json`, JSON.stringify(bent));
    await assert.rejects(checkOffline("check", `${OUT}/trust-bent.json`, "--key", key));

    const kept = await saved(() => admin.id("head-save").click(), "trust-head.json");
    const { size } = JSON.parse(await readFile(kept, "utf8"));
    // What was just asked for is in the log itself: a later head has more under it.
    await until("a later head", async () => {
      await admin.id("head-reload").click();
      return Number((await admin.id("head-size").textContent()).replaceAll(",", "")) > size;
    });
    await admin.id("head-kept").setInputFiles(kept);
    const consistency = await saved(() => admin.id("head-compare").click(), "trust-consistency.json");
    await admin.see("head-compared");
    await admin.photo("proofs");
    const { stdout: followed } = await checkOffline("extends", kept, consistency, "--key", key);
    assert.match(followed, new RegExp(`^proved: the first ${size} of`));
    assert.deepEqual(admin.errors, []);
  });
});
