import type { TotpSetup } from "@medmesh/client";
import { useState, type FormEvent, type ReactNode } from "react";
import { Button, TextField } from "../components/basics.tsx";
import { QrCode } from "../components/QrCode.tsx";
import { useI18n } from "../i18n/I18n.tsx";

interface Props {
  readonly setup: TotpSetup;
  readonly busy: boolean;
  readonly onCode: (code: string) => void;
  readonly failure: ReactNode;
  readonly leave: ReactNode;
}

/** A new authenticator app: its secret to scan or to type, and its first code. */
export function ScanApp({ setup, busy, onCode, failure, leave }: Props) {
  const { t } = useI18n();
  const [code, setCode] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onCode(code);
  };
  return (
    <form className="form" onSubmit={submit}>
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
