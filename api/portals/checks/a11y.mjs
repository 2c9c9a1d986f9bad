/**
 * `npm run check:a11y`: every state of every portal, in three languages, light and dark, narrow and wide: no axe violation,
 * no sideways scrolling, no message of the content policy; in one language, narrow and wide, everything is reached by Tab. Pictures go to `target/browser/portals` at the root.
 */
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { attachEdge } from "./edge-page.mjs";
import { PARTICIPANTS, startFixture } from "./fixture.mjs";
import { tabThrough } from "./focus.mjs";
import { consentNoted, disclosures } from "./noted.mjs";
import { proofs, systems } from "./oversight.mjs";
import { auditor, nurse, scheduler } from "./roles.mjs";

const OUT = fileURLToPath(new URL("../../../target/browser/portals", import.meta.url));
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=fps=30", "--auto-select-desktop-capture-source=Entire screen",
];
const VARIANTS = [
  { language: "en", width: 1280, scheme: "light" }, { language: "es", width: 320, scheme: "dark" }, { language: "fr", width: 1280, scheme: "dark" },
  { language: "en", width: 320, scheme: "light" }, { language: "es", width: 1280, scheme: "light" }, { language: "fr", width: 320, scheme: "light" },
];
/** What Tab reaches does not hang on the language or the colours. */
const BY_KEYBOARD = ["en-1280", "en-320"];
const only = process.argv[2];
const findings = [];
await mkdir(OUT, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });

for (const variant of VARIANTS.filter(({ language, width, scheme }) => !only || `${language}-${width}-${scheme}`.includes(only))) {
  await run(variant);
}
await browser.close();
for (const finding of findings) console.error(finding);
console.log(`${findings.length} findings`);
process.exit(findings.length === 0 ? 0 : 1);

