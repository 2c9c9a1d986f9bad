import { useState, type FormEvent } from "react";
import { Button, Card, Notice, TextField } from "../components/basics.tsx";
import { useAttempt } from "../hooks/attempt.ts";
import { errorText } from "../hooks/errors.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { useAccount } from "./Gate.tsx";
import { PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN } from "./SetPassword.tsx";

export function PasswordChange() {
  const { t } = useI18n();
  const { api } = useAccount();
  const [password, setPassword] = useState("");
  const [done, setDone] = useState(false);
  const { busy, error, attempt } = useAttempt();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setDone(false);
    if (!(await attempt(() => api.account.passwordChange(password)))) return;
    setPassword("");
    setDone(true);
  };
  return (
    <Card data-testid="password">
      <section className="section" aria-label={t.account.password}>
        <h2>{t.account.password}</h2>
        <p className="muted">{t.account.passwordChangeLead}</p>
        {done && <Notice tone="good" testId="password-done">{t.account.passwordChanged}</Notice>}
        {error !== null && <Notice tone="error" testId="password-error">{errorText(error, t, { unprocessable: t.setPassword.guessable })}</Notice>}
        <form className="form form-narrow" onSubmit={(event) => void submit(event)}>
          <TextField
            label={t.setPassword.password} hint={t.setPassword.hint} type="password" autoComplete="new-password" required
            minLength={PASSWORD_CHARS_MIN} maxLength={PASSWORD_CHARS_MAX} value={password} onChange={(event) => setPassword(event.target.value)} data-testid="password-new"
          />
          <div className="row"><Button type="submit" tone="primary" busy={busy} data-testid="password-submit">{t.account.passwordSubmit}</Button></div>
        </form>
      </section>
    </Card>
  );
}
