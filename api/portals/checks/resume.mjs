/**
 * `npm run check:resume`: the edge falls silent in the middle of a visit; the page notices, moves to the next edge with the
 * resume token and a proof by its key, and shows pictures again. Later the new edge asks it to move once more. At last no edge
 * of its session has room, and it asks for a new session by itself.
 */
import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { attachEdge } from "./edge-page.mjs";
import { PARTICIPANTS, startFixture } from "./fixture.mjs";

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=fps=30"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
const fixture = await startFixture();
try {
  const page = await (await browser.newContext({ permissions: ["camera", "microphone"] })).newPage();
  const requests = [];
  page.on("request", (request) => { if (request.method() === "POST" && request.url().endsWith("/v1/whip")) requests.push({ url: request.url(), headers: request.headers() }); });
  const [first, second] = [await browser.newPage(), await browser.newPage()];
  const script = { you: PARTICIPANTS.clinician, people: [{ participant: PARTICIPANTS.patient, sources: ["mic", "camera"] }] };
  await attachEdge(page, first, script);
  await attachEdge(page, second, script, "http://other-edge.invalid");

  await page.goto(`${fixture.url}/clinician/`);
  await page.getByTestId("sign-in-email").fill("chen@example.org");
  await page.getByTestId("sign-in-password").fill("correct horse battery");
  await page.getByTestId("sign-in-submit").click();
  await page.locator('[data-testid="open"][data-visit="v1"]').click();
  await page.getByTestId("check-continue").click();
  await page.getByTestId("join").click();
  const picture = page.locator('[data-testid="tile"][data-video="true"] video');
  await picture.waitFor();
  assert.equal(requests.length, 1);
  assert.equal(requests[0].headers["authorization"], "Bearer join");
  assert.equal(requests[0].headers["dpop"], undefined);

  const phases = await page.evaluateHandle(() => {
    const seen = [];
    new MutationObserver(() => seen.push(document.querySelector('[data-testid="call"]')?.dataset.phase)).observe(document.body, { subtree: true, attributes: true, attributeFilter: ["data-phase"] });
    return seen;
  });
  const silentAt = Date.now();
  await first.evaluate(() => { window.far.channel.onmessage = null; });
  await page.waitForFunction(() => window.__medmesh.counters.heartbeats_missed > 0);
  const noticedMs = Date.now() - silentAt;
  await page.waitForFunction(() => window.__medmesh.counters.resumes === 1);
  const backMs = Date.now() - silentAt;
  assert.deepEqual(await phases.jsonValue(), ["reconnecting", "connected"]);
  assert.equal(new URL(requests[1].url).host, "other-edge.invalid");
  assert.equal(requests[1].headers["authorization"], "Bearer resume");
  const [header, claims] = requests[1].headers["dpop"].split(".").map((part) => Buffer.from(part, "base64url").toString());
  assert.equal(JSON.parse(header).typ, "dpop+jwt");
  assert.equal(JSON.parse(claims).htu, "http://other-edge.invalid/v1/whip");
  await picture.waitFor();
  await playing(page);
  assert.ok(noticedMs < 4_000, `noticed after ${noticedMs} ms`);

  // Make before break: asked to move, the page keeps the old picture until the new connection is up.
  const third = await browser.newPage();
  await page.unroute("http://edge.invalid/**");
  await attachEdge(page, third, script);
  await second.evaluate(() => window.far.channel.send(JSON.stringify({ type: "migrate", reason: "drain" })));
  await page.waitForFunction(() => window.__medmesh.counters.resumes === 2);
  await picture.waitFor();
  await playing(page);
  assert.equal(new URL(requests[2].url).host, "edge.invalid");
  const told = await third.evaluate(() => window.far.received.filter((message) => message.type !== "ping").map((message) => message.type));
  assert.ok(told.includes("source"), "the new edge hears what is on");
  await third.waitForFunction(() => window.far.received.some((message) => message.type === "wish"));

  // The fleet drains: every edge that the session names answers that it has no room.
  const fourth = await browser.newPage();
  fixture.state.edges = [{ id: "e3", name: "lisbon-1", region: "eu-south", whip_url: "http://third-edge.invalid/v1/whip" }];
  const asked = fixture.state.signalled;
  for (const origin of ["http://edge.invalid", "http://other-edge.invalid"]) {
    await page.unroute(`${origin}/**`);
    await page.route(`${origin}/**`, (route) => route.fulfill({ status: 503, headers: { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*", "Access-Control-Allow-Methods": "*" } }));
  }
  await attachEdge(page, fourth, script, "http://third-edge.invalid");
  await third.evaluate(() => window.far.channel.send(JSON.stringify({ type: "migrate", reason: "drain" })));
  await page.waitForFunction(() => window.__medmesh.counters.resumes === 3);
  assert.equal(fixture.state.signalled, asked + 1, "one new session");
  assert.deepEqual(requests.slice(3).map(({ url }) => new URL(url).host), ["other-edge.invalid", "edge.invalid", "third-edge.invalid"]);
  await picture.waitFor();
  await playing(page);

  const counters = await page.evaluate(() => window.__medmesh.counters);
  assert.deepEqual(counters, { sdp_exchanges: 4, ice_restarts: 0, resumes: 3, heartbeats_missed: 3 });
  await page.getByTestId("leave").click();
  await page.getByTestId("join").waitFor();
  console.log(`noticed after ${noticedMs} ms, back after ${backMs} ms`);
} finally {
  await browser.close();
  await fixture.stop();
}

async function playing(page) {
  await page.waitForFunction(() => {
    const video = document.querySelector('[data-testid="tile"] video');
    window.seen ??= video?.currentTime;
    return video !== null && video.currentTime > 0 && !video.paused;
  });
}
