import { newIdempotencyKey, type BreakGlass } from "@medmesh/client";
import { Button, Dialog, errorText, Notice, SelectField, TextField, useAccount, useAttempt, useI18n } from "@medmesh/ui";
import { useRef, useState, type FormEvent } from "react";

/** What is offered; the longest is half a shift. */
const MINUTES = [30, 60, 120, 240] as const;

interface Props {
  readonly patientId: string;
  readonly name: string | null;
  onClose(): void;
  onOpened(glass: BreakGlass): void;
}

/** Opening a record in an emergency: with a reason, for a time, and in front of everybody. */
export function BreakGlassDialog({ patientId, name, onClose, onOpened }: Props) {
  const { t } = useI18n();
  const { api } = useAccount();
  const [reason, setReason] = useState("");
  const [minutes, setMinutes] = useState<number>(60);
  const { busy, error, attempt } = useAttempt();
  const key = useRef(newIdempotencyKey());
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void attempt(async () => onOpened(await api.care.breakGlassOpen(patientId, { reason: reason.trim(), minutes }, key.current)));
  };
  return (
    <Dialog title={name === null ? t.care.glassTitle : `${t.care.glassTitle}: ${name}`} onClose={onClose} testId="glass-dialog">
      <form className="form" onSubmit={submit}>
        <Notice tone="warning">{t.care.glassLead}</Notice>
        <TextField label={t.care.glassReason} hint={t.care.glassReasonHint} required maxLength={500} autoComplete="off" value={reason} onChange={(event) => { key.current = newIdempotencyKey(); setReason(event.target.value); }} data-testid="glass-reason" />
        <SelectField label={t.care.glassMinutes} value={minutes} onChange={(event) => { key.current = newIdempotencyKey(); setMinutes(Number(event.target.value)); }} data-testid="glass-minutes">
          {MINUTES.map((known) => <option key={known} value={known}>{t.care.minutes(known)}</option>)}
        </SelectField>
        {error !== null && <Notice tone="error" testId="glass-error">{errorText(error, t)}</Notice>}
        <div className="row row-end"><Button onClick={onClose}>{t.common.cancel}</Button><Button type="submit" tone="danger" busy={busy} disabled={reason.trim() === ""} data-testid="glass-submit">{t.care.glassSubmit}</Button></div>
      </form>
    </Dialog>
  );
}
