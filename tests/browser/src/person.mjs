/** Somebody with a browser of their own, who uses the portals as a person does: by what is on the page. */
import { chromium } from "playwright-core";
import { OUT, system, until } from "./system.mjs";
import { nextCode } from "./totp.mjs";

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=fps=30", "--autoplay-policy=no-user-gesture-required",
  // Three browsers and a whole system share two cores; a hidden window must still decode.
  "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows", "--disable-background-timer-throttling",
];
/** Added to the probes of edges this person shall not be near: more than any noise of a loaded machine. */
const FAR_MS = 250;

export class Person {
  /**
   * `near` is the edge that answers their probes without delay; without it all do. Without `devices` their computer has
   * neither camera nor microphone. `relays` are the URLs of relays their network lets through, all others are not tried;
   * `home` is where their browser finds authorities of its own.
   */
  static async arrive(name, portal, login, { near, query = "", devices = true, relays, home = process.env.HOME } = {}) {
    const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS, env: { ...process.env, HOME: home } });
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, permissions: ["camera", "microphone"], ignoreHTTPSErrors: true, locale: "en" });
    // The portals' own "save data": a 360p camera, so that encoders leave the machine room for everything else.
    await context.addInitScript(() => localStorage.setItem("medmesh.devices", JSON.stringify({ saveData: true })));
    if (!devices) {
      await context.addInitScript(() => {
        navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no such device", "NotFoundError"); };
      });
    }
    if (relays) await context.addInitScript(onlyThese, relays);
    // What the content policy refused, told by the page itself: a refusal need not reach the console.
    const refused = [];
    await context.exposeBinding("policyRefused", (_, what) => refused.push(`the policy refused ${what}`));
    await context.addInitScript(() => document.addEventListener("securitypolicyviolation", (event) => {
      globalThis.policyRefused(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile ?? ""}:${event.lineNumber}`);
    }));
    const page = await context.newPage();
    const person = new Person(name, portal, browser, context, page, query);
    person.devices = devices;
    person.errors = refused;
    if (near !== undefined) await person.#slowProbes(system.edges.filter((edge) => edge !== near));
    await person.#signIn(login);
    return person;
  }

  constructor(name, portal, browser, context, page, query) {
    Object.assign(this, { name, portal, browser, context, page, query });
    /** URLs of every WHIP request that carried SDP or a fragment of it. */
    this.exchanges = [];
    this.errors = [];
    page.on("request", (request) => {
      if (["POST", "PATCH"].includes(request.method()) && new URL(request.url()).pathname.startsWith("/v1/whip")) this.exchanges.push(request.url());
    });
    page.on("pageerror", (error) => this.errors.push(error.message));
    page.on("console", (message) => { if (/Content Security Policy/.test(message.text())) this.errors.push(message.text()); });
  }

  /** Only probes are intercepted, so that nothing else is slower than for anybody. */
  async #slowProbes(edges) {
    const cdp = await this.context.newCDPSession(this.page);
    cdp.on("Fetch.requestPaused", ({ requestId }) => {
      setTimeout(() => cdp.send("Fetch.continueRequest", { requestId }).catch(() => undefined), FAR_MS);
    });
    await cdp.send("Fetch.enable", { patterns: edges.map((edge) => ({ urlPattern: `${new URL(edge.signalling_url).origin}/v1/probe*` })) });
  }

  /** Without a login they stay at the door. */
  async #signIn(login) {
    await this.page.goto(new URL(`/${this.portal}/${this.query}`, system.portal_url).href);
    await this.see("sign-in");
    await this.photo("sign-in");
    if (login === null) return;
    const { email, password, totp_secret } = login;
    await this.id("sign-in-email").fill(email);
    await this.id("sign-in-password").fill(password);
    await this.id("sign-in-submit").click();
    if (totp_secret) {
      await this.see("second-step");
      await this.id("second-step-code").fill(await nextCode(totp_secret));
      await this.id("second-step-submit").click();
    }
  }

  id(testId) {
    return this.page.getByTestId(testId);
  }

  async see(testId, options = {}) {
    await this.id(testId).first().waitFor({ timeout: 15_000, ...options });
  }

  async photo(state) {
    await this.page.screenshot({ path: `${OUT}/${this.name}-${state}.png` });
  }

  /** A request as the page makes it: with its session's cookie and token. */
  async request(method, path, body) {
    return this.page.evaluate(async ({ method, path, body, key }) => {
      const session = await (await fetch("/v1/auth/session")).json();
      const headers = { "Content-Type": "application/json", ...(method === "GET" ? {} : { "X-CSRF-Token": session.csrf_token, "Idempotency-Key": key }) };
      const response = await fetch(path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
      return { status: response.status, body: await response.json() };
    }, { method, path, body, key: crypto.randomUUID() });
  }

  /** From the list of visits through the device check into the waiting room, or to the door if they may join already. */
  async comeToVisit(visitId) {
    const button = this.page.locator(`[data-testid="${this.portal === "patient" ? "visit-join" : "open"}"][data-visit="${visitId}"]`);
    await button.waitFor({ timeout: 15_000 });
    await this.photo("visits");
    await button.click();
    if (this.devices) {
      await this.page.getByTestId("preview").locator("video").waitFor();
      await until(`${this.name}'s microphone moves the meter`, async () => Number(await this.id("level").getAttribute("aria-valuenow")) > 0);
    } else await this.see("failure-camera");
    await this.probesTaken();
    await this.photo("check");
    await this.id("check-continue").click();
    await this.see("lobby");
    await this.photo("lobby");
  }

  /** The device check takes longer than the probes for any person, but not for a test. */
  async probesTaken() {
    if (system.edges.length < 2) return;
    await until(`${this.name}'s probes`, () => this.page.evaluate((origins) => {
      const done = performance.getEntriesByType("resource").filter((entry) => entry.name.includes("/v1/probe"));
      return origins.every((origin) => done.filter((entry) => entry.name.startsWith(origin)).length >= 5);
    }, system.edges.map((edge) => new URL(edge.signalling_url).origin)), 20_000);
  }

  async join() {
    await this.see("join");
    await this.id("join").click();
    await this.see("call");
  }

  async leave() {
    await this.id("leave").click();
    await this.see("lobby");
  }

  tile(participant, source = "camera") {
    return this.page.locator(`[data-testid="tile"][data-participant="${participant}"][data-source="${source}"]`);
  }

  /** Waits for pictures of somebody. */
  async seesVideoOf(participant, source = "camera") {
    await this.page.locator(`[data-testid="tile"][data-participant="${participant}"][data-source="${source}"][data-video="true"]`).waitFor({ timeout: 15_000 });
    await until(`${this.name} sees ${source} moving`, () => this.tile(participant, source).locator("video").evaluate((video) => video.videoWidth > 0 && video.currentTime > 0));
  }

  /** Their own participant id, as the page knows it. */
  async participant() {
    return until(`${this.name}'s participant id`, () => this.id("self-tile").getAttribute("data-participant"));
  }

  /** Timings, counters and what arrives right now. */
  async measure() {
    return this.page.evaluate(async () => {
      const exposed = window.__medmesh;
      return { at: performance.now(), timings_ms: exposed.timings_ms, counters: exposed.counters, report: await exposed.report() };
    });
  }

  /** The edge of the latest join. */
  get edge() {
    const origin = new URL(this.exchanges.at(-1) ?? "http://none.invalid").origin;
    return system.edges.find((edge) => new URL(edge.signalling_url).origin === origin);
  }

  async close() {
    await this.browser.close();
  }
}

