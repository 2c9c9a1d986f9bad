/**
 * Those of the staff who are neither clinician nor admin: what their portals show them, and what they do not; part of `a11y.mjs`
 * and, without a pointer, of `keyboard.mjs`.
 */
import { AUDITOR } from "./fixture.mjs";

/** What each finds in the navigation; the service refuses the rest. */
export const PLACES = {
  nurse: ["nav-schedule", "nav-patients", "nav-credentials"],
  scheduler: ["nav-appointments", "nav-emergencies", "nav-disclosures", "nav-corrections"],
  auditor: ["nav-audit", "nav-emergencies", "nav-disclosures", "nav-corrections"],
};

/** The navigation holds these places, one's own account, and nothing else. */
export async function placesOf(page, role, report) {
  await page.getByTestId(PLACES[role][0]).first().waitFor();
  const found = await page.locator("[data-testid^=nav-]").evaluateAll((links) => [...new Set(links.map((link) => link.dataset.testid))]);
  const wanted = [...PLACES[role], "nav-account"];
  if (wanted.join() !== found.join()) report(`${role}: the navigation holds ${found.join(", ")}`);
}

/** Absent, since it would only be refused. */
export async function without(page, testIds, where, report) {
  for (const testId of testIds) if (await page.getByTestId(testId).count() > 0) report(`${where}: ${testId} is offered`);
}

export async function nurse(page, look, signIn, report) {
  await signIn(page, "clinician", "nina@example.org");
  await placesOf(page, "nurse", report);
  await look(page, "100-nurse-schedule");
  await page.getByTestId("nav-patients").click();
  await page.getByTestId("patient-search").fill("Rossa");
  await page.getByTestId("patient-search-submit").click();
  await page.getByTestId("patient-match").first().click();
  await page.getByTestId("care-member").first().waitFor();
  await without(page, ["care-add", "care-end", "referral-add", "referral-end", "consent-note"], "nurse", report);
  await look(page, "101-nurse-patient");
  await page.getByTestId("glass-open").click();
  await look(page, "102-nurse-glass");
  await page.keyboard.press("Escape");
  await page.getByTestId("nav-credentials").click();
  await page.getByTestId("credential-kind").waitFor();
  await look(page, "103-nurse-credentials");
}

export async function scheduler(page, look, signIn, report, fixture) {
  // As it is before anybody was named; some check before may have.
  const before = fixture.state.record.officer;
  fixture.state.record.officer = { version: 0 };
  await signIn(page, "admin", "sam@example.org");
  await page.getByTestId("appointment-row").first().waitFor();
  await placesOf(page, "scheduler", report);
  await look(page, "104-scheduler");
  await page.getByTestId("appointment-new").click();
  await page.getByTestId("appointment-search").fill("Zzz");
  await page.getByTestId("appointment-search").press("Enter");
  await page.getByTestId("appointment-nobody").waitFor();
  await page.getByTestId("appointment-search").fill("Rossa");
  await page.getByTestId("appointment-search-submit").click();
  await page.getByTestId("appointment-nobody").waitFor({ state: "detached" });
  await page.getByTestId("appointment-patient").selectOption({ index: 1 });
  await look(page, "105-scheduler-book");
  await page.keyboard.press("Escape");
  await page.getByTestId("appointment-change").first().click();
  await look(page, "106-scheduler-change");
  await page.keyboard.press("Escape");
  await page.getByTestId("nav-emergencies").click();
  await page.getByTestId("glass-not-officer").waitFor();
  await without(page, ["officer-change"], "scheduler", report);
  await look(page, "107-scheduler-emergencies");
  fixture.state.record.officer = before;
}

/** First as an auditor alone, then as the privacy officer, too. */
export async function auditor(page, look, signIn, report, fixture) {
  const { record } = fixture.state;
  const before = record.officer;
  record.officer = { version: 0 };
  await signIn(page, "admin", "ana@example.org");
  await page.getByTestId("audit-row").first().waitFor();
  await placesOf(page, "auditor", report);
  await without(page, ["audit-patient", "audit-actor"], "auditor", report);
  await look(page, "108-auditor");
  await page.getByTestId("audit-details").first().click();
  await look(page, "109-auditor-details");
  await page.getByTestId("audit-narrow-actor").click();
  await page.getByTestId("audit-only-actor").waitFor();
  await page.getByTestId("audit-details").first().click();
  await page.getByTestId("audit-narrow-record").click();
  await page.getByTestId("audit-only-record").waitFor();
  await look(page, "110-auditor-narrowed");
  await page.getByTestId("audit-only-actor-clear").click();
  await page.getByTestId("audit-only-actor").waitFor({ state: "detached" });
  await page.getByTestId("nav-disclosures").click();
  await page.getByTestId("disclosures-not-officer").waitFor();

  record.officer = { person: AUDITOR, named_at: "2026-11-20T08:00:00Z", version: 1 };
  await page.reload();
  await page.getByTestId("patient-search").fill("Rossa");
  await page.getByTestId("patient-search-submit").click();
  await page.getByTestId("patient-match").first().click();
  await page.getByTestId("access").first().waitFor();
  await page.getByTestId("disclosure").first().waitFor();
  await look(page, "111-officer-record");
  await page.getByTestId("nav-audit").click();
  await page.getByTestId("audit-patient").fill("nobody of that name");
  await page.getByTestId("audit-apply").click();
  await page.getByTestId("audit-nobody").waitFor();
  await look(page, "112-officer-nobody");
  record.officer = before;
}