async function run({ language, width, scheme }) {
  const name = `${language}-${width}-${scheme}`;
  const fixture = await startFixture({ locale: language });
  const open = async () => {
    const context = await browser.newContext({
      viewport: { width, height: width < 500 ? 640 : 800 }, colorScheme: scheme, locale: language, reducedMotion: "reduce", permissions: ["camera", "microphone"],
    });
    // What the content policy refused, told by the page itself: a refusal need not reach the console.
    await context.exposeBinding("policyRefused", (_, what) => findings.push(`${name}: the policy refused ${what}`));
    await context.addInitScript(() => document.addEventListener("securitypolicyviolation", (event) => {
      globalThis.policyRefused(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile ?? ""}:${event.lineNumber} ${event.sample}`);
    }));
    const page = await context.newPage();
    page.on("console", (message) => { if (message.type() === "error" && /Content Security|Uncaught/.test(message.text())) findings.push(`${name}: ${message.text()}`); });
    page.on("pageerror", (error) => findings.push(`${name}: ${error.message}`));
    return page;
  };
  const look = (page, state) => inspect(page, `${name}-${state}`);
  const signIn = async (page, portal, email) => {
    await page.goto(`${fixture.url}/${portal}/`);
    await page.getByTestId("sign-in-email").fill(email);
    await page.getByTestId("sign-in-password").fill("correct horse battery");
    await page.getByTestId("sign-in-submit").click();
  };
  try {
    await admin(await open(), look, signIn, fixture);
    await patientRecord(await open(), look, signIn);
    await careAndCredentials(await open(), look, signIn);
    await oversight(await open(), look, signIn);
    for (const role of [nurse, scheduler, auditor]) await role(await open(), look, signIn, (what) => findings.push(`${name}: ${what}`), fixture);
    await register(await open(), look, fixture);
    await account(await open(), look, signIn, fixture);
    await secondStep(await open(), await open(), look, signIn, fixture);
    await denied(await open(), look, signIn);
    // After those who want to see the question for a fresh proof: here one is given.
    await myData(await open(), look, signIn);
    await answering(await open(), look, signIn);
    await visit(await open(), await open(), look, signIn, fixture);
    await idleLock(await open(), look, signIn, (what) => findings.push(`${name}: ${what}`));
    await enforced(await (await browser.newContext()).newPage(), fixture);
  } finally {
    for (const context of browser.contexts()) await context.close();
    await fixture.stop();
  }
}

async function admin(page, look, signIn, fixture) {
  await page.goto(fixture.url);
  await page.getByRole("heading", { level: 1 }).waitFor();
  await look(page, "01-home");
  await page.goto(`${fixture.url}/admin/`);
  await page.getByTestId("sign-in-email").fill("nobody@example.org");
  await page.getByTestId("sign-in-password").fill("wrong wrong wrong");
  await page.getByTestId("sign-in-submit").click();
  await page.getByTestId("sign-in-error").waitFor();
  await look(page, "02-sign-in-refused");
  await page.goto(`${fixture.url}/admin/?oidc=refused&code=identity_unlinked`);
  await page.getByTestId("sign-in-refusal").waitFor();
  await page.getByTestId("sign-in-outside").waitFor();
  await look(page, "03-sign-in-outside-refused");
  await signIn(page, "admin", "alex@example.org");
  await page.getByTestId("appointment-row").first().waitFor();
  await look(page, "10-admin-appointments");
  await page.getByTestId("appointment-new").click();
  await look(page, "11-admin-appointment-new");
  await page.keyboard.press("Escape");
  await page.getByTestId("nav-people").click();
  await page.getByTestId("person-row").first().waitFor();
  await look(page, "12-admin-people");
  await page.getByTestId("person-new").click();
  await page.getByTestId("person-with-password").check();
  await look(page, "13-admin-person-new");
  await page.getByTestId("person-with-password").uncheck();
  await page.getByTestId("person-name").fill("Imani Okoro");
  await page.getByTestId("person-email").fill("imani@example.org");
  await page.getByTestId("person-submit").click();
  await page.getByTestId("invitation-link").waitFor();
  await look(page, "14-admin-invited");
  await page.getByTestId("member-open").first().click();
  await look(page, "17-admin-member");
  await page.getByTestId("member-active").uncheck();
  await page.getByTestId("member-submit").click();
  await page.getByTestId("member-error").waitFor();
  await look(page, "18-admin-member-refused");
  await page.keyboard.press("Escape");
  await page.getByTestId("nav-settings").click();
  await page.getByTestId("residency-region").fill("eu-north");
  await page.getByTestId("residency-add").click();
  await page.getByTestId("residency-save").click();
  await page.getByTestId("residency-saved").waitFor();
  await look(page, "15-admin-settings");
  await page.getByTestId("provider-save").click();
  await page.getByTestId("provider-error").waitFor();
  await look(page, "16-admin-provider");
}

/** One's own account: what one proves oneself with, devices, the proof asked for in between. */
async function account(page, look, signIn, fixture) {
  await signIn(page, "admin", "alex@example.org");
  await page.getByTestId("nav-account").click();
  await page.getByTestId("device-row").first().waitFor();
  await page.getByTestId("passkey-row").first().waitFor();
  await look(page, "60-account");
  await page.getByTestId("passkey-rename").first().click();
  await page.getByTestId("rename-name").fill("Telephone");
  await page.getByTestId("rename-submit").click();
  await page.getByTestId("rename-error").waitFor();
  await look(page, "67-account-rename");
  await page.keyboard.press("Escape");
  await page.getByTestId("passkey-remove").first().click();
  await look(page, "61-account-remove-passkey");
  await page.getByTestId("confirm-submit").click();
  await page.getByTestId("step-up").waitFor();
  await look(page, "62-step-up");
  await page.getByTestId("step-up-code").fill("000000");
  await page.getByTestId("step-up-submit").click();
  await page.getByTestId("step-up-error").waitFor();
  await look(page, "63-step-up-refused");
  await page.getByTestId("step-up-code").fill("123456");
  await page.getByTestId("step-up-submit").click();
  await page.getByTestId("confirm").waitFor({ state: "detached" });
  if (fixture.state.passkeys.length !== 1) findings.push("a proof did not repeat the request that asked for it");
  await page.getByTestId("totp-remove").click();
  await page.getByTestId("confirm-submit").click();
  await page.getByTestId("confirm-error").waitFor();
  await look(page, "64-account-last-factor");
  await page.keyboard.press("Escape");
  await page.getByTestId("codes-replace").click();
  await page.getByTestId("confirm-submit").click();
  await page.getByTestId("codes-dialog").waitFor();
  await look(page, "65-account-codes");
  await page.getByTestId("enrol-kept").check();
  await page.getByTestId("enrol-done").click();
  await page.getByTestId("totp-add").click();
  await page.getByTestId("totp-dialog").waitFor();
  await look(page, "66-account-app");
  await page.keyboard.press("Escape");
  await page.getByTestId("device-revoke").click();
  await page.getByTestId("confirm-submit").click();
  await page.getByTestId("device-revoked").waitFor();
  await page.getByTestId("identity-link").click();
  await page.getByTestId("identity-error").waitFor();
  await look(page, "67-account-identities");
  await page.getByTestId("password-new").fill("password password");
  await page.getByTestId("password-submit").click();
  await page.getByTestId("password-error").waitFor();
  await look(page, "67-account-password-refused");
  await page.getByTestId("password-new").fill("nine lamps by the water");
  await page.getByTestId("password-submit").click();
  await page.getByTestId("password-done").waitFor();
}

/** Who saw my record, and what I agreed to. */
async function patientRecord(page, look, signIn) {
  await signIn(page, "patient", "rosa@example.org");
  await page.getByTestId("nav-accesses").click();
  await page.getByTestId("access").first().waitFor();
  await page.getByTestId("disclosure").nth(1).waitFor();
  await look(page, "70-patient-accesses");
  await page.getByTestId("nav-consents").click();
  await page.getByTestId("consent-version").first().waitFor();
  await look(page, "71-patient-consents");
  await page.locator('[data-purpose="treatment"] [data-testid="consent-change"]').click();
  await page.getByTestId("consent-text").waitFor();
  await look(page, "72-patient-consent-sign");
  await page.getByTestId("consent-read").check();
  await page.getByTestId("consent-sign").click();
  await page.getByTestId("consent-error").waitFor();
  await look(page, "73-patient-consent-changed");
  await page.getByTestId("consent-error").getByRole("button").click();
  await page.getByTestId("consent-read").check();
  await page.getByTestId("consent-sign").click();
  await page.getByTestId("consent-signed").waitFor();
  await page.getByTestId("consent-segment").selectOption("hiv");
  await page.locator('[data-segment="hiv"]').first().waitFor();
  await look(page, "74-patient-consent-signed");
}

/** A copy of everything, corrections, rest. */
async function myData(page, look, signIn) {
  await signIn(page, "patient", "rosa@example.org");
  await page.getByTestId("nav-data").click();
  await page.getByTestId("copy-json").waitFor();
  await page.getByTestId("correction").first().waitFor();
  await page.getByTestId("rest-state").waitFor();
  await look(page, "90-my-data");
  await page.getByTestId("copy-ask").click();
  const queued = page.locator('[data-testid="copy"][data-state="queued"]');
  await page.getByTestId("step-up-code").or(queued).first().waitFor();
  if (await page.getByTestId("step-up-code").isVisible()) {
    await page.getByTestId("step-up-code").fill("123456");
    await page.getByTestId("step-up-submit").click();
  }
  await queued.waitFor();
  await page.getByTestId("copy-ask").click();
  await page.getByTestId("copy-error").waitFor();
  await look(page, "91-my-data-copies");
  await page.getByTestId("correction-ask").click();
  await page.getByTestId("correction-what").fill("The visit of 3 May says left knee");
  await page.getByTestId("correction-why").fill("It was the right one");
  await look(page, "92-correction-ask");
  await page.getByTestId("correction-send").click();
  await page.getByTestId("correction").nth(2).waitFor();
  await page.getByTestId("correction-disagree").click();
  await page.getByTestId("disagree-statement").fill("The letter says otherwise");
  await look(page, "93-correction-disagree");
  await page.getByTestId("disagree-send").click();
  await page.getByTestId("correction-disagree").waitFor({ state: "detached" });
  await page.getByTestId("rest-change").click();
  await look(page, "94-rest");
  await page.getByTestId("rest-confirm-submit").click();
  await page.locator('[data-rests="true"]').waitFor();
  await page.getByTestId("erase-change").click();
  await look(page, "95-erase");
  await page.keyboard.press("Escape");
  await page.getByTestId("to-accesses").click();
  await page.getByTestId("access").first().waitFor();
}

/** What patients want corrected, for whoever answers. */
async function answering(page, look, signIn) {
  await signIn(page, "clinician", "chen@example.org");
  await page.getByTestId("nav-corrections").click();
  await page.getByTestId("correction-answer").first().waitFor();
  await look(page, "96-corrections");
  await page.getByTestId("correction-answer").first().click();
  await page.getByTestId("correction-accept").click();
  await page.getByTestId("correction-error").waitFor();
  await page.getByTestId("correction-reason").fill("The pictures show the left knee");
  await look(page, "97-correction-answer");
  await page.getByTestId("correction-decline").click();
  await page.getByTestId("correction-dialog").waitFor({ state: "detached" });
  await page.getByTestId("corrections-only-open").uncheck();
  await page.getByTestId("correction").nth(1).waitFor();
  await look(page, "98-corrections-answered");
}

/** Patients, care teams, the broken glass, one's own credentials. */
async function careAndCredentials(page, look, signIn) {
  await signIn(page, "clinician", "chen@example.org");
  await page.getByTestId("nav-patients").click();
  await page.getByTestId("patient-search").fill("Rossa");
  await page.getByTestId("patient-search-submit").click();
  await page.getByTestId("patient-match").first().waitFor();
  await look(page, "75-patients");
  await page.getByTestId("patient-match").first().click();
  await page.getByTestId("care-member").first().waitFor();
  await look(page, "76-patient-care");
  await page.getByTestId("care-add").click();
  await look(page, "77-care-add");
  await page.keyboard.press("Escape");
  await page.getByTestId("referral-add").click();
  await look(page, "77-refer");
  await page.keyboard.press("Escape");
  await consentNoted(page, look);
  await page.getByTestId("patient-back").click();
  await page.getByTestId("patient-match").nth(1).click();
  await page.getByTestId("patient-hidden").waitFor();
  await page.getByTestId("glass-open").click();
  await page.getByTestId("glass-reason").fill("Unconscious in the emergency room");
  await look(page, "78-glass");
  await page.getByTestId("glass-submit").click();
  await page.getByTestId("glass-opened").waitFor();
  await look(page, "79-glass-opened");
  await page.getByTestId("nav-credentials").click();
  await page.getByTestId("credential").first().waitFor();
  await page.getByTestId("credential-kind").selectOption("npi");
  await page.getByTestId("credential-number").fill("1234567890");
  await page.getByTestId("credential-submit").click();
  await page.getByTestId("credential-error").waitFor();
  await look(page, "80-credentials-mine");
}

/** What the clinic answers for: credentials, the audit log, emergency access. */
async function oversight(page, look, signIn) {
  await signIn(page, "admin", "alex@example.org");
  await page.getByTestId("nav-credentials").click();
  await page.getByTestId("credential-verify").waitFor();
  await look(page, "81-credentials");
  await page.getByTestId("credential-reject").click();
  await look(page, "82-credential-reject");
  await page.keyboard.press("Escape");
  await page.getByTestId("credential-verify").click();
  await page.getByTestId("confirm-submit").click();
  await page.getByTestId("credential-verify").waitFor({ state: "detached" });
  await page.getByTestId("nav-audit").click();
  await page.getByTestId("audit-row").first().waitFor();
  await page.getByTestId("audit-patient").fill("Rossa");
  await page.getByTestId("audit-apply").click();
  await page.locator(".chip").waitFor();
  await look(page, "83-audit");
  await page.getByTestId("audit-details").nth(2).click();
  await look(page, "84-audit-details");
  await page.keyboard.press("Escape");
  await proofs(page, look);
  await page.getByTestId("audit-csv").click();
  await page.getByTestId("step-up").waitFor();
  await page.getByTestId("step-up-cancel").click();
  await page.getByTestId("audit-copy-error").waitFor();
  await look(page, "85-audit-copy-refused");
  await page.getByTestId("nav-emergencies").click();
  await page.getByTestId("glass-not-officer").waitFor();
  await look(page, "86-emergencies-other");
  await page.getByTestId("nav-disclosures").click();
  await page.getByTestId("disclosures-not-officer").waitFor();
  await page.getByTestId("nav-emergencies").click();
  await page.getByTestId("officer-change").click();
  await page.getByTestId("officer-person").selectOption({ index: 3 });
  await look(page, "87-officer");
  await page.getByTestId("officer-submit").click();
  await page.getByTestId("glass").first().waitFor();
  await look(page, "88-emergencies");
  await page.getByTestId("glass-settle").first().click();
  await page.getByTestId("settle-justified").click();
  await page.getByTestId("settle-error").waitFor();
  await look(page, "89-emergency-settle");
  await page.keyboard.press("Escape");
  await disclosures(page, look);
  await systems(page, look);
}

/** Becoming a patient by oneself. */
async function register(page, look, fixture) {
  await page.goto(`${fixture.url}/patient/#sign-up=01990000-0000-7000-8000-0000000000c1`);
  await page.getByTestId("sign-up-email").fill("new@example.org");
  await look(page, "90-sign-up");
  await page.getByTestId("sign-up-submit").click();
  await page.getByTestId("sign-up-asked").waitFor();
  await look(page, "91-sign-up-asked");
  await page.goto("about:blank");
  await page.goto(`${fixture.url}/patient/#register=old`);
  await page.getByTestId("register-name").fill("Noor van Dijk");
  await page.getByTestId("register-password").fill("nine lamps by the water");
  await page.getByTestId("register-submit").click();
  await page.getByTestId("register-error").waitFor();
  await look(page, "92-register-spent");
}

/** Proving a second factor, and setting one up. */
async function secondStep(clinician, admin, look, signIn, fixture) {
  await clinician.goto(`${fixture.url}/clinician/#set-password=old`);
  await clinician.getByTestId("set-password-new").fill("nine lamps by the water");
  await clinician.getByTestId("set-password-submit").click();
  await clinician.getByTestId("set-password-error").waitFor();
  await look(clinician, "08-set-password-spent");
  await clinician.goto(`${fixture.url}/patient/`);
  await clinician.goto(`${fixture.url}/clinician/#set-password=good`);
  await clinician.getByTestId("set-password-new").fill("nine lamps by the water");
  await clinician.getByTestId("set-password-submit").click();
  await clinician.getByTestId("set-password-done").waitFor();
  await look(clinician, "09-set-password-done");
  await clinician.getByTestId("set-password-sign-in").click();
  await clinician.getByTestId("sign-in-email").fill("vera@example.org");
  await clinician.getByTestId("sign-in-forgotten").click();
  await clinician.getByTestId("reset-asked").waitFor();
  await look(clinician, "09-reset-asked");
  await signIn(clinician, "clinician", "vera@example.org");
  await clinician.getByTestId("second-step-code").fill("000000");
  await look(clinician, "03-second-step");
  await clinician.getByTestId("second-step-submit").click();
  await clinician.getByTestId("second-step-error").waitFor();
  await look(clinician, "04-second-step-refused");
  await clinician.getByTestId("second-step-recovery").click();
  await look(clinician, "05-second-step-recovery");
  await signIn(admin, "admin", "elias@example.org");
  await admin.getByTestId("enrol").waitFor();
  await look(admin, "06-enrol");
  await admin.getByTestId("enrol-app").click();
  await admin.getByTestId("enrol-code").fill("000000");
  await admin.getByTestId("enrol-submit").click();
  await admin.getByTestId("enrol-error").waitFor();
  await look(admin, "07-enrol-scan");
  await admin.getByTestId("enrol-code").fill("123456");
  await admin.getByTestId("enrol-submit").click();
  await admin.getByTestId("enrol-codes").waitFor();
  await look(admin, "08-enrol-codes");
  await admin.getByTestId("enrol-kept").check();
  await admin.getByTestId("enrol-done").click();
  await admin.getByTestId("appointment-row").first().waitFor();
}

/** Neither camera nor microphone: told why, and let on all the same. */
async function denied(page, look, signIn) {
  await page.addInitScript(() => {
    navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", "NotAllowedError"); };
  });
  await signIn(page, "patient", "rosa@example.org");
  await page.getByTestId("visit-join").click();
  await page.getByTestId("failure-camera").waitFor();
  await look(page, "19-patient-denied");
}

async function visit(patient, clinician, look, signIn, fixture) {
  await signIn(patient, "patient", "rosa@example.org");
  await patient.getByTestId("visit-join").waitFor();
  await look(patient, "20-patient-visits");
  await patient.getByTestId("visit-join").click();
  await patient.getByTestId("preview").locator("video").waitFor();
  await look(patient, "21-patient-check");
  await patient.getByTestId("check-continue").click();
  await patient.getByTestId("lobby").waitFor();
  await look(patient, "22-patient-waiting");

  await signIn(clinician, "clinician", "chen@example.org");
  await clinician.getByTestId("visit-row").first().waitFor();
  await look(clinician, "30-clinician-schedule");
  await clinician.locator('[data-testid="open"][data-visit="v1"]').click();
  await clinician.getByTestId("check-continue").click();
  await clinician.getByTestId("lobby").waitFor();
  await look(clinician, "31-clinician-lobby");
  await clinician.getByTestId("admit").click();
  await patient.getByTestId("join").waitFor();
  await look(patient, "23-patient-admitted");

  const edge = await browser.newPage();
  const people = [{ participant: PARTICIPANTS.patient, sources: ["mic", "camera"] }];
  await attachEdge(clinician, edge, { you: PARTICIPANTS.clinician, people, speaker: PARTICIPANTS.patient });
  await clinician.getByTestId("join").click();
  await clinician.locator('[data-testid="tile"][data-video="true"]').waitFor();
  await clinician.waitForFunction(() => document.querySelector('[data-testid="self-tile"] video').currentTime > 0);
  await look(clinician, "40-visit-two");
  fixture.say(PARTICIPANTS.patient, "Good morning! I can hear you well.");
  await clinician.getByTestId("chat-badge").waitFor();
  await clinician.getByTestId("chat").click();
  await clinician.getByTestId("chat-input").fill("Good morning, Rosa. How have you been since last week?");
  await clinician.getByTestId("chat-send").click();
  await clinician.locator('[data-testid="message"][data-state="sent"]').nth(1).waitFor();
  await look(clinician, "41-visit-chat");
  await clinician.getByTestId("chat").click({ force: true }).catch(() => undefined);
  await clinician.keyboard.press("Escape");
  fixture.state.visits[1].participants[2].state = "waiting";
  fixture.change(fixture.state.visits[1]);
  await clinician.getByTestId("waiting-banner").waitFor();
  await look(clinician, "42-visit-waiting");
  await clinician.getByTestId("people-button").click();
  await look(clinician, "43-visit-people");
  await clinician.keyboard.press("Escape");
  await clinician.getByTestId("settings").click();
  await look(clinician, "44-visit-settings");
  await clinician.keyboard.press("Escape");
  await clinician.getByTestId("leave").click();
  await clinician.getByTestId("join").waitFor();
  await look(clinician, "45-visit-left");

  const edgeTwo = await browser.newPage();
  const three = [
    { participant: PARTICIPANTS.clinician, sources: ["mic", "camera", "screen"] },
    { participant: PARTICIPANTS.guest, sources: ["camera"] },
  ];
  await attachEdge(patient, edgeTwo, { you: PARTICIPANTS.patient, people: three, speaker: PARTICIPANTS.clinician, quality: "audio_only" });
  await patient.getByTestId("join").click();
  await patient.locator('[data-testid="tile"][data-source="screen"][data-video="true"]').waitFor();
  await look(patient, "50-visit-screen");
  await patient.getByTestId("leave").click();
  await patient.getByTestId("join").waitFor();
}

/** Nobody touches anything: the warning, its answer, and what is left of the page after the lock, in every tab. */
async function idleLock(page, look, signIn, report) {
  await page.clock.install();
  await signIn(page, "patient", "rosa@example.org");
  await page.getByTestId("visit-row").first().waitFor();
  const other = await page.context().newPage();
  await other.goto(page.url());
  await other.getByTestId("visit-row").first().waitFor();
  await page.clock.fastForward(14 * 60_000 + 5_000);
  await page.getByTestId("idle-warning").waitFor();
  if (await page.evaluate(() => document.activeElement?.getAttribute("data-testid")) !== "idle-stay") report("the warning's answer has no focus");
  await look(page, "60-idle-warning");
  await page.getByTestId("idle-stay").click();
  for (const tab of [page, other]) await tab.getByTestId("idle-warning").waitFor({ state: "detached" });
  await page.clock.fastForward(15 * 60_000 + 1_000);
  for (const tab of [page, other]) {
    await tab.getByTestId("sign-in").waitFor();
    const left = await tab.evaluate(() => document.documentElement.outerHTML);
    if (/Mei Chen|Rosa/.test(left)) report("the locked page still knows somebody");
  }
  await look(page, "61-idle-locked");
  // Who signs in in one tab is signed in in the other; who signs out is out in both.
  await signIn(page, "patient", "rosa@example.org");
  for (const tab of [page, other]) await tab.getByTestId("visit-row").first().waitFor();
  await page.getByTestId("sign-out").click();
  for (const tab of [page, other]) await tab.getByTestId("sign-in").waitFor();
}

/** That the policy is in force and not only written down: a string is no markup here, and a stranger's script does not run. */
async function enforced(page, fixture) {
  await page.goto(`${fixture.url}/patient/`);
  await page.getByTestId("sign-in").waitFor();
  const passed = await page.evaluate(() => {
    const tries = {
      innerHTML: () => { document.createElement("div").innerHTML = "<b>x</b>"; },
      policy: () => { globalThis.trustedTypes.createPolicy("default", { createHTML: (text) => text }); },
      script: () => {
        const script = document.createElement("script");
        script.append("globalThis.intruder = true");
        document.body.append(script);
        if (globalThis.intruder !== true) throw new TypeError("refused");
      },
    };
    return Object.entries(tries).filter(([, attempt]) => { try { attempt(); return true; } catch { return false; } }).map(([name]) => name);
  });
  for (const name of passed) findings.push(`the policy lets ${name} pass`);
}

async function inspect(page, name) {
  await page.waitForTimeout(150);
  await page.screenshot({ path: `${OUT}/${name}.png` });
  const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (sideways > 0) findings.push(`${name}: scrolls sideways by ${sideways} px: ${await widest(page)}`);
  const lang = await page.evaluate(() => document.documentElement.lang);
  if (!name.startsWith(lang)) findings.push(`${name}: lang is ${lang}`);
  if (BY_KEYBOARD.some((variant) => name.startsWith(variant))) await tabThrough(page, (what) => findings.push(`${name}: ${what}`));
  await page.evaluate(await axeSource());
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  for (const violation of violations) {
    findings.push(`${name}: ${violation.id} (${violation.impact}): ${violation.nodes.slice(0, 3).map((node) => `${node.target.join(" ")} — ${node.failureSummary?.split("\n")[1] ?? ""}`).join(" | ")}`);
  }
}

async function axeSource() {
  const { readFile } = await import("node:fs/promises");
  return `${await readFile(AXE, "utf8")}; undefined`;
}

/** What sticks out to the right, outermost last. */
async function widest(page) {
  return page.evaluate(() => [...document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map((element) => `${element.tagName.toLowerCase()}.${element.className}`).slice(0, 4).join(", "));
}
