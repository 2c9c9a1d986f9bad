import type { Credential, CredentialStatus } from "@medmesh/client";
import { Button, Card, Confirm, CredentialLine, Dialog, errorText, ListFrame, Notice, SelectField, TextField, useAccount, useAttempt, useI18n, usePages } from "@medmesh/ui";
import { useState, type FormEvent } from "react";

const STATUSES: readonly CredentialStatus[] = ["pending", "verified", "rejected", "withdrawn", "expired"];

/** What people stated about themselves, and the clinic's word on it. */
export function Credentials() {
  const { t } = useI18n();
  const { api } = useAccount();
  const [status, setStatus] = useState<CredentialStatus | "">("pending");
  const [open, setOpen] = useState<{ readonly kind: "verify" | "reject"; readonly credential: Credential } | null>(null);
  const credentials = usePages(`credentials ${status}`, (cursor) => api.credentials({ ...(status === "" ? {} : { status }), ...(cursor === undefined ? {} : { cursor }) }));
  const done = async () => {
    setOpen(null);
    await credentials.reload();
  };
  const named = (credential: Credential) => `${t.care.credentials.kind[credential.kind]} ${credential.number}`;
  return (
    <>
      <header className="page-head">
        <h1>{t.care.credentials.title}</h1>
        <p className="lead">{t.care.credentials.adminLead}</p>
      </header>
      <div className="filters">
        <SelectField label={t.care.credentials.filter} value={status} onChange={(event) => setStatus(event.target.value as CredentialStatus | "")} data-testid="credential-filter">
          <option value="">{t.care.credentials.all}</option>
          {STATUSES.map((known) => <option key={known} value={known}>{t.care.credentials.status[known]}</option>)}
        </SelectField>
      </div>
      <ListFrame pages={credentials} icon="shield" empty={t.care.credentials.none}>
        <Card>
          <ul className="lines">
            {credentials.items.map((credential) => (
              <CredentialLine key={credential.id} credential={credential} showOwner>
                {credential.status === "pending" && <Button tone="primary" onClick={() => setOpen({ kind: "verify", credential })} data-testid="credential-verify">{t.care.credentials.verify}</Button>}
                {(credential.status === "pending" || credential.status === "verified") && <Button onClick={() => setOpen({ kind: "reject", credential })} data-testid="credential-reject">{t.care.credentials.reject}</Button>}
              </CredentialLine>
            ))}
          </ul>
        </Card>
      </ListFrame>
      {open?.kind === "verify" && (
        <Confirm title={t.care.credentials.verifyQuestion(named(open.credential))} submit={t.care.credentials.verify} tone="primary" onClose={() => setOpen(null)} onConfirm={async () => { await api.credentialVerify(open.credential); await done(); }}>
          {t.care.credentials.verifyHint(open.credential.person.display_name)}
        </Confirm>
      )}
      {open?.kind === "reject" && <Reject credential={open.credential} onClose={() => setOpen(null)} onDone={() => void done()} />}
    </>
  );
}

function Reject({ credential, onClose, onDone }: { readonly credential: Credential; readonly onClose: () => void; readonly onDone: () => void }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const [reason, setReason] = useState("");
  const { busy, error, attempt } = useAttempt();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void attempt(async () => { await api.credentialReject(credential, reason.trim()); onDone(); });
  };
  return (
    <Dialog title={t.care.credentials.rejectQuestion} onClose={onClose} testId="reject-dialog">
      <form className="form" onSubmit={submit}>
        <TextField label={t.care.credentials.rejectReason} required maxLength={500} autoComplete="off" value={reason} onChange={(event) => setReason(event.target.value)} data-testid="reject-reason" />
        {error !== null && <Notice tone="error" testId="reject-error">{errorText(error, t)}</Notice>}
        <div className="row row-end"><Button onClick={onClose}>{t.common.cancel}</Button><Button type="submit" tone="danger" busy={busy} data-testid="reject-submit">{t.care.credentials.reject}</Button></div>
      </form>
    </Dialog>
  );
}
