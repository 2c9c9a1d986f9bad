import { hasPasskeys, passkeyCreate, type ClinicApi, type Enrolment, type Session, type TotpSetup } from "@medmesh/client";
import { useState } from "react";
import { Button, Notice } from "../components/basics.tsx";
import { useTitle } from "../components/Shell.tsx";
import { errorText } from "../hooks/errors.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { Codes } from "./Codes.tsx";
import { ScanApp } from "./ScanApp.tsx";
import { SignInFrame } from "./SignInFrame.tsx";

interface Props {
  readonly api: ClinicApi;
  readonly onSession: (session: Session) => void;
  readonly onSignOut: () => void;
}

type Step = { readonly kind: "choose" } | { readonly kind: "app"; readonly setup: TotpSetup } | { readonly kind: "codes"; readonly enrolment: Enrolment };

/** Setting up the second factor that staff must have: an app or a passkey, then the codes for the day the device is lost. */
export function Enrol({ api, onSession, onSignOut }: Props) {
  const { t } = useI18n();
  const [step, setStep] = useState<Step>({ kind: "choose" });
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  useTitle(t.enrol.title);

  const attempt = async (work: () => Promise<Step | null>) => {
    setBusy(true);
    setError(null);
    try {
      const next = await work();
      if (next !== null) setStep(next);
    } catch (cause) {
      setError(cause);
    } finally {
      setBusy(false);
    }
  };
  const app = () => attempt(async () => ({ kind: "app", setup: await api.account.totpBegin() }));
  const passkey = () => attempt(async () => {
    const credential = await passkeyCreate(await api.account.passkeyBegin());
    return credential === null ? null : { kind: "codes", enrolment: await api.account.passkeyAdd(credential) };
  });
  const confirm = (code: string) => attempt(async () => ({ kind: "codes", enrolment: await api.account.totpConfirm(code) }));
  const failure = error !== null && <Notice tone="error" testId="enrol-error">{errorText(error, t)}</Notice>;
  const leave = <Button tone="quiet" onClick={onSignOut} data-testid="sign-out">{t.common.signOut}</Button>;

  if (step.kind === "codes") return <SignInFrame><FirstCodes enrolment={step.enrolment} onDone={onSession} /></SignInFrame>;
  if (step.kind === "app") {
    return (
      <SignInFrame>
        <div className="sign-in-form" data-testid="enrol-scan">
          <div>
            <h1>{t.enrol.scanTitle}</h1>
            <p className="lead">{t.enrol.scanLead}</p>
          </div>
          <ScanApp setup={step.setup} busy={busy} onCode={(code) => void confirm(code)} failure={failure} leave={leave} />
        </div>
      </SignInFrame>
    );
  }
  return (
    <SignInFrame>
      <div className="sign-in-form" data-testid="enrol">
        <div>
          <h1>{t.enrol.title}</h1>
          <p className="lead">{t.enrol.lead}</p>
        </div>
        {failure}
        {hasPasskeys() && <Button tone="primary" large busy={busy} onClick={() => void passkey()} data-testid="enrol-passkey">{t.enrol.passkey}</Button>}
        {hasPasskeys() && <p className="field-hint">{t.enrol.passkeyHint}</p>}
        <Button large busy={busy} onClick={() => void app()} data-testid="enrol-app">{t.enrol.app}</Button>
        <p className="field-hint">{t.enrol.appHint}</p>
        {leave}
      </div>
    </SignInFrame>
  );
}

/** Recovery codes come with the first factor. */
function FirstCodes({ enrolment, onDone }: { readonly enrolment: Enrolment; readonly onDone: (session: Session) => void }) {
  const { t } = useI18n();
  return (
    <div className="sign-in-form" data-testid="enrol-codes">
      <div>
        <h1>{t.enrol.codesTitle}</h1>
        <p className="lead">{t.enrol.codesLead}</p>
      </div>
      <Codes codes={enrolment.recovery_codes ?? []} onDone={() => onDone(enrolment.session)} />
    </div>
  );
}
