import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { en } from "./en.ts";
import { CATALOGUES, chooseLanguage, formatsFor, LANGUAGES } from "./language.ts";
import { plural } from "./plural.ts";

type Node = string | ((...values: never[]) => string) | { [key: string]: Node };

function* leaves(node: Node, path = ""): Generator<[string, string | ((...values: never[]) => string)]> {
  if (typeof node !== "object") yield [path, node];
  else for (const [key, child] of Object.entries(node)) yield* leaves(child, `${path}.${key}`);
}

/** Words that are the same in several languages. */
const SHARED = new Set(["medmesh", "Chat", "Patient", "Actions", "Participant", "Visible"]);

describe("catalogues", () => {
  it.each(["es", "fr"] as const)("%s says everything in its own words", (language) => {
    const mine = new Map(leaves(CATALOGUES[language] as unknown as Node));
    for (const [path, english] of leaves(en as unknown as Node)) {
      const text = mine.get(path);
      expect(typeof text, path).toBe(typeof english);
      if (typeof text !== "string" || typeof english !== "string") continue;
      expect(text.trim(), path).not.toBe("");
      if (english.length > 12 && !SHARED.has(english)) expect(text, path).not.toBe(english);
    }
  });

  it("have words for whatever can be refused about a record, the audit log or a system", () => {
    const description = JSON.parse(readFileSync(new URL("../../../../../openapi/clinic.json", import.meta.url), "utf8")) as {
      paths: Record<string, Record<string, { operationId: string }>>;
    };
    const aboutARecord = /^\/v1\/(patients\/\{|appointments|visits|care-team|referrals|corrections\/|break-glass\/|audit|clients)/;
    const operations = Object.entries(description.paths).filter(([path]) => aboutARecord.test(path)).flatMap(([, methods]) => Object.values(methods).map((operation) => operation.operationId));
    expect(operations.length).toBeGreaterThan(30);
    for (const language of LANGUAGES) for (const operation of operations) expect(CATALOGUES[language].record.asked[operation], `${language} ${operation}`).toBeTruthy();
  });

  it("count in each language", () => {
    expect(en.visits.waiting(1)).toBe("1 person is waiting");
    expect(CATALOGUES.es.visits.waiting(2)).toBe("2 personas están esperando");
    // French counts zero as singular.
    expect(CATALOGUES.fr.visits.waiting(0)).toBe("0 personne attend");
    expect(plural("es", 1_000_000, { one: "a", other: "b" })).toBe("b");
  });
});

describe("language", () => {
  it("is the first one wanted that we speak", () => {
    expect(chooseLanguage([null, "de-DE", "fr-CA", "en"])).toBe("fr");
    expect(chooseLanguage(["zz"])).toBe("en");
    for (const language of LANGUAGES) expect(chooseLanguage([language])).toBe(language);
  });

  it("formats moments in the wanted zone", () => {
    const format = formatsFor("fr");
    expect(format.time("2026-11-22T09:30:00Z", "Europe/Madrid")).toBe("10:30");
    expect(format.day("2026-11-22T23:30:00Z", "Europe/Madrid")).toBe("lundi 23 novembre");
  });
});
