/** Wall-clock time in the clinic's zone ↔ instants. */

const DAY_MS = 86_400_000;

interface Wall {
  /** `YYYY-MM-DD` */
  readonly date: string;
  /** `HH:MM`, 24 hours */
  readonly time: string;
}

/** What the clock on the clinic's wall shows at an instant. */
export function wallTime(instant: Date, zone: string): Wall {
  const parts = new Intl.DateTimeFormat("en-CA", {
    timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
  }).formatToParts(instant);
  const part = (type: string) => parts.find((candidate) => candidate.type === type)?.value ?? "";
  return { date: `${part("year")}-${part("month")}-${part("day")}`, time: `${part("hour")}:${part("minute")}` };
}

/**
 * The instant at which the clinic's wall shows `wall`. A time that the clocks skip becomes the same distance after the
 * skip; one that happens twice is the first.
 */
export function instantAt(wall: Wall, zone: string): Date {
  const wanted = Date.parse(`${wall.date}T${wall.time}:00Z`);
  const offset = (at: number) => {
    const shown = wallTime(new Date(at), zone);
    return Date.parse(`${shown.date}T${shown.time}:00Z`) - Math.floor(at / 60_000) * 60_000;
  };
  const before = wanted - offset(wanted - DAY_MS);
  const after = wanted - offset(wanted + DAY_MS);
  if (before === after) return new Date(before);
  const shows = (at: number) => at + offset(at) === wanted;
  if (shows(before)) return new Date(before);
  return new Date(shows(after) ? after : before);
}

/** The Monday on or before a date. */
export function mondayOf(date: string): string {
  const day = new Date(`${date}T12:00:00Z`);
  return addDays(date, -((day.getUTCDay() + 6) % 7));
}

export function addDays(date: string, days: number): string {
  return new Date(Date.parse(`${date}T12:00:00Z`) + days * DAY_MS).toISOString().slice(0, 10);
}
