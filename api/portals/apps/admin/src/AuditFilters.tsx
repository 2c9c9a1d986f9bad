import type { AuditFilter, Outcome, Person } from "@medmesh/client";
import { Button, Card, errorText, Icon, Notice, SelectField, TextField, useAccount, useAttempt, useI18n, useResource } from "@medmesh/ui";
import { useState, type FormEvent } from "react";
import { addDays, instantAt } from "./zone.ts";

const PEOPLE_MAX = 200;

/** Which entries to show. Patients are found by name, in the body of a request, and then go by their number. */
export function AuditFilters({ onFilter }: { readonly onFilter: (filter: AuditFilter) => void }) {
  const { t } = useI18n();
  const { api, session } = useAccount();
  /** Auditors read the log, and know nobody but from it. */
  const isAdmin = session.person.roles.includes("admin");
  const zone = session.clinic.time_zone;
  const [form, setForm] = useState({ actor: "", patient: "", action: "", outcome: "" as Outcome | "", from: "", to: "" });
  const [patient, setPatient] = useState<Person | null>(null);
  const people = useResource("actors", async () => (isAdmin ? (await api.people({ limit: PEOPLE_MAX })).items : []));
  const { busy, error, attempt } = useAttempt();
  const set = (field: keyof typeof form) => (event: { target: { value: string } }) => setForm({ ...form, [field]: event.target.value });
  const acts = Object.entries(t.record.acts).sort(([, a], [, b]) => a.localeCompare(b));

  const apply = async () => {
    const typed = form.patient.trim();
    const found = typed === "" ? patient : (await api.care.patientSearch(typed))[0] ?? null;
    setPatient(found);
    setForm({ ...form, patient: "" });
    const instant = (date: string) => instantAt({ date, time: "00:00" }, zone).toISOString();
    onFilter({
      ...(form.actor === "" ? {} : { actor_id: form.actor }),
      ...(found === null ? {} : { patient_id: found.id }),
      ...(form.action === "" ? {} : { action: form.action }),
      ...(form.outcome === "" ? {} : { outcome: form.outcome }),
      ...(form.from === "" ? {} : { from: instant(form.from) }),
      ...(form.to === "" ? {} : { to: instant(addDays(form.to, 1)) }),
    });
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void attempt(apply);
  };
  return (
    <Card>
      <form className="form" onSubmit={submit}>
        <div className="form-columns form-columns-wide">
          {isAdmin && <SelectField label={t.audit.person} value={form.actor} onChange={set("actor")} data-testid="audit-actor">
            <option value="">{t.audit.personAll}</option>
            {(people.data ?? []).map((person) => <option key={person.id} value={person.id}>{person.display_name}</option>)}
          </SelectField>}
          <SelectField label={t.audit.action} value={form.action} onChange={set("action")} data-testid="audit-action">
            <option value="">{t.audit.actionAll}</option>
            {acts.map(([word, text]) => <option key={word} value={word}>{text}</option>)}
          </SelectField>
          <SelectField label={t.audit.outcome} value={form.outcome} onChange={set("outcome")} data-testid="audit-outcome">
            <option value="">{t.audit.outcomeAll}</option>
            <option value="done">{t.audit.done}</option>
            <option value="refused">{t.audit.refused}</option>
          </SelectField>
          {isAdmin && <TextField label={t.audit.patient} hint={t.audit.patientHint} maxLength={120} autoComplete="off" value={form.patient} onChange={set("patient")} data-testid="audit-patient" />}
          <TextField label={t.audit.from} type="date" value={form.from} onChange={set("from")} data-testid="audit-from" />
          <TextField label={t.audit.to} type="date" value={form.to} onChange={set("to")} data-testid="audit-to" />
        </div>
        {patient !== null && (
          <p className="chip">
            {t.audit.patientChosen(patient.display_name)}
            <button type="button" className="icon-button" aria-label={t.audit.clear} onClick={() => setPatient(null)}><Icon name="close" size={16} /></button>
          </p>
        )}
        {error !== null && <Notice tone="error">{errorText(error, t)}</Notice>}
        <div className="row"><Button type="submit" tone="primary" busy={busy} data-testid="audit-apply">{t.audit.apply}</Button></div>
      </form>
    </Card>
  );
}
