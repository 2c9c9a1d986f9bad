import { useEffect, useRef, type ReactNode } from "react";
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

/** Whether a view has been shown already: the first one leaves the focus where the browser puts it. */
let shown = false;

/** Moves the focus to a view that has replaced another, so that keyboards and screen readers go on from its beginning. */
export function useArrival<T extends HTMLElement>(view: string) {
  const element = useRef<T>(null);
  useEffect(() => {
    if (shown) element.current?.focus({ preventScroll: true });
    shown = true;
  }, [view]);
  return element;
}

interface ShellProps {
  readonly title: string;
  /** Names what is shown; another name is another view. */
  readonly view?: string;
  readonly nav?: ReactNode;
  readonly end?: ReactNode;
  readonly children: ReactNode;
}

/** The page around everything but the visit itself. */
export function Shell({ title, view = title, nav, end, children }: ShellProps) {
  const { t } = useI18n();
  const main = useArrival<HTMLElement>(view);
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
      <main ref={main} id="main" className="main" tabIndex={-1}>{children}</main>
    </div>
  );
}

export function useTitle(title: string): void {
  const { t } = useI18n();
  useEffect(() => {
    document.title = `${title} · ${t.brand}`;
  }, [title, t]);
}
