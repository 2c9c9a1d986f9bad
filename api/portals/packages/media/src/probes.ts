/** How far is each candidate edge? The smallest of a few timed requests: noise only ever adds. */

const ROUNDS = 4;
const ROUND_TIMEOUT_MS = 2_000;

export interface ProbeTarget {
  readonly id: string;
  readonly probe_url: string;
}

export interface ProbeResult {
  readonly edge_id: string;
  readonly rtt_ms: number;
}

/** Times all candidates side by side; `found` hears each one's best as it gets better. The first round only opens the connection. */
export async function probeAll(
  targets: readonly ProbeTarget[],
  found: (result: ProbeResult) => void,
  request: (url: string) => Promise<void> = get,
  now: () => number = () => performance.now(),
): Promise<void> {
  const probeOne = async (target: ProbeTarget) => {
    let best = Number.POSITIVE_INFINITY;
    await request(target.probe_url);
    for (let round = 0; round < ROUNDS; round += 1) {
      const start = now();
      await request(target.probe_url);
      best = Math.min(best, now() - start);
      found({ edge_id: target.id, rtt_ms: Math.round(best * 100) / 100 });
    }
  };
  // One that cannot be reached from here, or stops answering, is left with what was measured so far.
  await Promise.allSettled(targets.map(probeOne));
}

async function get(url: string): Promise<void> {
  await fetch(url, { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(ROUND_TIMEOUT_MS) });
}

/** Probes older than this are taken again before a join. */
const FRESH_MS = 120_000;

/** What is known of the candidates of one visit; outlives a join, so that coming back does not measure again. */
export class EdgeProbes {
  readonly #measured = new Map<string, ProbeResult>();
  #taken: { readonly at: number; readonly done: Promise<void> } | null = null;

  constructor(private readonly candidates: () => Promise<readonly ProbeTarget[]>) {}

  get results(): ProbeResult[] {
    return [...this.#measured.values()];
  }

  /** Resolves when there are fresh results, or none to be had. */
  async take(): Promise<void> {
    if (this.#taken === null || performance.now() - this.#taken.at > FRESH_MS) {
      this.#taken = { at: performance.now(), done: this.#run() };
    }
    await this.#taken.done;
  }

  async #run(): Promise<void> {
    try {
      await probeAll(await this.candidates(), (result) => this.#measured.set(result.edge_id, result));
    } catch {
      // Not allowed yet, or out of reach: the next one asks again.
      this.#taken = null;
    }
  }
}
