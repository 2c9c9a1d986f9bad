import { hasPasskeys, passkeyGet, type ClinicApi, type Session } from "@medmesh/client";
import { useState, type FormEvent } from "react";
import { Button, Notice, TextField } from "../components/basics.tsx";
import { useTitle } from "../components/Shell.tsx";
import { errorText } from "../hooks/errors.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { SignInFrame } from "./SignInFrame.tsx";

interface Props {
  readonly api: ClinicApi;
  readonly session: Session;
  readonly onSession: (session: Session) => void;
  readonly onSignOut: () => void;
}

/** The second step of signing in: a code, a passkey, or a code from paper. */
export function SecondStep({ api, session, onSession, onSignOut }: Props) {
  const { t } = useI18n();
  const has = (factor: Session["second_factors"][number]) => session.second_factors.includes(factor);
  const [recovery, setRecovery] = useState(!has("totp") && !(has("passkey") && hasPasskeys()) && has("recovery_code"));
  const [code, setCode] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  useTitle(t.secondStep.title);

  const attempt = async (prove: () => Promise<Session | null>) => {
    setBusy(true);
    setError(null);
    try {
      const proved = await prove();
      if (proved !== null) onSession(proved);
    } catch (cause) {
      setError(cause);
      setCode("");
    } finally {
      setBusy(false);
    }
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void attempt(() => api.mfaVerify({ method: recovery ? "recovery_code" : "totp", code }));
  };
  const passkey = () => attempt(async () => {
    const credential = await passkeyGet(await api.mfaPasskeyOptions());
    return credential === null ? null : api.mfaVerify({ method: "passkey", credential });
  });
  const typed = recovery || has("totp");
  return (
    <SignInFrame>
      <form className="sign-in-form" onSubmit={submit} data-testid="second-step">
        <div>
          <h1>{t.secondStep.title}</h1>
          <p className="lead">{recovery ? t.secondStep.recoveryLead : has("totp") ? t.secondStep.codeLead : t.secondStep.passkeyLead}</p>
        </div>
        {error !== null && <Notice tone="error" testId="second-step-error">{errorText(error, t)}</Notice>}
        {typed && (
          <TextField
            key={recovery ? "recovery" : "code"} label={recovery ? t.secondStep.recoveryCode : t.secondStep.code} required autoFocus
            inputMode={recovery ? "text" : "numeric"} autoComplete={recovery ? "off" : "one-time-code"} spellCheck={false}
            minLength={recovery ? 24 : 6} maxLength={recovery ? 40 : 10}
            value={code} onChange={(event) => setCode(event.target.value)} data-testid="second-step-code"
          />
        )}
        {typed && <Button type="submit" tone="primary" large busy={busy} data-testid="second-step-submit">{t.secondStep.submit}</Button>}
        {has("passkey") && hasPasskeys() && (
          <Button large busy={busy} onClick={() => void passkey()} data-testid="second-step-passkey">{t.secondStep.passkey}</Button>
        )}
        {has("recovery_code") && (
          <Button tone="quiet" onClick={() => { setRecovery(!recovery); setCode(""); setError(null); }} data-testid="second-step-recovery">
            {recovery ? t.secondStep.useCode : t.secondStep.useRecovery}
          </Button>
        )}
        <Button tone="quiet" onClick={onSignOut} data-testid="sign-out">{t.common.signOut}</Button>
      </form>
    </SignInFrame>
  );
}
