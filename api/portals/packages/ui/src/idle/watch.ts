/**
 * Whether somebody is there. Everybody's screen locks when nobody has touched anything for as long as the session may be
 * idle (HIPAA 45 CFR 164.312(a)(2)(iii)), and says so shortly before. Framework-free: time and keeping are given to it.
 *
 * Tabs of one browser share one session, so they share one time stamp: whoever is active in one of them is there.
 */

/** Long enough to come back to the desk; WCAG 2.2.1 asks for 20 seconds. */
export const WARN_MS = 60_000;
/** How often the service learns that somebody is there. It notes use every 30 s at most, so asking more often is lost. */
export const TELL_EVERY_MS = 45_000;
/** How often is looked: what the warning counts down by. */
export const TICK_MS = 1_000;
/** Moving a pointer is a hundred events a second; one stamp a second says as much. */
const STAMP_EVERY_MS = 1_000;

export type IdlePhase =
  | { readonly kind: "awake" }
  /** Locks in so many seconds, unless somebody says that they are there. */
  | { readonly kind: "warning"; readonly seconds: number }
  | { readonly kind: "locked" }
  /** Somebody signed in or out in another tab: what is shown here may be another's. */
  | { readonly kind: "overtaken" };

/** What all tabs of a browser can see. Reading gives `null` where nothing is kept. */
export interface Stamps {
  /** When somebody last touched anything, ms since 1970. */
  active(): number | null;
  setActive(at: number): void;
  /** Changes whenever somebody signed in or out. */
  turn(): string | null;
}

export interface Surroundings {
  /** Milliseconds since 1970; they go on while the machine sleeps. */
  now(): number;
  readonly stamps: Stamps;
  /** Tells the service that somebody is there. */
  tell(): void;
  /** The phase is another, or the seconds are. */
  changed(phase: IdlePhase): void;
}

export class IdleWatch {
  #phase: IdlePhase = { kind: "awake" };
  #active: number;
  #stamped: number;
  #told: number;
  readonly #turn: string | null;
  readonly #holds = new Set<() => boolean>();

  /** Begins with somebody there: they have just opened the page or signed in, which the service knows. */
  constructor(private readonly idleMs: number, private readonly around: Surroundings) {
    this.#active = this.#told = this.#stamped = around.now();
    this.#turn = around.stamps.turn();
    around.stamps.setActive(this.#active);
  }

  get phase(): IdlePhase {
    return this.#phase;
  }

  /** Somebody touched something. Once the warning is up only its answer counts: a movement on the way to the button must not take it away from under the hand. */
  input(): void {
    // After a sleep the first touch must not save what has been over for hours.
    this.tick();
    if (this.#phase.kind === "awake") this.#touch(this.around.now());
  }

  /** The answer to the warning. */
  stay(): void {
    this.#look();
    if (this.#phase.kind === "locked" || this.#phase.kind === "overtaken") return;
    const now = this.around.now();
    this.#touch(now);
    this.#tell(now);
    this.#become({ kind: "awake" });
  }

  /** While it holds, somebody is there though they touch nothing; until the returned function is called. */
  hold(holds: () => boolean): () => void {
    this.#holds.add(holds);
    return () => this.#holds.delete(holds);
  }

  tick(): void {
    this.#look();
    const now = this.around.now();
    const { kind } = this.#phase;
    if (kind === "awake" && this.#active > this.#told && now - this.#told >= TELL_EVERY_MS) this.#tell(now);
  }

  #look(): void {
    const { kind } = this.#phase;
    if (kind === "locked" || kind === "overtaken") return;
    const now = this.around.now();
    const left = this.#latest(now) + this.idleMs - now;
    if (left <= 0) return this.#become({ kind: "locked" });
    // After the lock: another tab that locked has a turn of its own.
    if (this.around.stamps.turn() !== this.#turn) return this.#become({ kind: "overtaken" });
    if ([...this.#holds].some((holds) => holds())) {
      // The service knows by itself who is in a visit; the other tabs do not.
      this.#stamp(now);
      return this.#become({ kind: "awake" });
    }
    this.#become(left <= Math.min(WARN_MS, this.idleMs / 2) ? { kind: "warning", seconds: Math.ceil(left / 1000) } : { kind: "awake" });
  }

  /** When somebody was last there, in any tab. A stamp from the future is from before the clock was put back: counting begins again. */
  #latest(now: number): number {
    const shared = this.around.stamps.active() ?? 0;
    const latest = Math.max(this.#active, this.#stamped, shared);
    if (latest <= now) return latest;
    this.#active = this.#stamped = now;
    this.#told = Math.min(this.#told, now);
    this.around.stamps.setActive(now);
    return now;
  }

  #touch(now: number): void {
    this.#active = now;
    this.#stamp(now);
  }

  #stamp(now: number): void {
    if (now - this.#stamped < STAMP_EVERY_MS) return;
    this.#stamped = now;
    this.around.stamps.setActive(now);
  }

  #tell(now: number): void {
    this.#told = now;
    this.around.tell();
  }

  #become(phase: IdlePhase): void {
    const before = this.#phase;
    const same = before.kind === phase.kind && (before.kind !== "warning" || phase.kind !== "warning" || before.seconds === phase.seconds);
    if (same) return;
    this.#phase = phase;
    this.around.changed(phase);
  }
}
