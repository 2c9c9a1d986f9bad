import type { ReactNode } from "react";
import { Mark } from "../components/Icon.tsx";
import { LanguageSwitch } from "../components/Shell.tsx";
import { useI18n } from "../i18n/I18n.tsx";

/** What every step of signing in is set in: the mark and the mesh at the side, the language above. */
export function SignInFrame({ children }: { readonly children: ReactNode }) {
  const { t } = useI18n();
  return (
    <div className="sign-in">
      <aside className="sign-in-side">
        <span className="brand brand-light"><Mark size={34} /> {t.brand}</span>
        <MeshArt />
        <div>
          <p className="sign-in-motto">{t.signIn.motto}</p>
          <p className="sign-in-motto-hint">{t.signIn.mottoHint}</p>
        </div>
      </aside>
      <main className="sign-in-main">
        <div className="sign-in-language"><LanguageSwitch /></div>
        {children}
      </main>
    </div>
  );
}

/** Two people, many possible ways, one short one. */
function MeshArt() {
  return (
    <svg className="mesh-art" viewBox="0 0 400 260" aria-hidden="true" focusable="false">
      <g className="mesh-faint">
        <path d="M40 190 120 90 200 150 290 70 360 170M120 90 290 70M40 190 200 150 360 170M120 90 180 30 290 70M200 150 210 230 40 190M210 230 360 170" />
        <circle cx="180" cy="30" r="4" /><circle cx="210" cy="230" r="4" />
      </g>
      <path className="mesh-way" d="M40 190C80 190 90 90 120 90s50 60 80 60 60-80 90-80 40 100 70 100" />
      <circle className="mesh-edge" cx="120" cy="90" r="7" />
      <circle className="mesh-edge" cx="200" cy="150" r="7" />
      <circle className="mesh-edge" cx="290" cy="70" r="7" />
      <circle className="mesh-person" cx="40" cy="190" r="15" />
      <circle className="mesh-person mesh-person-warm" cx="360" cy="170" r="15" />
    </svg>
  );
}
