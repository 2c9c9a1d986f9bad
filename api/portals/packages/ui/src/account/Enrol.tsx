import { hasPasskeys, passkeyCreate, type ClinicApi, type Enrolment, type Session, type TotpSetup } from "@medmesh/client";
import { useState, type FormEvent, type ReactNode } from "react";
import { Button, Check, Notice, TextField } from "../components/basics.tsx";
import { QrCode } from "../components/QrCode.tsx";
import { useTitle } from "../components/Shell.tsx";
import { errorText } from "../hooks/errors.ts";
import { useI18n } from "../i18n/I18n.tsx";
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
  const app = () => attempt(async () => ({ kind: "app", setup: await api.totpBegin() }));
  const passkey = () => attempt(async () => {
    const credential = await passkeyCreate(await api.passkeyBegin());
    return credential === null ? null : { kind: "codes", enrolment: await api.passkeyAdd(credential) };
  });
  const confirm = (code: string) => attempt(async () => ({ kind: "codes", enrolment: await api.totpConfirm(code) }));
  const failure = error !== null && <Notice tone="error" testId="enrol-error">{errorText(error, t)}</Notice>;
  const leave = <Button tone="quiet" onClick={onSignOut} data-testid="sign-out">{t.common.signOut}</Button>;

  if (step.kind === "codes") return <SignInFrame><Codes enrolment={step.enrolment} onDone={onSession} /></SignInFrame>;
  if (step.kind === "app") {
    return <SignInFrame><ScanApp setup={step.setup} busy={busy} onCode={(code) => void confirm(code)} failure={failure} leave={leave} /></SignInFrame>;
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

interface ScanProps {
  readonly setup: TotpSetup;
  readonly busy: boolean;
  readonly onCode: (code: string) => void;
  readonly failure: ReactNode;
  readonly leave: ReactNode;
}

function ScanApp({ setup, busy, onCode, failure, leave }: ScanProps) {
  const { t } = useI18n();
  const [code, setCode] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onCode(code);
  };
  return (
    <form className="sign-in-form" onSubmit={submit} data-testid="enrol-scan">
      <div>
        <h1>{t.enrol.scanTitle}</h1>
        <p className="lead">{t.enrol.scanLead}</p>
      </div>
      <QrCode text={setup.uri} label={t.enrol.qr} />
      <div>
        <p className="field-hint">{t.enrol.secretHint}</p>
        <p><code className="secret" data-testid="enrol-secret">{setup.secret.replaceAll(/(.{4})/g, "$1 ").trim()}</code></p>
      </div>
      {failure}
      <TextField
        label={t.secondStep.code} required inputMode="numeric" autoComplete="one-time-code" minLength={6} maxLength={10}
        value={code} onChange={(event) => setCode(event.target.value)} data-testid="enrol-code"
      />
      <Button type="submit" tone="primary" large busy={busy} data-testid="enrol-submit">{t.enrol.confirm}</Button>
      {leave}
    </form>
  );
}

/** Recovery codes are shown this once; going on wants a yes. */
function Codes({ enrolment, onDone }: { readonly enrolment: Enrolment; readonly onDone: (session: Session) => void }) {
  const { t } = useI18n();
  const [kept, setKept] = useState(false);
  const codes = enrolment.recovery_codes ?? [];
  return (
    <div className="sign-in-form" data-testid="enrol-codes">
      <div>
        <h1>{t.enrol.codesTitle}</h1>
        <p className="lead">{t.enrol.codesLead}</p>
      </div>
      <ol className="codes">
        {codes.map((code) => <li key={code}><code className="secret" data-testid="recovery-code">{code}</code></li>)}
      </ol>
      <Check label={t.enrol.kept} checked={kept} onChange={(event) => setKept(event.target.checked)} data-testid="enrol-kept" />
      <Button tone="primary" large disabled={!kept} onClick={() => onDone(enrolment.session)} data-testid="enrol-done">{t.enrol.done}</Button>
    </div>
  );
}
