import type { ClinicApi } from "@medmesh/client";
import { useState, type FormEvent } from "react";
import { Button, Notice, TextField } from "../components/basics.tsx";
import { useTitle } from "../components/Shell.tsx";
import { useAttempt } from "../hooks/attempt.ts";
import { errorText } from "../hooks/errors.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN } from "./SetPassword.tsx";
import { SignInFrame } from "./SignInFrame.tsx";

/** Somebody wants to become a patient: their mailbox is asked first. The answer is the same for every address. */
export function SignUp({ api, clinicId, onDone }: { readonly api: ClinicApi; readonly clinicId: string; readonly onDone: () => void }) {
  const { t, language } = useI18n();
  const [email, setEmail] = useState("");
  const [asked, setAsked] = useState(false);
  const { busy, error, attempt } = useAttempt();
  useTitle(t.account.signUp.title);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (await attempt(() => api.registrationRequest(clinicId, email.trim(), language))) setAsked(true);
  };
  return (
    <SignInFrame>
      <form className="sign-in-form" onSubmit={(event) => void submit(event)} data-testid="sign-up">
        <div>
          <h1>{t.account.signUp.title}</h1>
          <p className="lead">{t.account.signUp.lead}</p>
        </div>
        {error !== null && <Notice tone="error" testId="sign-up-error">{errorText(error, t)}</Notice>}
        {asked ? <Notice tone="good" testId="sign-up-asked">{t.account.signUp.asked}</Notice> : (
          <>
            <TextField label={t.signIn.email} type="email" autoComplete="email" required autoFocus value={email} onChange={(event) => setEmail(event.target.value)} data-testid="sign-up-email" />
            <Button type="submit" tone="primary" large busy={busy} data-testid="sign-up-submit">{t.account.signUp.submit}</Button>
          </>
        )}
        <Button tone="quiet" onClick={onDone} data-testid="sign-up-sign-in">{t.signIn.submit}</Button>
      </form>
    </SignInFrame>
  );
}

/** The mailbox is proved: a name and a password complete the registration. */
export function Register({ api, token, onDone }: { readonly api: ClinicApi; readonly token: string; readonly onDone: () => void }) {
  const { t } = useI18n();
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [done, setDone] = useState(false);
  const { busy, error, attempt } = useAttempt();
  useTitle(t.account.signUp.completeTitle);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (await attempt(() => api.registrationComplete(token, name.trim(), password))) setDone(true);
  };
  return (
    <SignInFrame>
      <form className="sign-in-form" onSubmit={(event) => void submit(event)} data-testid="register">
        <div>
          <h1>{t.account.signUp.completeTitle}</h1>
          <p className="lead">{t.account.signUp.completeLead}</p>
        </div>
        {error !== null && <Notice tone="error" testId="register-error">{errorText(error, t, { unprocessable: t.setPassword.guessable })}</Notice>}
        {done ? <Notice tone="good" testId="register-done">{t.account.signUp.done}</Notice> : (
          <>
            <TextField label={t.account.signUp.name} autoComplete="name" required autoFocus maxLength={120} value={name} onChange={(event) => setName(event.target.value)} data-testid="register-name" />
            <TextField
              label={t.signIn.password} hint={t.setPassword.hint} type="password" autoComplete="new-password" required minLength={PASSWORD_CHARS_MIN} maxLength={PASSWORD_CHARS_MAX}
              value={password} onChange={(event) => setPassword(event.target.value)} data-testid="register-password"
            />
            <Button type="submit" tone="primary" large busy={busy} data-testid="register-submit">{t.account.signUp.complete}</Button>
          </>
        )}
        <Button tone={done ? "primary" : "quiet"} large={done} onClick={onDone} data-testid="register-sign-in">{t.signIn.submit}</Button>
      </form>
    </SignInFrame>
  );
}
