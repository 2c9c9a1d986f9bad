/** Which language, and how dates and numbers look in it. */
import { en, type Catalogue } from "./en.ts";
import { es } from "./es.ts";
import { fr } from "./fr.ts";

export const LANGUAGES = ["en", "es", "fr"] as const;
export type Language = (typeof LANGUAGES)[number];

export const CATALOGUES: Record<Language, Catalogue> = { en, es, fr };
export const LANGUAGE_NAMES: Record<Language, string> = { en: "English", es: "Español", fr: "Français" };

const STORED_AS = "medmesh.language";

/** The first of the wanted tags that we speak: `fr-CA` → `fr`. */
export function chooseLanguage(wanted: readonly (string | null | undefined)[]): Language {
  for (const tag of wanted) {
    const primary = tag?.toLowerCase().split("-")[0];
    const known = LANGUAGES.find((language) => language === primary);
    if (known !== undefined) return known;
  }
  return "en";
}

export function storedLanguage(): string | null {
  try {
    return localStorage.getItem(STORED_AS);
  } catch {
    return null;
  }
}

export function storeLanguage(language: Language): void {
  try {
    localStorage.setItem(STORED_AS, language);
  } catch {
    // Storage is off: the choice lasts as long as the page.
  }
}

export interface Formats {
  /** "9:30 AM" */
  time(instant: string | number | Date, zone?: string): string;
  /** "Monday, November 23" */
  day(instant: string | number | Date, zone?: string): string;
  /** "Nov 23, 2026" */
  date(instant: string | number | Date, zone?: string): string;
  /** "Mon, Nov 23, 9:30 AM" */
  moment(instant: string | number | Date, zone?: string): string;
  /** "Nov 23, 2026, 9:30:05 AM" */
  dateTime(instant: string | number | Date, zone?: string): string;
  number(value: number, digits?: number): string;
  list(items: readonly string[]): string;
  timeRange(from: string, to: string, zone?: string): string;
}

export function formatsFor(language: Language): Formats {
  const date = (options: Intl.DateTimeFormatOptions, zone?: string) =>
    new Intl.DateTimeFormat(language, zone === undefined ? options : { ...options, timeZone: zone });
  return {
    time: (instant, zone) => date({ hour: "numeric", minute: "2-digit" }, zone).format(new Date(instant)),
    day: (instant, zone) => date({ weekday: "long", day: "numeric", month: "long" }, zone).format(new Date(instant)),
    date: (instant, zone) => date({ day: "numeric", month: "short", year: "numeric" }, zone).format(new Date(instant)),
    moment: (instant, zone) =>
      date({ weekday: "short", day: "numeric", month: "short", hour: "numeric", minute: "2-digit" }, zone).format(new Date(instant)),
    dateTime: (instant, zone) =>
      date({ day: "numeric", month: "short", year: "numeric", hour: "numeric", minute: "2-digit", second: "2-digit" }, zone).format(new Date(instant)),
    number: (value, digits = 0) => new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value),
    list: (items) => new Intl.ListFormat(language, { type: "conjunction" }).format(items),
    timeRange: (from, to, zone) => date({ hour: "numeric", minute: "2-digit" }, zone).formatRange(new Date(from), new Date(to)),
  };
}
