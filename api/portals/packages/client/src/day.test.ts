import { beforeEach, describe, expect, it } from "vitest";
import { ApiError, DayOfVisits, type Visit } from "./index.ts";

/** A service that counts what is read of whom. */
class Service {
  readonly visitsOfDay = new Map<string, number>();
  readonly reads: string[] = [];
  looks = 0;
  hidden = new Set<string>();
  down = false;

  visitPulses = async () => {
    this.looks += 1;
    if (this.down) throw new ApiError(503, "unavailable", "");
    return [...this.visitsOfDay].map(([id, pulse]) => ({ id, pulse }));
  };
  visits = async () => {
    this.reads.push(...this.visitsOfDay.keys());
    return [...this.visitsOfDay].map(([id, version]) => visit(id, version));
  };
  visit = async (id: string) => {
    if (this.hidden.has(id)) throw new ApiError(404, "not_found", "");
    this.reads.push(id);
    return visit(id, this.visitsOfDay.get(id) ?? 0);
  };
}

const visit = (id: string, version: number) => ({ id, version }) as Visit;
const shown = (visits: readonly Visit[]) => visits.map(({ id, version }) => `${id}${version}`);

describe("a day of visits", () => {
  let service: Service;
  let day: DayOfVisits;
  beforeEach(() => {
    service = new Service();
    for (const id of ["a", "b", "c"]) service.visitsOfDay.set(id, 1);
    day = new DayOfVisits(service);
  });

  it("is read once however often it is looked at, and then only where it changed", async () => {
    const first = await day.look();
    for (let n = 0; n < 100; n += 1) expect(await day.look()).toBe(first);
    expect(service.reads).toEqual(["a", "b", "c"]);
    expect(service.looks).toBe(101);
    service.visitsOfDay.set("b", 2);
    expect(shown(await day.look())).toEqual(["a1", "b2", "c1"]);
    await day.look();
    expect(service.reads).toEqual(["a", "b", "c", "b"]);
  });

  it("keeps the order of the day when visits come, go, or are no longer one's own to see", async () => {
    await day.look();
    service.visitsOfDay.delete("a");
    expect(shown(await day.look())).toEqual(["b1", "c1"]);
    service.visitsOfDay.clear();
    for (const id of ["d", "b", "c"]) service.visitsOfDay.set(id, 1);
    expect(shown(await day.look())).toEqual(["d1", "b1", "c1"]);
    expect(service.reads).toEqual(["a", "b", "c", "d"]);
    service.visitsOfDay.set("c", 2);
    service.hidden.add("c");
    expect(shown(await day.look())).toEqual(["d1", "b1"]);
    service.visitsOfDay.clear();
    expect(await day.look()).toEqual([]);
  });

  it("reads the list again where nearly everything is new", async () => {
    await day.look();
    for (let n = 0; n < 9; n += 1) service.visitsOfDay.set(`x${n}`, 1);
    expect(await day.look()).toHaveLength(12);
    expect(service.reads).toHaveLength(3 + 12);
  });

  it("misses nothing for a failure, and reads nothing twice for a slow line", async () => {
    await day.look();
    service.visitsOfDay.set("a", 2);
    service.down = true;
    await expect(day.look()).rejects.toMatchObject({ status: 503 });
    service.down = false;
    const [one, two] = await Promise.all([day.look(), day.look()]);
    expect(one).toBe(two);
    expect(shown(one)).toEqual(["a2", "b1", "c1"]);
    expect(service.reads).toEqual(["a", "b", "c", "a"]);
  });
});
