import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type IdlePhase, IdleWatch, type Stamps, TELL_EVERY_MS, TICK_MS, WARN_MS } from "./watch.ts";

const MINUTE = 60_000;
const IDLE = 15 * MINUTE;

/** What tabs of one browser share. */
class Browser implements Stamps {
  at: number | null = null;
  signedIn = "first";
  active = () => this.at;
  setActive = (at: number) => { this.at = at; };
  turn = (): string | null => this.signedIn;
}

/** One tab, ticking as a page does. */
class Tab {
  readonly phases: IdlePhase[] = [];
  told = 0;
  readonly watch: IdleWatch;
  #timer: ReturnType<typeof setInterval>;

  constructor(stamps: Stamps) {
    this.watch = new IdleWatch(IDLE, { now: () => Date.now(), stamps, tell: () => { this.told += 1; }, changed: (phase) => this.phases.push(phase) });
    this.#timer = setInterval(() => this.watch.tick(), TICK_MS);
  }

  sleep = () => clearInterval(this.#timer);
  get kind() { return this.watch.phase.kind; }
}

describe("an untouched page", () => {
  let browser: Browser;
  beforeEach(() => {
    vi.useFakeTimers({ now: new Date("2026-11-22T09:00:00Z") });
    browser = new Browser();
  });
  afterEach(() => vi.useRealTimers());

  it("warns a minute before and locks after fifteen, to the second", () => {
    const tab = new Tab(browser);
    vi.advanceTimersByTime(IDLE - WARN_MS - TICK_MS);
    expect(tab.phases).toEqual([]);
    vi.advanceTimersByTime(TICK_MS);
    expect(tab.watch.phase).toEqual({ kind: "warning", seconds: 60 });
    vi.advanceTimersByTime(30_000);
    expect(tab.watch.phase).toEqual({ kind: "warning", seconds: 30 });
    vi.advanceTimersByTime(30_000 - TICK_MS);
    expect(tab.watch.phase).toEqual({ kind: "warning", seconds: 1 });
    vi.advanceTimersByTime(TICK_MS);
    expect(tab.kind).toBe("locked");
    expect(tab.told).toBe(0);
  });

  it("stays open while somebody touches it, and the service hears of that now and then", () => {
    const tab = new Tab(browser);
    for (let minute = 0; minute < 60; minute += 1) {
      vi.advanceTimersByTime(MINUTE);
      for (let n = 0; n < 50; n += 1) tab.watch.input();
    }
    expect(tab.phases).toEqual([]);
    vi.advanceTimersByTime(TICK_MS);
    expect(tab.told).toBe(60);
    // Nobody any more: the last touch has been told, and nothing follows it.
    vi.advanceTimersByTime(IDLE - TICK_MS);
    expect(tab.kind).toBe("locked");
    expect(tab.told).toBe(60);
  });

  it("tells of a touch at most so often, but of the last one in any case", () => {
    const tab = new Tab(browser);
    vi.advanceTimersByTime(TELL_EVERY_MS);
    tab.watch.input();
    vi.advanceTimersByTime(TICK_MS);
    expect(tab.told).toBe(1);
    vi.advanceTimersByTime(5_000);
    tab.watch.input();
    expect(tab.told).toBe(1);
    vi.advanceTimersByTime(TELL_EVERY_MS - 5_000);
    expect(tab.told).toBe(2);
    vi.advanceTimersByTime(10 * TELL_EVERY_MS);
    expect(tab.told).toBe(2);
  });

  it("wants an answer once it has warned: a passing hand does not count", () => {
    const tab = new Tab(browser);
    vi.advanceTimersByTime(IDLE - 20_000);
    tab.watch.input();
    expect(tab.kind).toBe("warning");
    tab.watch.stay();
    expect([tab.kind, tab.told]).toEqual(["awake", 1]);
    vi.advanceTimersByTime(IDLE - TICK_MS);
    expect(tab.kind).toBe("warning");
    vi.advanceTimersByTime(TICK_MS);
    expect(tab.kind).toBe("locked");
    tab.watch.stay();
    tab.watch.input();
    expect(tab.kind).toBe("locked");
  });

  it("knows that somebody is there in another tab, which answers for both", () => {
    const one = new Tab(browser);
    const two = new Tab(browser);
    vi.advanceTimersByTime(10 * MINUTE);
    two.watch.input();
    vi.advanceTimersByTime(10 * MINUTE);
    expect([one.kind, two.kind]).toEqual(["awake", "awake"]);
    vi.advanceTimersByTime(4.5 * MINUTE);
    expect([one.kind, two.kind]).toEqual(["warning", "warning"]);
    two.watch.stay();
    vi.advanceTimersByTime(TICK_MS);
    expect([one.kind, two.kind]).toEqual(["awake", "awake"]);
    vi.advanceTimersByTime(IDLE);
    expect([one.kind, two.kind]).toEqual(["locked", "locked"]);
  });

  it("locks after a sleep before anything else, also when the first thing is a touch", () => {
    const tab = new Tab(browser);
    tab.sleep();
    vi.setSystemTime(Date.now() + 8 * 60 * MINUTE);
    tab.watch.input();
    expect(tab.kind).toBe("locked");
    expect(tab.told).toBe(0);
  });

  it("is not kept open by a clock that was put back", () => {
    const tab = new Tab(browser);
    vi.setSystemTime(Date.now() - 60 * MINUTE);
    vi.advanceTimersByTime(IDLE - TICK_MS);
    expect(tab.kind).toBe("warning");
    vi.advanceTimersByTime(2 * TICK_MS);
    expect(tab.kind).toBe("locked");
    const other = new Browser();
    const late = new Tab(other);
    other.at = Date.now() + 365 * 24 * 60 * MINUTE;
    vi.advanceTimersByTime(IDLE + TICK_MS);
    expect(late.kind).toBe("locked");
  });

  it("is open to who listens, for as long as they do, and in their other tabs", () => {
    const call = new Tab(browser);
    const other = new Tab(browser);
    let isTalking = true;
    const release = call.watch.hold(() => isTalking);
    vi.advanceTimersByTime(2 * 60 * MINUTE);
    expect([call.phases, other.phases]).toEqual([[], []]);
    // The service knows who is in a visit: the page has nothing to say for it.
    expect(call.told).toBe(0);
    isTalking = false;
    vi.advanceTimersByTime(IDLE - WARN_MS);
    expect([call.kind, other.kind]).toEqual(["warning", "warning"]);
    isTalking = true;
    vi.advanceTimersByTime(TICK_MS);
    expect(call.kind).toBe("awake");
    release();
    vi.advanceTimersByTime(IDLE);
    expect([call.kind, other.kind]).toEqual(["locked", "locked"]);
  });

  it("shows nothing any more when somebody came or went in another tab, but a lock stays a lock", () => {
    const tab = new Tab(browser);
    browser.signedIn = "second";
    vi.advanceTimersByTime(TICK_MS);
    expect(tab.kind).toBe("overtaken");
    const late = new Tab(browser);
    late.sleep();
    vi.advanceTimersByTime(IDLE);
    browser.signedIn = "third";
    late.watch.tick();
    expect(late.kind).toBe("locked");
  });

  it("counts for itself where tabs cannot share anything", () => {
    const alone = new Tab({ active: () => null, setActive: () => undefined, turn: () => null });
    vi.advanceTimersByTime(10 * MINUTE);
    alone.watch.input();
    vi.advanceTimersByTime(IDLE - TICK_MS);
    expect(alone.kind).toBe("warning");
    vi.advanceTimersByTime(TICK_MS);
    expect(alone.kind).toBe("locked");
  });
});
