import type { ClinicApi, Portal } from "@medmesh/client";
import { useState, type FormEvent } from "react";
import { Button, Notice, TextField } from "../components/basics.tsx";
import { useTitle } from "../components/Shell.tsx";
import { errorText } from "../hooks/errors.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { SignInFrame } from "./SignInFrame.tsx";

/** Shorter ones are refused by the service too (NIST SP 800-63B-4). */
export const PASSWORD_CHARS_MIN = 15;
export const PASSWORD_CHARS_MAX = 128;

/** Choosing a password, by invitation or because it was forgotten. */
export function SetPassword({ api, portal, token, onDone }: { readonly api: ClinicApi; readonly portal: Portal; readonly token: string; readonly onDone: () => void }) {
  const { t } = useI18n();
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [done, setDone] = useState(false);
  const [error, setError] = useState<unknown>(null);
  useTitle(t.setPassword.title);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await api.linkRedeem(token, password);
      setDone(true);
    } catch (cause) {
      setError(cause);
    } finally {
      setBusy(false);
    }
  };
  const outside = async () => {
    setBusy(true);
    setError(null);
    try {
      location.assign(await api.oidc.accept(token, portal));
    } catch (cause) {
      setError(cause);
      setBusy(false);
    }
  };
  return (
    <SignInFrame>
      <form className="sign-in-form" onSubmit={(event) => void submit(event)} data-testid="set-password">
        <div>
          <h1>{t.setPassword.title}</h1>
          <p className="lead">{t.setPassword.lead}</p>
        </div>
        {error !== null && <Notice tone="error" testId="set-password-error">{errorText(error, t, { unprocessable: t.setPassword.guessable, not_found: t.account.outside.none })}</Notice>}
        {done ? <Notice tone="good" testId="set-password-done">{t.setPassword.done}</Notice> : (
          <TextField
            label={t.setPassword.password} hint={t.setPassword.hint} type="password" autoComplete="new-password" required autoFocus
            minLength={PASSWORD_CHARS_MIN} maxLength={PASSWORD_CHARS_MAX} value={password} onChange={(event) => setPassword(event.target.value)} data-testid="set-password-new"
          />
        )}
        {!done && <Button type="submit" tone="primary" large busy={busy} data-testid="set-password-submit">{t.setPassword.submit}</Button>}
        {!done && <Button large busy={busy} onClick={() => void outside()} data-testid="set-password-outside">{t.account.outside.accept}</Button>}
        <Button tone={done ? "primary" : "quiet"} large={done} onClick={onDone} data-testid="set-password-sign-in">{t.signIn.submit}</Button>
      </form>
    </SignInFrame>
  );
}
