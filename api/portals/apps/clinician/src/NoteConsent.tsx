import { CONSENT_PURPOSES, DOCUMENT_NAME, newIdempotencyKey, SEGMENTS, sha256Of, type ConsentDecision, type ConsentPurpose, type Segment } from "@medmesh/client";
import { Button, Dialog, errorText, Notice, SelectField, TextField, useAccount, useAttempt, useI18n } from "@medmesh/ui";
import { useRef, useState, type FormEvent } from "react";

/** Largest scan a digest is made of here: a tablet holds it in memory whole. */
const SCAN_BYTES_MAX = 64 * 1024 * 1024;
const WAYS = ["paper", "witness"] as const;
type Way = (typeof WAYS)[number];

interface Scan {
  readonly name: string;
  readonly sha256: string;
}

interface Props {
  readonly patientId: string;
  readonly onClose: () => void;
  readonly onNoted: () => void;
}

/** A consent that was not signed on a screen. Of a paper the digest of its scan is kept: the scan stays where the clinic keeps papers. */
export function NoteConsent({ patientId, onClose, onNoted }: Props) {
  const { t } = useI18n();
  const { api } = useAccount();
  const [form, setForm] = useState({ purpose: "treatment" as ConsentPurpose, segment: "general" as Segment, decision: "granted" as ConsentDecision, way: "paper" as Way, document: "" });
  const [scan, setScan] = useState<Scan | null>(null);
  const [scanError, setScanError] = useState<string | null>(null);
  const { busy, error, attempt } = useAttempt();
  const key = useRef(newIdempotencyKey());
  const set = <K extends keyof typeof form>(field: K, value: (typeof form)[K]) => {
    key.current = newIdempotencyKey();
    setForm({ ...form, [field]: value });
  };
  const take = async (file: File | undefined) => {
    key.current = newIdempotencyKey();
    setScan(null);
    setScanError(null);
    if (file === undefined) return;
    if (file.size === 0 || file.size > SCAN_BYTES_MAX) return setScanError(t.noted.scanSize);
    try {
      setScan({ name: file.name, sha256: await sha256Of(file) });
    } catch {
      setScanError(t.noted.scanUnreadable);
    }
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const { way, ...what } = form;
    if (way === "paper" && scan === null) return setScanError((before) => before ?? t.noted.scanMissing);
    const signature = way === "paper" && scan !== null ? { signed_by: "paper" as const, proof_sha256: scan.sha256 } : { signed_by: "witness" as const };
    void attempt(async () => { await api.care.consentNote(patientId, { ...what, document: what.document.trim(), ...signature }, key.current); onNoted(); });
  };
  return (
    <Dialog title={t.noted.noteConsent} onClose={onClose} testId="consent-note-dialog">
      <form className="form" onSubmit={submit}>
        <SelectField label={t.noted.way} value={form.way} onChange={(event) => set("way", event.target.value as Way)} data-testid="consent-note-way">
          {WAYS.map((way) => <option key={way} value={way}>{t.noted.ways[way]}</option>)}
        </SelectField>
        <SelectField label={t.noted.said} value={form.decision} onChange={(event) => set("decision", event.target.value as ConsentDecision)} data-testid="consent-note-decision">
          {(["granted", "withdrawn"] as const).map((decision) => <option key={decision} value={decision}>{t.noted.decision[decision]}</option>)}
        </SelectField>
        <SelectField label={t.noted.purpose} value={form.purpose} onChange={(event) => set("purpose", event.target.value as ConsentPurpose)} data-testid="consent-note-purpose">
          {CONSENT_PURPOSES.map((purpose) => <option key={purpose} value={purpose}>{t.record.consent.purpose[purpose]}</option>)}
        </SelectField>
        <SelectField label={t.noted.part} value={form.segment} onChange={(event) => set("segment", event.target.value as Segment)} data-testid="consent-note-segment">
          {SEGMENTS.map((segment) => <option key={segment} value={segment}>{segment === "general" ? t.noted.general : t.record.consent.segment[segment]}</option>)}
        </SelectField>
        <TextField label={t.noted.document} hint={t.noted.documentHint} required pattern={DOCUMENT_NAME} maxLength={80} autoComplete="off" value={form.document} onChange={(event) => set("document", event.target.value)} data-testid="consent-note-document" />
        {form.way === "paper" && (
          <TextField label={t.noted.scan} hint={t.noted.scanHint} error={scanError} required type="file" accept="application/pdf,image/*" onChange={(event) => void take(event.target.files?.[0])} data-testid="consent-note-scan" />
        )}
        {form.way === "paper" && scan !== null && <p className="muted digest" role="status" data-testid="consent-note-digest">SHA-256 <code>{scan.sha256}</code></p>}
        {error !== null && <Notice tone="error" testId="consent-note-error">{errorText(error, t)}</Notice>}
        <div className="row row-end">
          <Button onClick={onClose}>{t.common.cancel}</Button>
          <Button type="submit" tone="primary" busy={busy} data-testid="consent-note-submit">{t.noted.note}</Button>
        </div>
      </form>
    </Dialog>
  );
}
