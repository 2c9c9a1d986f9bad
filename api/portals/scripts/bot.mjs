/**
 * A synthetic patient: the patient portal in a headless Chromium with a moving test picture and a beeping microphone,
 * waiting for whoever opens the visit and staying in it until it is stopped. `medmesh demo --bots` runs it.
 * Environment: MEDMESH_PORTAL, MEDMESH_EMAIL, MEDMESH_PASSWORD, MEDMESH_VISIT; CHROMIUM names another browser.
 */
import { chromium } from "playwright-core";

const { MEDMESH_PORTAL: portal, MEDMESH_EMAIL: email, MEDMESH_PASSWORD: password, MEDMESH_VISIT: visit, CHROMIUM } = process.env;
if (!portal || !email || !password || !visit) throw new Error("MEDMESH_PORTAL, MEDMESH_EMAIL, MEDMESH_PASSWORD and MEDMESH_VISIT are needed");

/** A person may take as long as they like to admit somebody. */
const FOREVER = { timeout: 0 };

const browser = await chromium.launch({
  executablePath: CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=fps=30", "--autoplay-policy=no-user-gesture-required",
  ],
});
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => browser.close().finally(() => process.exit(0)));

const context = await browser.newContext({ viewport: { width: 960, height: 540 }, permissions: ["camera", "microphone"], locale: "en" });
await context.addInitScript(() => localStorage.setItem("medmesh.devices", JSON.stringify({ saveData: true })));
const page = await context.newPage();
await page.goto(portal);
await page.getByTestId("sign-in-email").fill(email);
await page.getByTestId("sign-in-password").fill(password);
await page.getByTestId("sign-in-submit").click();
await page.locator(`[data-testid="visit-join"][data-visit="${visit}"]`).click();
await page.getByTestId("check-continue").click();
for (;;) {
  await page.getByTestId("join").click(FOREVER);
  await page.getByTestId("call").waitFor();
  // Back in the lobby means that the visit was ended or the connection was given up: come again.
  await page.getByTestId("lobby").waitFor(FOREVER);
}
