/**
 * `npm run check:keyboard`: what people do in each portal, without a pointer: sign in, past the navigation by the skip link, from
 * page to page, into dialogs and back to where they were, through the device check into a visit, its toolbar, and out of it.
 */
import { chromium } from "playwright-core";
import { attachEdge } from "./edge-page.mjs";
import { AUDITOR, PARTICIPANTS, startFixture } from "./fixture.mjs";
import { focused, press, tabThrough, tabTo } from "./focus.mjs";
import { placesOf, without } from "./roles.mjs";

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=fps=30", "--auto-select-desktop-capture-source=Entire screen",
];
const findings = [];
const report = (what) => { if (!findings.includes(what)) findings.push(what); };
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
const fixture = await startFixture({ locale: "en" });

for (const walk of [admin, clinicianPages, nursePages, schedulerPages, auditorPages, patientPages, visit]) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en", reducedMotion: "reduce", permissions: ["camera", "microphone"] });
  try {
    await walk(await context.newPage());
  } catch (error) {
    report(`${walk.name}: ${error.message.split("\n")[0]}`);
  }
  await context.close();
}
await browser.close();
await fixture.stop();
for (const finding of findings) console.error(finding);
console.log(`${findings.length} findings`);
process.exit(findings.length === 0 ? 0 : 1);

/** A pointer is nowhere in these walks; this makes sure of it. */
async function withoutPointer(page) {
  await page.addInitScript(() => {
    for (const kind of ["pointerdown", "mousedown"]) addEventListener(kind, () => { throw new Error("a pointer was used"); }, true);
  });
}

async function signIn(page, portal, email) {
  await withoutPointer(page);
  page.on("pageerror", (error) => report(`${portal}: ${error.message}`));
  await page.goto(`${fixture.url}/${portal}/`);
  await page.getByTestId("sign-in-email").waitFor();
  await tabThrough(page, (what) => report(`${portal}, signing in: ${what}`));
  await tabTo(page, "sign-in-email");
  await page.keyboard.type(email);
  await tabTo(page, "sign-in-password");
  await page.keyboard.type("correct horse battery");
  await page.keyboard.press("Enter");
  await page.getByTestId("sign-out").waitFor();
}

/** The first Tab of a page is a way past its navigation. */
async function skip(page, where) {
  await page.reload();
  await page.getByTestId("sign-out").waitFor();
  await page.keyboard.press("Tab");
  const link = page.locator("a.skip");
  if (!await link.evaluate((element) => element === document.activeElement)) return report(`${where}: the first Tab is not the way past the navigation`);
  // It slides in: seen once it is there, on a busy machine a picture later.
  const seen = page.waitForFunction(() => {
    const box = document.querySelector("a.skip").getBoundingClientRect();
    return box.y >= 0 && box.height >= 10;
  }, undefined, { timeout: 3_000 });
  await seen.catch(() => report(`${where}: the way past the navigation cannot be seen`));
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  const inMain = await page.evaluate(() => document.querySelector("main").contains(document.activeElement));
  if (!inMain) report(`${where}: past the navigation is ${await focused(page)}`);
}

/** Goes to a page by its link; the focus has to be on it then. */
async function visitPage(page, nav, landmark, key = "Enter") {
  await press(page, nav, key);
  await page.getByTestId(landmark).first().waitFor();
  const arrived = await page.evaluate(() => document.activeElement !== document.body);
  if (!arrived) report(`${nav}: the focus is nowhere after going there`);
  await tabThrough(page, (what) => report(`${nav}: ${what}`));
}

/** Opens a dialog, goes through it both ways, leaves it by Escape; the focus comes back to what opened it. */
async function dialog(page, opener, key = "Enter", which = 0) {
  await press(page, opener, key, which);
  await page.locator("dialog:modal").waitFor();
  const inside = () => page.evaluate(() => document.querySelector("dialog:modal").contains(document.activeElement));
  if (!await inside()) report(`${opener}: its dialog opens without the focus`);
  await tabThrough(page, (what) => report(`${opener}, dialog: ${what}`));
  for (let press = 0; press < 4; press += 1) {
    await page.keyboard.press("Shift+Tab");
    const where = await page.evaluate(() => {
      const element = document.activeElement;
      return element === null || element === document.body || document.querySelector("dialog:modal").contains(element);
    });
    if (!where) report(`${opener}: Shift+Tab leaves the dialog for ${await focused(page)}`);
  }
  await page.keyboard.press("Escape");
  await page.locator("dialog:modal").waitFor({ state: "detached" });
  const back = await page.getByTestId(opener).nth(which).evaluate((element) => element.contains(document.activeElement));
  if (!back) report(`${opener}: the focus does not come back from the dialog; it is on ${await focused(page)}`);
}

