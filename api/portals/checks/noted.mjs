/** What the clinic writes down about a record, done with nothing but a keyboard; part of `a11y.mjs`. */

/** More than any form here has places to stop at. */
const STOPS_MAX = 40;
const SCAN = { name: "scan.pdf", mimeType: "application/pdf", buffer: Buffer.from("%PDF-1.7 a signed paper") };

/** Tabs until the field has the focus; it has to be within reach. */
async function tabTo(page, testId) {
  for (let stop = 0; stop < STOPS_MAX; stop += 1) {
    if (await page.evaluate(() => document.activeElement?.getAttribute("data-testid")) === testId) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`${testId} is out of a keyboard's reach`);
}

async function type(page, testId, text) {
  await tabTo(page, testId);
  await page.keyboard.type(text);
}

/** Goes through a list of choices until this one. */
async function choose(page, testId, value) {
  await tabTo(page, testId);
  const field = page.getByTestId(testId);
  for (let turn = 0; turn < STOPS_MAX && await field.inputValue() !== value; turn += 1) await page.keyboard.press("ArrowDown");
  if (await field.inputValue() !== value) throw new Error(`${testId} does not offer ${value}`);
}

export async function disclosures(page, look) {
  await page.getByTestId("nav-disclosures").focus();
  await page.keyboard.press("Enter");
  await type(page, "patient-search", "Rossa");
  await page.keyboard.press("Enter");
  await page.getByTestId("patient-match").first().waitFor();
  await look(page, "90-disclosures-find");
  await tabTo(page, "patient-match");
  await page.keyboard.press("Enter");
  await page.getByTestId("disclosure").nth(1).waitFor();
  await look(page, "90-disclosures");
  await tabTo(page, "disclosure-new");
  await page.keyboard.press("Enter");
  await type(page, "disclosure-recipient", "Labour inspectorate");
  await type(page, "disclosure-address", "1 Mill Lane");
  await type(page, "disclosure-description", "Report on the injured hand");
  await type(page, "disclosure-purpose", "Accident at work");
  await choose(page, "disclosure-basis", "required_by_law");
  await tabTo(page, "disclosure-submit");
  await page.keyboard.press("Enter");
  await page.getByTestId("disclosure-error").waitFor();
  await look(page, "90-disclosure-refused");
  // Back to the top of the dialog: after the last stop comes the first.
  await choose(page, "disclosure-basis", "workers_compensation");
  await tabTo(page, "disclosure-submit");
  await page.keyboard.press("Enter");
  await page.getByTestId("disclosure-noted").waitFor();
  await page.getByTestId("disclosure").nth(2).waitFor();
  await look(page, "90-disclosure-noted");
}

export async function consentNoted(page, look) {
  await page.getByTestId("consent-proof").waitFor();
  await page.getByTestId("consent-note").focus();
  await page.keyboard.press("Enter");
  await choose(page, "consent-note-purpose", "payment");
  await type(page, "consent-note-document", "unknown");
  // Without the scan it goes nowhere: the browser names the field that is missing.
  await tabTo(page, "consent-note-submit");
  await page.keyboard.press("Enter");
  await page.locator("[data-testid=consent-note-scan]:invalid").waitFor();
  await page.getByTestId("consent-note-scan").setInputFiles({ ...SCAN, buffer: Buffer.alloc(0) });
  await page.locator("[data-testid=consent-note-scan][aria-invalid]").waitFor();
  await page.getByTestId("consent-note-scan").setInputFiles(SCAN);
  await page.getByTestId("consent-note-digest").waitFor();
  await tabTo(page, "consent-note-submit");
  await page.keyboard.press("Enter");
  await page.getByTestId("consent-note-error").waitFor();
  await look(page, "77-consent-note");
  await page.getByTestId("consent-note-document").fill("forms/payment/2026-3");
  await page.keyboard.press("Enter");
  await page.getByTestId("consent-noted").waitFor();
  await look(page, "77-consent-noted");
}
