/** Which edge of a grant to try next, and when the grant itself is to be replaced; pure, so that it can be tested without a network. */

/** Rounds in which no edge answered at all before the edges are taken for gone: one may be a network that is just changing. */
const SILENT_ROUNDS_MAX = 2;

export interface Verdict {
  /** Ask the control plane for a new session. */
  readonly renew: boolean;
  /** Every edge was tried since the last pause: wait before going on. */
  readonly pause: boolean;
}

export class EdgeWalk {
  #at: number;
  #tried = 0;
  #answered = false;
  #silentRounds = 0;
  /** Rounds since the walk began, for the length of pauses. */
  rounds = 0;

  /** `at` is the edge that was just lost; the one after it comes first. */
  constructor(private edges: number, at: number) {
    this.#at = at;
  }

  next(): number {
    this.#at = (this.#at + 1) % Math.max(this.edges, 1);
    return this.#at;
  }

  /**
   * The edge last named did not take the connection: `status` is what it answered, 0 for nothing. A refused token is of no use
   * elsewhere either. Edges that answer but have no room (503, while the fleet drains, say) will not have any soon: only the
   * control plane knows where there is some.
   */
  failed(status: number): Verdict {
    this.#tried += 1;
    const refused = status >= 400 && status < 500 && status !== 429;
    if (status > 0) this.#answered = true;
    const pause = this.#tried >= Math.max(this.edges, 1);
    if (!pause) return { renew: refused, pause };
    this.#silentRounds = this.#answered ? 0 : this.#silentRounds + 1;
    const renew = refused || this.#answered || this.#silentRounds >= SILENT_ROUNDS_MAX;
    this.#newRound();
    return { renew, pause };
  }

  /** A new grant: its first edge comes next. */
  restart(edges: number): void {
    this.edges = edges;
    this.#at = edges - 1;
    this.#tried = 0;
    this.#answered = false;
    this.#silentRounds = 0;
  }

  #newRound(): void {
    this.rounds += 1;
    this.#tried = 0;
    this.#answered = false;
    if (this.#silentRounds >= SILENT_ROUNDS_MAX) this.#silentRounds = 0;
  }
}