async function admin(page) {
  await signIn(page, "admin", "alex@example.org");
  await page.getByTestId("appointment-row").first().waitFor();
  await skip(page, "admin");
  await dialog(page, "appointment-new");
  await visitPage(page, "nav-people", "person-row");
  await dialog(page, "person-new", "Space");
  await dialog(page, "member-open");
  await visitPage(page, "nav-credentials", "credential-verify");
  await dialog(page, "credential-reject");
  await dialog(page, "credential-verify", "Space");
  await visitPage(page, "nav-audit", "audit-row");
  await dialog(page, "audit-details", "Enter", 2);
  await visitPage(page, "nav-emergencies", "officer-change");
  await dialog(page, "officer-change");
  await visitPage(page, "nav-settings", "residency-region");
  await visitPage(page, "nav-account", "device-row");
  await dialog(page, "passkey-rename");
  await press(page, "sign-out", "Space");
  await page.getByTestId("sign-in").waitFor();
}

async function clinicianPages(page) {
  await signIn(page, "clinician", "chen@example.org");
  await page.getByTestId("visit-row").first().waitFor();
  await skip(page, "clinician");
  await visitPage(page, "nav-patients", "patient-search");
  await tabTo(page, "patient-search");
  await page.keyboard.type("Rossa");
  await page.keyboard.press("Enter");
  await press(page, "patient-match");
  await page.getByTestId("care-member").first().waitFor();
  await tabThrough(page, (what) => report(`a patient: ${what}`));
  await dialog(page, "care-add");
  await dialog(page, "referral-add", "Space");
  await visitPage(page, "nav-credentials", "credential");
  await visitPage(page, "nav-corrections", "correction-answer");
  await dialog(page, "correction-answer");
}

async function nursePages(page) {
  await signIn(page, "clinician", "nina@example.org");
  await placesOf(page, "nurse", report);
  await skip(page, "nurse");
  await visitPage(page, "nav-patients", "patient-search");
  await tabTo(page, "patient-search");
  await page.keyboard.type("Rossa");
  await page.keyboard.press("Enter");
  await press(page, "patient-match");
  await page.getByTestId("care-member").first().waitFor();
  await without(page, ["care-add", "referral-add"], "nurse", report);
  await tabThrough(page, (what) => report(`a patient, for a nurse: ${what}`));
  await dialog(page, "glass-open");
  await visitPage(page, "nav-credentials", "credential-kind");
  await visitPage(page, "nav-account", "device-row");
}

async function schedulerPages(page) {
  await signIn(page, "admin", "sam@example.org");
  await page.getByTestId("appointment-row").first().waitFor();
  await placesOf(page, "scheduler", report);
  await skip(page, "scheduler");
  await dialog(page, "appointment-new", "Space");
  await dialog(page, "appointment-change");
  await visitPage(page, "nav-emergencies", "glass-not-officer");
  await visitPage(page, "nav-corrections", "corrections-only-open");
  await visitPage(page, "nav-account", "device-row");
}

/** An auditor, who is the privacy officer as well from the second page on. */
async function auditorPages(page) {
  await signIn(page, "admin", "ana@example.org");
  await page.getByTestId("audit-row").first().waitFor();
  await placesOf(page, "auditor", report);
  await skip(page, "auditor");
  await dialog(page, "audit-details");
  await press(page, "audit-details", "Space");
  await press(page, "audit-narrow-record");
  await page.getByTestId("audit-only-record").waitFor();
  if (await focused(page) === "body") report("audit-narrow-record: the focus is nowhere after it");
  await press(page, "audit-only-record-clear", "Space");
  await page.getByTestId("audit-only-record").waitFor({ state: "detached" });
  fixture.state.record.officer = { person: AUDITOR, named_at: "2026-11-20T08:00:00Z", version: 1 };
  await visitPage(page, "nav-disclosures", "patient-search");
  await tabTo(page, "patient-search");
  await page.keyboard.type("Rossa");
  await page.keyboard.press("Enter");
  await press(page, "patient-match", "Space");
  await page.getByTestId("access").first().waitFor();
  await tabThrough(page, (what) => report(`who saw a record: ${what}`));
  await dialog(page, "disclosure-new");
  await visitPage(page, "nav-emergencies", "glass-settle");
  await dialog(page, "glass-settle");
}

