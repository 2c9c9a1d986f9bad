import type { AuditHead, AuditWitness } from "@medmesh/client";
import { Button, Card, errorText, Loading, Notice, saveFile, TextField, useAccount, useAttempt, useI18n, useResource } from "@medmesh/ui";
import { useState, type FormEvent } from "react";
import { KEPT_BYTES_MAX, keptSize } from "./kept.ts";

/** The newest signed head of the log: to be kept elsewhere, and to be compared with one that was. */
export function LogHead() {
  const { t } = useI18n();
  const { api } = useAccount();
  const head = useResource("head", () => api.audit.head());
  return (
    <Card data-testid="head">
      <section className="section" aria-label={t.audit.head.title}>
        <h2>{t.audit.head.title}</h2>
        <p className="muted">{t.audit.head.lead}</p>
        {head.error !== null && <Notice tone="error" testId="head-error" action={<Button onClick={() => void head.reload()}>{t.common.retry}</Button>}>{errorText(head.error, t)}</Notice>}
        {head.loading && <Loading />}
        {head.data !== null && (
          <>
            <Facts head={head.data} />
            <Keep head={head.data} onNewer={() => void head.reload()} />
            <Compare />
            <How />
          </>
        )}
      </section>
    </Card>
  );
}

function Facts({ head }: { readonly head: AuditHead }) {
  const { t, format } = useI18n();
  const { session } = useAccount();
  const zone = session.clinic.time_zone;
  return (
    <>
      {head.outside_witness?.refused_at && <Notice tone="error" testId="head-refused">{t.audit.head.refused(format.dateTime(head.outside_witness.refused_at, zone))}</Notice>}
      <dl className="facts">
        <div><dt>{t.audit.head.size}</dt><dd data-testid="head-size">{format.number(head.size)}</dd></div>
        <div><dt>{t.audit.head.at}</dt><dd><time dateTime={head.witnessed_at}>{format.dateTime(head.witnessed_at, zone)}</time></dd></div>
        <div><dt>{t.audit.head.root}</dt><dd><code className="secret">{head.root}</code></dd></div>
        <div><dt>{t.audit.head.key}</dt><dd><code className="secret" data-testid="head-key">{head.key}</code><p className="field-hint">{t.audit.head.keyHint}</p></dd></div>
        <div><dt>{t.audit.head.outside}</dt><dd data-testid="head-outside"><Outside witness={head.outside_witness ?? null} zone={zone} /></dd></div>
        {head.notices.length > 0 && <div><dt>{t.audit.head.notices}</dt><dd>{t.audit.head.noticesCount(head.notices.length)}</dd></div>}
      </dl>
    </>
  );
}

function Outside({ witness, zone }: { readonly witness: AuditWitness | null; readonly zone: string }) {
  const { t, format } = useI18n();
  if (witness === null) return <>{t.audit.head.nobody}</>;
  const name = witness.key.split("+")[0] ?? "";
  const { signed } = witness;
  return (
    <>
      {signed ? t.audit.head.signedBy(name, format.number(signed.size), format.dateTime(signed.signed_at, zone)) : t.audit.head.unsigned(name)}
      <p className="field-hint"><code className="secret">{witness.key}</code></p>
    </>
  );
}

function Keep({ head, onNewer }: { readonly head: AuditHead; readonly onNewer: () => void }) {
  const { t } = useI18n();
  const [saved, setSaved] = useState(false);
  const save = () => {
    saveFile(new Blob([`${JSON.stringify(head, null, 2)}\n`], { type: "application/json" }), `head-${head.size}.json`);
    setSaved(true);
  };
  return (
    <div className="row">
      <Button tone="primary" icon="document" onClick={save} data-testid="head-save">{t.audit.head.save}</Button>
      <Button onClick={() => { setSaved(false); onNewer(); }} data-testid="head-reload">{t.audit.head.reload}</Button>
      <span role="status" className="muted" data-testid="head-saved">{saved ? t.audit.head.saved : ""}</span>
    </div>
  );
}

/** Takes away the proof that the log of today begins with the log of an earlier day. */
function Compare() {
  const { t } = useI18n();
  const { api } = useAccount();
  const [kept, setKept] = useState<File | null>(null);
  const [fault, setFault] = useState(false);
  const [saved, setSaved] = useState(false);
  const { busy, error, attempt } = useAttempt();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setSaved(false);
    void attempt(async () => {
      const size = kept === null || kept.size > KEPT_BYTES_MAX ? null : keptSize(await kept.text());
      setFault(size === null);
      if (size === null) return;
      saveFile(await api.audit.consistency(size), `consistency-${size}.json`);
      setSaved(true);
    });
  };
  return (
    <form className="form form-narrow" onSubmit={submit}>
      <TextField
        label={t.audit.head.kept} hint={t.audit.head.keptHint} error={fault ? t.audit.head.keptWrong : null} type="file" accept=".json,.txt,application/json,text/plain" required
        onChange={(event) => { setKept(event.target.files?.[0] ?? null); setFault(false); }} data-testid="head-kept"
      />
      {error !== null && <Notice tone="error" testId="head-compare-error">{errorText(error, t, { audit_head_pending: t.audit.head.shorter })}</Notice>}
      {saved && <Notice tone="good" testId="head-compared">{t.audit.head.compared}</Notice>}
      <div className="row"><Button type="submit" icon="shield" busy={busy} data-testid="head-compare">{t.audit.head.compare}</Button></div>
    </form>
  );
}

function How() {
  const { t } = useI18n();
  return (
    <div>
      <h3>{t.audit.head.how}</h3>
      <ol className="how">
        <li>{t.audit.head.howKey}</li>
        <li>{t.audit.head.howProof} <code className="secret">medmesh audit check proof-….json --key …</code></li>
        <li>{t.audit.head.howHead} <code className="secret">medmesh audit extends head-….json consistency-….json --key …</code></li>
      </ol>
      <p className="muted">{t.audit.head.howOther}</p>
    </div>
  );
}