/** Runs in the page: of the relays it is told of, connections know only these, and tell how they use them. */
function onlyThese(urls) {
  const connections = [];
  const selected = (stats) => {
    const chosen = stats.find(({ type, selectedCandidatePairId }) => type === "transport" && selectedCandidatePairId)?.selectedCandidatePairId;
    const { candidateType, relayProtocol, url } = stats.find(({ id }) => id === stats.find((one) => one.id === chosen)?.localCandidateId) ?? {};
    return { candidateType, relayProtocol, url };
  };
  globalThis.relaysInUse = () => Promise.all(connections
    .filter(({ connectionState }) => connectionState === "connected")
    .map(async (connection) => selected([...(await connection.getStats()).values()])));
  const left = (server) => ({ ...server, urls: [server.urls].flat().filter((url) => urls.includes(url)) });
  const only = (settings) => ({ ...settings, iceServers: (settings?.iceServers ?? []).map(left).filter((server) => server.urls.length > 0) });
  const Native = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Native {
    constructor(settings) {
      super(only(settings));
      connections.push(this);
    }

    setConfiguration(settings) {
      super.setConfiguration(only(settings));
    }
  };
}

/** What arrived between two measurements of one connection, per second. */
export function between(before, after) {
  const seconds = (after.at - before.at) / 1000;
  const frames = (entry) => entry.report.video.reduce((sum, video) => sum + video.frames_decoded, 0);
  const energy = (entry) => entry.report.audio.reduce((sum, audio) => sum + audio.energy, 0);
  return { seconds, frames_per_second: (frames(after) - frames(before)) / seconds, audio_energy: energy(after) - energy(before), relayed: after.report.relayed };
}
