/** Where the time between the click and the first picture goes. Numbers only: safe to show, to log and to test. */

import type { CallReport } from "./report.ts";

export const STEPS = ["click", "session", "offer", "answer", "connected", "control", "first_frame"] as const;
export type Step = (typeof STEPS)[number];

export interface Counters {
  /** Offers sent and answered: stays 1 for a whole undisturbed visit. */
  sdp_exchanges: number;
  ice_restarts: number;
  resumes: number;
  /** Pings without an answer when a connection was given up. */
  heartbeats_missed: number;
}

export interface Measurements {
  /** Milliseconds after the click on Join, for the latest join. */
  readonly timings_ms: Readonly<Partial<Record<Step, number>>>;
  readonly counters: Readonly<Counters>;
}

/** What `window.__medmesh` shows of the running visit. */
export interface Exposed extends Measurements {
  report(): Promise<CallReport | null>;
}

declare global {
  interface Window {
    readonly __medmesh?: Exposed;
  }
}

export class Timings {
  #start = 0;
  readonly #steps: Partial<Record<Step, number>> = {};
  readonly counters: Counters = { sdp_exchanges: 0, ice_restarts: 0, resumes: 0, heartbeats_missed: 0 };

  /** Begins a join: forgets the previous one's steps, keeps the counters. */
  begin(): void {
    for (const step of STEPS) delete this.#steps[step];
    this.#start = performance.now();
    this.reach("click");
  }

  /** Notes a step once per join. */
  reach(step: Step): void {
    if (this.#steps[step] !== undefined) return;
    this.#steps[step] = Math.round((performance.now() - this.#start) * 10) / 10;
    performance.mark(`medmesh:${step}`);
  }

  get measurements(): Measurements {
    return { timings_ms: { ...this.#steps }, counters: { ...this.counters } };
  }

  /** Puts a live view at `window.__medmesh`. */
  expose(target: Window, report: () => Promise<CallReport | null>): void {
    Object.defineProperty(target, "__medmesh", { configurable: true, get: () => ({ ...this.measurements, report }) });
  }
}
