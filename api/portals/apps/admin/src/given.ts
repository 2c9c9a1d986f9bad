/** How far back an account of disclosures goes, years (45 CFR 164.528(a)(3)). */
const ACCOUNTED_YEARS = 6;

/** The first day (`YYYY-MM-DD`) that an account of `today` shows whole. The 29th of February begins in March where there is none. */
export function earliestDay(today: string): string {
  const [year = 0, month = 1, day = 1] = today.split("-").map(Number);
  return new Date(Date.UTC(year - ACCOUNTED_YEARS, month - 1, day)).toISOString().slice(0, 10);
}
