import { createContext, useCallback, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import type { Catalogue } from "./en.ts";
import { CATALOGUES, chooseLanguage, formatsFor, type Formats, type Language, storedLanguage, storeLanguage } from "./language.ts";

export interface I18n {
  readonly language: Language;
  readonly t: Catalogue;
  readonly format: Formats;
  /** `keep` remembers a person's own choice; without it the choice is only a better guess. */
  setLanguage(language: Language, keep: boolean): void;
}

const Context = createContext<I18n | null>(null);

export function I18nProvider({ children }: { readonly children: ReactNode }) {
  const [language, set] = useState<Language>(() => chooseLanguage([storedLanguage(), ...navigator.languages]));
  const setLanguage = useCallback((next: Language, keep: boolean) => {
    if (keep) storeLanguage(next);
    else if (storedLanguage() !== null) return;
    set(next);
  }, []);
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  const value = useMemo(() => ({ language, t: CATALOGUES[language], format: formatsFor(language), setLanguage }), [language, setLanguage]);
  return <Context value={value}>{children}</Context>;
}

export function useI18n(): I18n {
  const value = useContext(Context);
  if (value === null) throw new Error("useI18n outside of I18nProvider");
  return value;
}
