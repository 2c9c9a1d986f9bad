import { hasPasskeys, passkeyGet, type ClinicApi, type FactorKind, type Proof, type Session } from "@medmesh/client";
import { useState, type FormEvent, type ReactNode } from "react";
import { Button, Notice, TextField } from "../components/basics.tsx";
import { useAttempt } from "../hooks/attempt.ts";
import { errorText } from "../hooks/errors.ts";
import { useI18n } from "../i18n/I18n.tsx";

/** The ways somebody can be asked in: what they type first, and what else there is. */
export function waysOf(session: Session): { readonly typed: "totp" | "recovery_code" | "password" | null; readonly passkey: boolean; readonly recovery: boolean } {
  const has = (factor: FactorKind) => session.second_factors.includes(factor);
  const passkey = has("passkey") && hasPasskeys();
  const typed = has("totp") ? "totp" : passkey ? null : has("recovery_code") ? "recovery_code" : session.second_factors.length === 0 ? "password" : null;
  return { typed, passkey, recovery: has("recovery_code") };
}

interface Props {
  readonly api: ClinicApi;
  readonly session: Session;
  /** Prefix of the test ids. */
  readonly name: "second-step" | "step-up";
  readonly head: (typed: Proof["method"] | null) => ReactNode;
  prove(proof: Proof): Promise<void>;
  readonly children: ReactNode;
}

/** A code, a passkey, a code from paper; a password where there is nothing else. */
export function ProofForm({ api, session, name, head, prove, children }: Props) {
  const { t } = useI18n();
  const ways = waysOf(session);
  const [recovery, setRecovery] = useState(false);
  const [text, setText] = useState("");
  const { busy, error, attempt, clear } = useAttempt();
  const typed = recovery ? "recovery_code" : ways.typed;

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (typed === null) return;
    const proof: Proof = typed === "password" ? { method: typed, password: text } : { method: typed, code: text };
    if (!(await attempt(() => prove(proof)))) setText("");
  };
  const passkey = () => attempt(async () => {
    const credential = await passkeyGet(await api.account.mfaPasskeyOptions());
    if (credential !== null) await prove({ method: "passkey", credential });
  });
  const labels = { totp: t.secondStep.code, recovery_code: t.secondStep.recoveryCode, password: t.signIn.password };
  const shapes = {
    totp: { inputMode: "numeric", autoComplete: "one-time-code", minLength: 6, maxLength: 10 },
    recovery_code: { inputMode: "text", autoComplete: "off", minLength: 24, maxLength: 40 },
    password: { type: "password", autoComplete: "current-password", maxLength: 128 },
  } as const;
  return (
    <form className="form" onSubmit={(event) => void submit(event)}>
      {head(typed)}
      {error !== null && <Notice tone="error" testId={`${name}-error`}>{errorText(error, t)}</Notice>}
      {typed !== null && (
        <TextField
          key={typed} label={labels[typed]} required autoFocus spellCheck={false} {...shapes[typed]}
          value={text} onChange={(event) => setText(event.target.value)} data-testid={`${name}-code`}
        />
      )}
      {typed !== null && <Button type="submit" tone="primary" large busy={busy} data-testid={`${name}-submit`}>{t.secondStep.submit}</Button>}
      {ways.passkey && <Button tone={typed === null ? "primary" : "plain"} large busy={busy} onClick={() => void passkey()} data-testid={`${name}-passkey`}>{t.secondStep.passkey}</Button>}
      {ways.recovery && ways.typed !== "recovery_code" && (
        <Button tone="quiet" onClick={() => { setRecovery(!recovery); setText(""); clear(); }} data-testid={`${name}-recovery`}>
          {recovery ? t.secondStep.useCode : t.secondStep.useRecovery}
        </Button>
      )}
      {children}
    </form>
  );
}
