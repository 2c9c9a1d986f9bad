/** Plural forms by CLDR category; every message with a number goes through here. */
const rules = new Map<string, Intl.PluralRules>();

export function plural(language: string, n: number, forms: { one: string; other: string } & Partial<Record<Intl.LDMLPluralRule, string>>): string {
  let rule = rules.get(language);
  if (rule === undefined) {
    rule = new Intl.PluralRules(language);
    rules.set(language, rule);
  }
  return forms[rule.select(n)] ?? forms.other;
}
