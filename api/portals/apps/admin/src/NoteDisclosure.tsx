import { DISCLOSED_CHARS_MAX, DISCLOSURE_BASES, newIdempotencyKey, RECIPIENT_CHARS_MAX, type DisclosureBasis, type Person } from "@medmesh/client";
import { Button, Dialog, errorText, Notice, SelectField, TextArea, TextField, useAccount, useAttempt, useI18n } from "@medmesh/ui";
import { useRef, useState, type FormEvent } from "react";
import { earliestDay } from "./given.ts";
import { instantAt, wallTime } from "./zone.ts";

interface Props {
  readonly patient: Person;
  readonly onClose: () => void;
  readonly onNoted: () => void;
}

/** When, to whom, what, why, and what allowed it. Nothing of it can be changed afterwards. */
export function NoteDisclosure({ patient, onClose, onNoted }: Props) {
  const { t } = useI18n();
  const { api, session } = useAccount();
  const zone = session.clinic.time_zone;
  const today = wallTime(new Date(), zone).date;
  const [form, setForm] = useState(() => ({ ...wallTime(new Date(), zone), recipient: "", address: "", description: "", purpose: "", basis: "" as DisclosureBasis | "" }));
  const { busy, error, attempt } = useAttempt();
  const key = useRef(newIdempotencyKey());
  const set = (field: keyof typeof form) => (event: { target: { value: string } }) => {
    key.current = newIdempotencyKey();
    setForm({ ...form, [field]: event.target.value });
  };
  const isAhead = instantAt(form, zone).getTime() > Date.now();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (form.basis === "" || isAhead) return;
    const { basis } = form;
    const address = form.address.trim();
    const disclosure = {
      disclosed_at: instantAt(form, zone).toISOString(), recipient: form.recipient.trim(), ...(address === "" ? {} : { address }),
      description: form.description.trim(), purpose: form.purpose.trim(), basis,
    };
    void attempt(async () => { await api.audit.disclosureCreate(patient.id, disclosure, key.current); onNoted(); });
  };
  return (
    <Dialog title={t.noted.noteDisclosure} onClose={onClose} testId="disclosure-dialog">
      <form className="form" onSubmit={submit}>
        <p className="muted">{t.noted.disclosureHint(patient.display_name)}</p>
        <TextField label={t.noted.recipient} required maxLength={RECIPIENT_CHARS_MAX} autoComplete="off" value={form.recipient} onChange={set("recipient")} data-testid="disclosure-recipient" />
        <TextField label={t.noted.address} maxLength={RECIPIENT_CHARS_MAX} autoComplete="off" value={form.address} onChange={set("address")} data-testid="disclosure-address" />
        <div className="form-columns">
          <TextField label={t.admin.date} type="date" required min={earliestDay(today)} max={today} value={form.date} onChange={set("date")} data-testid="disclosure-date" />
          <TextField label={t.noted.time} type="time" required error={isAhead ? t.noted.ahead : null} value={form.time} onChange={set("time")} data-testid="disclosure-time" />
        </div>
        <p className="muted">{t.admin.zone(zone)}</p>
        <TextArea label={t.noted.description} hint={t.noted.descriptionHint} required maxLength={DISCLOSED_CHARS_MAX} value={form.description} onChange={set("description")} data-testid="disclosure-description" />
        <TextArea label={t.noted.why} required maxLength={DISCLOSED_CHARS_MAX} value={form.purpose} onChange={set("purpose")} data-testid="disclosure-purpose" />
        <SelectField label={t.noted.allowedBy} required value={form.basis} onChange={set("basis")} data-testid="disclosure-basis">
          <option value="">{t.noted.choose}</option>
          {DISCLOSURE_BASES.map((basis) => <option key={basis} value={basis}>{t.noted.basis[basis]}</option>)}
        </SelectField>
        {error !== null && <Notice tone="error" testId="disclosure-error">{errorText(error, t)}</Notice>}
        <div className="row row-end">
          <Button onClick={onClose}>{t.common.cancel}</Button>
          <Button type="submit" tone="primary" busy={busy} data-testid="disclosure-submit">{t.noted.note}</Button>
        </div>
      </form>
    </Dialog>
  );
}
