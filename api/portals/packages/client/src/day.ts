/** A day of visits that is looked at again and again, and read only where it changed: every reading is an entry in somebody's audit log. */
import type { ClinicApi } from "./clinic.ts";
import { ApiError } from "./problem.ts";
import type { Visit } from "./types.ts";

/** With more news than this at once the whole list is one request instead of many. */
const ONE_BY_ONE_MAX = 8;

export class DayOfVisits {
  #pulses: ReadonlyMap<string, number> = new Map();
  #visits: readonly Visit[] | null = null;
  #looking: Promise<readonly Visit[]> | null = null;

  constructor(private readonly api: Pick<ClinicApi, "visits" | "visitPulses" | "visit">, private readonly day?: string) {}

  /** The visits as they are now, in their order; the same array while nothing changes. One look at a time: two would read the same news twice. */
  look(): Promise<readonly Visit[]> {
    this.#looking ??= this.#look().finally(() => { this.#looking = null; });
    return this.#looking;
  }

  async #look(): Promise<readonly Visit[]> {
    // Before the visits: what changes in between is then read once more rather than missed.
    const pulses = new Map((await this.api.visitPulses(this.day)).map(({ id, pulse }) => [id, pulse]));
    const before = this.#visits;
    const changed = [...pulses.keys()].filter((id) => this.#pulses.get(id) !== pulses.get(id));
    const someLeft = [...this.#pulses.keys()].some((id) => !pulses.has(id));
    if (before !== null && changed.length === 0 && !someLeft) return before;
    const visits = before === null || changed.length > ONE_BY_ONE_MAX
      ? await this.api.visits(this.day, before !== null)
      : await this.#withNews(before, [...pulses.keys()], new Set(changed));
    this.#pulses = pulses;
    this.#visits = visits;
    return visits;
  }

  async #withNews(before: readonly Visit[], order: readonly string[], changed: ReadonlySet<string>): Promise<readonly Visit[]> {
    const known = new Map(before.filter(({ id }) => !changed.has(id)).map((visit) => [visit.id, visit]));
    for (const visit of await Promise.all([...changed].map((id) => this.#read(id)))) if (visit !== null) known.set(visit.id, visit);
    return order.flatMap((id) => known.get(id) ?? []);
  }

  /** `null` for one that is no longer there for this person. */
  async #read(id: string): Promise<Visit | null> {
    try {
      return await this.api.visit(id, true);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return null;
      throw error;
    }
  }
}