async function patientPages(page) {
  await signIn(page, "patient", "rosa@example.org");
  await page.getByTestId("visit-row").first().waitFor();
  await skip(page, "patient");
  await visitPage(page, "nav-accesses", "access");
  await visitPage(page, "nav-consents", "consent-version");
  await dialog(page, "consent-change");
  await visitPage(page, "nav-data", "copy-ask");
  await dialog(page, "correction-ask", "Space");
  await dialog(page, "rest-change");
  await visitPage(page, "nav-account", "device-row");
}

/** From the list into the visit and out of it. */
async function visit(page) {
  await signIn(page, "clinician", "chen@example.org");
  await press(page, "open");
  await page.getByTestId("preview").locator("video").waitFor();
  await tabThrough(page, (what) => report(`device check: ${what}`));
  await press(page, "check-continue", "Space");
  await page.getByTestId("join").waitFor();
  await tabThrough(page, (what) => report(`lobby: ${what}`));
  const edge = await browser.newPage();
  const people = [{ participant: PARTICIPANTS.patient, sources: ["mic", "camera"] }];
  await attachEdge(page, edge, { you: PARTICIPANTS.clinician, people, speaker: PARTICIPANTS.patient });
  await press(page, "join");
  await page.locator('[data-testid="tile"][data-video="true"]').waitFor();
  await tabThrough(page, (what) => report(`the visit: ${what}`));

  for (const [control, key] of [["mute", "Space"], ["camera", "Enter"]]) {
    await tabTo(page, control);
    for (const on of ["false", "true"]) {
      await page.keyboard.press(key);
      await page.locator(`[data-testid="${control}"][data-on="${on}"]`).waitFor();
    }
    if (await focused(page) !== control) report(`${control}: the focus goes to ${await focused(page)} when it is used`);
  }
  await press(page, "share", "Space");
  await page.locator('[data-testid="share"].control-active').waitFor();
  await page.keyboard.press("Space");
  await page.locator('[data-testid="share"]:not(.control-active)').waitFor();

  await press(page, "chat");
  await page.getByTestId("chat-input").waitFor();
  if (!await page.evaluate(() => document.querySelector("aside.side").contains(document.activeElement))) report("chat: it opens without the focus");
  await tabThrough(page, (what) => report(`chat: ${what}`));
  await tabTo(page, "chat-input");
  await page.keyboard.type("Good morning, Rosa.");
  await page.keyboard.press("Enter");
  await page.locator('[data-testid="message"][data-state="sent"]').waitFor();
  await page.keyboard.press("Escape");
  await page.locator("aside.side").waitFor({ state: "detached" });
  if (await focused(page) !== "chat") report(`chat: Escape leaves the focus on ${await focused(page)}`);

  await press(page, "people-button", "Space");
  await page.locator("aside.side").waitFor();
  await tabThrough(page, (what) => report(`people: ${what}`));
  await tabTo(page, "end-visit");
  await page.keyboard.press("Enter");
  await page.getByTestId("end-visit-confirm").waitFor();
  if (await focused(page) !== "end-visit-cancel") report(`end-visit: asked again, the focus is on ${await focused(page)}`);
  await page.keyboard.press("Space");
  await page.getByTestId("end-visit").waitFor();
  if (await focused(page) !== "end-visit") report(`end-visit: not done, the focus is on ${await focused(page)}`);
  await page.keyboard.press("Escape");
  await page.locator("aside.side").waitFor({ state: "detached" });
  if (await focused(page) !== "people-button") report(`people: closing leaves the focus on ${await focused(page)}`);

  await dialog(page, "settings");
  await press(page, "leave", "Space");
  await page.getByTestId("join").waitFor();
  if (await focused(page) === "body") report("leave: the focus is nowhere after it");
}
