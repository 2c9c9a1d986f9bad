import { newIdempotencyKey, type Credential, type CredentialKind, type NewCredential, type Role } from "@medmesh/client";
import { Button, Card, Confirm, CredentialLine, Empty, errorText, Loading, Notice, SelectField, TextField, useAccount, useAttempt, useI18n, useResource } from "@medmesh/ui";
import { useRef, useState, type FormEvent } from "react";

const KINDS: readonly CredentialKind[] = ["license", "npi", "dea"];
/** Roles that a licence lets its owner act in. */
const PROFESSIONS: readonly Role[] = ["clinician", "nurse", "pharmacist"];

/** What one stated about oneself, and stating more. */
export function Credentials() {
  const { t, format } = useI18n();
  const { api, session, take } = useAccount();
  const mine = useResource("credentials", () => api.credentialMine());
  const [withdrawing, setWithdrawing] = useState<Credential | null>(null);
  const [stated, setStated] = useState(false);
  const awaiting = session.person.awaiting_credentials ?? [];
  return (
    <>
      <header className="page-head">
        <h1>{t.care.credentials.title}</h1>
        <p className="lead">{t.care.credentials.mineLead}</p>
      </header>
      {awaiting.length > 0 && <Notice tone="warning" testId="credential-awaiting">{t.care.credentials.awaiting(format.list(awaiting.map((role) => t.admin.role[role])))}</Notice>}
      {stated && <Notice tone="good" testId="credential-stated">{t.care.credentials.submitted}</Notice>}
      {mine.error !== null && <Notice tone="error">{errorText(mine.error, t)}</Notice>}
      {mine.loading && <Loading />}
      {mine.data?.length === 0 && <Card><Empty icon="shield" title={t.care.credentials.none} /></Card>}
      {mine.data !== null && mine.data.length > 0 && (
        <Card>
          <ul className="lines">
            {mine.data.map((credential) => (
              <CredentialLine key={credential.id} credential={credential}>
                {(credential.status === "pending" || credential.status === "verified") && <Button onClick={() => setWithdrawing(credential)} data-testid="credential-withdraw">{t.care.credentials.withdraw}</Button>}
              </CredentialLine>
            ))}
          </ul>
        </Card>
      )}
      <State onStated={() => { setStated(true); void mine.reload(); }} />
      {withdrawing !== null && (
        <Confirm title={t.care.credentials.withdrawQuestion} submit={t.care.credentials.withdraw} onClose={() => setWithdrawing(null)} onConfirm={async () => {
          await api.credentialWithdraw(withdrawing);
          setWithdrawing(null);
          take(await api.session());
          await mine.reload();
        }}>{t.care.credentials.withdrawHint}</Confirm>
      )}
    </>
  );
}

function State({ onStated }: { readonly onStated: () => void }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const [kind, setKind] = useState<CredentialKind>("license");
  const [form, setForm] = useState({ profession: "clinician", state: "", number: "", expires_on: "" });
  const { busy, error, attempt } = useAttempt();
  const key = useRef(newIdempotencyKey());
  const set = (field: keyof typeof form) => (event: { target: { value: string } }) => {
    key.current = newIdempotencyKey();
    setForm({ ...form, [field]: event.target.value });
  };
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const state = form.state.trim().toUpperCase();
    const credential: NewCredential = kind === "npi" ? { kind, number: form.number } : {
      kind, number: form.number, state, expires_on: form.expires_on, ...(kind === "license" ? { profession: form.profession as Role } : {}),
    };
    if (!(await attempt(async () => { await api.credentialSubmit(credential, key.current); }))) return;
    key.current = newIdempotencyKey();
    setForm({ ...form, number: "" });
    onStated();
  };
  const here = { unprocessable: t.care.credentials.refused, state_conflict: t.care.credentials.known, invalid_request: t.care.credentials.refused };
  return (
    <Card>
      <form className="form form-narrow" onSubmit={(event) => void submit(event)}>
        <SelectField label={t.care.credentials.kindLabel} value={kind} onChange={(event) => { key.current = newIdempotencyKey(); setKind(event.target.value as CredentialKind); }} data-testid="credential-kind">
          {KINDS.map((known) => <option key={known} value={known}>{t.care.credentials.kind[known]}</option>)}
        </SelectField>
        {kind === "license" && (
          <SelectField label={t.care.credentials.profession} value={form.profession} onChange={set("profession")} data-testid="credential-profession">
            {PROFESSIONS.map((role) => <option key={role} value={role}>{t.admin.role[role]}</option>)}
          </SelectField>
        )}
        <TextField label={t.care.credentials.number} required maxLength={40} autoComplete="off" spellCheck={false} value={form.number} onChange={set("number")} data-testid="credential-number" />
        {kind !== "npi" && <TextField label={t.care.credentials.state} hint={t.care.credentials.stateHint} required maxLength={8} autoComplete="off" value={form.state} onChange={set("state")} data-testid="credential-state" />}
        {kind !== "npi" && <TextField label={t.care.credentials.expires} type="date" required value={form.expires_on} onChange={set("expires_on")} data-testid="credential-expires" />}
        {error !== null && <Notice tone="error" testId="credential-error">{errorText(error, t, here)}</Notice>}
        <div className="row"><Button type="submit" tone="primary" busy={busy} data-testid="credential-submit">{t.care.credentials.submit}</Button></div>
      </form>
    </Card>
  );
}
