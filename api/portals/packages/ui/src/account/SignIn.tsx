import { ApiError, hasPasskeys, passkeyGet, type ClinicApi, type Session } from "@medmesh/client";
import { useState, type FormEvent } from "react";
import { Button, Notice, TextField } from "../components/basics.tsx";
import { Icon } from "../components/Icon.tsx";
import { useTitle } from "../components/Shell.tsx";
import { errorText } from "../hooks/errors.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { OutsideSignIn } from "./OutsideSignIn.tsx";
import { refusalText } from "./outside.ts";
import { SignInFrame } from "./SignInFrame.tsx";

interface Props {
  readonly portal: "patient" | "clinician" | "admin";
  readonly api: ClinicApi;
  readonly onSession: (session: Session) => void;
  readonly refused: boolean;
  readonly ended: boolean;
  /** Why an outside sign-in came to nothing. */
  readonly refusal: string | null;
}

export function SignIn({ portal, api, onSession, refused, ended, refusal }: Props) {
  const { t } = useI18n();
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [visible, setVisible] = useState(false);
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);
  const [asked, setAsked] = useState(false);
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

  const withPasskey = async () => {
    setAsking(true);
    setError(null);
    try {
      const credential = await passkeyGet(await api.account.passkeyOptions());
      if (credential !== null) onSession(await api.account.passkeyLogin(credential));
    } catch (cause) {
      setError(cause);
    } finally {
      setAsking(false);
    }
  };

  const forgotten = async () => {
    setAsking(true);
    setError(null);
    try {
      await api.resetRequest(email.trim());
      setAsked(true);
    } catch (cause) {
      setError(cause);
    } finally {
      setAsking(false);
    }
  };

  const message = error === null ? null
    : error instanceof ApiError && error.status === 429 ? t.errors.rate_limited : errorText(error, t);
  return (
    <SignInFrame>
      <form className="sign-in-form" onSubmit={(event) => void submit(event)} data-testid="sign-in">
        <div>
          <h1>{t.signIn[`${portal}Title`]}</h1>
          <p className="lead">{t.signIn[`${portal}Lead`]}</p>
        </div>
        {ended && <Notice>{t.signIn.ended}</Notice>}
        {refusal !== null && error === null && <Notice tone="error" testId="sign-in-refusal">{refusalText(refusal, t)}</Notice>}
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
        {asked && <Notice testId="reset-asked">{t.signIn.resetAsked}</Notice>}
        {email.includes("@") && !asked && (
          <Button tone="quiet" busy={asking} onClick={() => void forgotten()} data-testid="sign-in-forgotten">{t.signIn.forgotten}</Button>
        )}
        {hasPasskeys() && (
          <Button large busy={asking} onClick={() => void withPasskey()} data-testid="sign-in-passkey">{t.signIn.passkey}</Button>
        )}
        <OutsideSignIn api={api} portal={portal} />
      </form>
    </SignInFrame>
  );
}
