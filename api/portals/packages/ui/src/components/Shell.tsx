import { useEffect, type ReactNode } from "react";
import { useI18n } from "../i18n/I18n.tsx";
import { LANGUAGE_NAMES, LANGUAGES, type Language } from "../i18n/language.ts";
import { Mark } from "./Icon.tsx";

export function LanguageSwitch() {
  const { language, setLanguage, t } = useI18n();
  return (
    <select
      className="input select language"
      aria-label={t.common.language}
      data-testid="language"
      value={language}
      onChange={(event) => setLanguage(event.target.value as Language, true)}
    >
      {LANGUAGES.map((code) => <option key={code} value={code} lang={code}>{LANGUAGE_NAMES[code]}</option>)}
    </select>
  );
}

/** The page around everything but the visit itself. */
export function Shell({ title, nav, end, children }: { readonly title: string; readonly nav?: ReactNode; readonly end?: ReactNode; readonly children: ReactNode }) {
  const { t } = useI18n();
  useTitle(title);
  return (
    <div className="shell">
      <a className="skip" href="#main">{t.common.skip}</a>
      <header className="top">
        <span className="brand"><Mark /> <span className="brand-word">{t.brand}</span></span>
        {nav}
        <div className="top-end">
          <LanguageSwitch />
          {end}
        </div>
      </header>
      <main id="main" className="main" tabIndex={-1}>{children}</main>
    </div>
  );
}

export function useTitle(title: string): void {
  const { t } = useI18n();
  useEffect(() => {
    document.title = `${title} · ${t.brand}`;
  }, [title, t]);
}
