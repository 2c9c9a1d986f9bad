/** Proofs and heads of the audit log, and the clinic's systems; part of `a11y.mjs`. */

const HEAD = "medmesh/harbour/audit/c1\nSIZE\nAAAA=\n\n\u2014 medmesh/harbour/audit/c1 Zm9vYmFy\n";
const kept = (size) => ({ name: "head.json", mimeType: "application/json", buffer: Buffer.from(JSON.stringify({ checkpoint: HEAD.replace("SIZE", size) })) });

export async function proofs(page, look) {
  await page.getByTestId("head-refused").waitFor();
  for (const row of [0, 1, 2]) {
    await page.getByTestId("audit-proof").nth(row).click();
    await page.locator('[data-testid="audit-proof-said"]:not(:empty)').nth(row).waitFor();
  }
  await page.getByTestId("head-save").click();
  await page.locator('[data-testid="head-saved"]:not(:empty)').waitFor();
  await page.getByTestId("head-kept").setInputFiles(kept("900"));
  await page.getByTestId("head-compare").click();
  await page.getByTestId("head-compared").waitFor();
  await look(page, "85-audit-proofs");
  await page.getByTestId("head-kept").setInputFiles(kept("900000"));
  await page.getByTestId("head-compare").click();
  await page.getByTestId("head-compare-error").waitFor();
  await page.getByTestId("head-kept").setInputFiles(kept("none"));
  await page.getByTestId("head-compare").click();
  await page.locator("[data-testid=head-kept][aria-invalid]").waitFor();
  await look(page, "86-audit-head-refused");
}

export async function systems(page, look) {
  await page.getByTestId("nav-systems").click();
  await page.getByTestId("system").first().waitFor();
  await page.getByTestId("token-endpoint").waitFor();
  await look(page, "87-systems");
  await page.getByTestId("system-new").click();
  await page.getByTestId("system-name").fill("Laboratory");
  await page.getByTestId("system-scope-system/Patient.s").check();
  await page.getByTestId("system-keys").fill(JSON.stringify({ keys: [{ kty: "EC", kid: "lab", d: "secret" }] }));
  await page.getByTestId("system-submit").click();
  await page.locator("[data-testid=system-keys][aria-invalid]").waitFor();
  await look(page, "88-system-private-key");
  await page.getByTestId("system-keys").fill(JSON.stringify({ kty: "EC", kid: "lab" }));
  await page.getByTestId("system-submit").click();
  await page.getByTestId("system-error").waitFor();
  await look(page, "88-system-refused");
  await page.keyboard.press("Escape");
  await page.getByTestId("system-change").first().click();
  await page.getByTestId("system-key-2026-a").uncheck();
  await page.getByTestId("system-enabled").uncheck();
  await page.getByTestId("system-submit").click();
  await page.getByTestId("system-error").waitFor();
  await look(page, "89-system-change");
  await page.getByTestId("system-enabled").check();
  await page.getByTestId("system-submit").click();
  await page.getByTestId("system-saved").waitFor();
}
