import { ApiError, type ClinicApi, type Session } from "@medmesh/client";
import { useState, type FormEvent } from "react";
import { Button, Notice, TextField } from "../components/basics.tsx";
import { Icon, Mark } from "../components/Icon.tsx";
import { LanguageSwitch, useTitle } from "../components/Shell.tsx";
import { errorText } from "../hooks/errors.ts";
import { useI18n } from "../i18n/I18n.tsx";

interface Props {
  readonly portal: "patient" | "clinician" | "admin";
  readonly api: ClinicApi;
  readonly onSession: (session: Session) => void;
  readonly refused: boolean;
  readonly ended: boolean;
}

export function SignIn({ portal, api, onSession, refused, ended }: Props) {
  const { t } = useI18n();
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [visible, setVisible] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  useTitle(t.signIn[`${portal}Title`]);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      onSession(await api.login(email.trim(), password));
    } catch (cause) {
      setError(cause);
    } finally {
      setBusy(false);
    }
  };

  const message = error === null ? null
    : error instanceof ApiError && error.status === 429 ? t.errors.rate_limited : errorText(error, t);
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
        <form className="sign-in-form" onSubmit={(event) => void submit(event)} data-testid="sign-in">
          <div>
            <h1>{t.signIn[`${portal}Title`]}</h1>
            <p className="lead">{t.signIn[`${portal}Lead`]}</p>
          </div>
          {ended && <Notice>{t.signIn.ended}</Notice>}
          {refused && error === null && <Notice tone="error">{t.signIn.wrongPortal}</Notice>}
          {message !== null && <Notice tone="error" testId="sign-in-error">{message}</Notice>}
          <TextField
            label={t.signIn.email} type="email" autoComplete="username" required autoFocus
            value={email} onChange={(event) => setEmail(event.target.value)} data-testid="sign-in-email"
          />
          <TextField
            label={t.signIn.password} type={visible ? "text" : "password"} autoComplete="current-password" required
            value={password} onChange={(event) => setPassword(event.target.value)} data-testid="sign-in-password"
            trailing={
              <button
                type="button" className="icon-button" aria-pressed={visible} onClick={() => setVisible(!visible)}
                aria-label={visible ? t.signIn.hidePassword : t.signIn.showPassword}
              >
                <Icon name="eye" />
              </button>
            }
          />
          <Button type="submit" tone="primary" large busy={busy} data-testid="sign-in-submit">{busy ? t.signIn.busy : t.signIn.submit}</Button>
        </form>
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
