import type { AuditFilter, Outcome } from "@medmesh/client";
import { Button, Card, errorText, Icon, Notice, SelectField, TextField, useAccount, useAttempt, useI18n, useResource } from "@medmesh/ui";
import { useState, type FormEvent } from "react";
import { addDays, instantAt } from "./zone.ts";

const PEOPLE_MAX = 200;

/** Somebody whose acts, or whose record, the entries are narrowed to. */
export interface Chosen {
  readonly id: string;
  readonly name: string;
}

/** Whom the entries are narrowed to beside what the form says: found by name, or taken from an entry. */
export interface Narrowed {
  readonly actor?: Chosen;
  readonly patient?: Chosen;
}

interface Props {
  readonly narrowed: Narrowed;
  readonly onNarrow: (narrowed: Narrowed) => void;
  readonly onFilter: (filter: AuditFilter) => void;
}

/** Which entries to show. Patients are found by name, in the body of a request, and then go by their number. */
export function AuditFilters({ narrowed, onNarrow, onFilter }: Props) {
  const { t } = useI18n();
  const { api, session } = useAccount();
  /** Auditors read the log, and know nobody but from it; the privacy officer finds patients whatever else they are. */
  const isAdmin = session.person.roles.includes("admin");
  const officer = useResource("officer", () => api.care.privacyOfficer());
  const findsPatients = isAdmin || officer.data?.person?.id === session.person.id;
  const zone = session.clinic.time_zone;
  const [form, setForm] = useState({ actor: "", patient: "", action: "", outcome: "" as Outcome | "", from: "", to: "" });
  const people = useResource("actors", async () => (isAdmin ? (await api.people({ limit: PEOPLE_MAX })).items : []));
  const [isNobody, setNobody] = useState(false);
  const { busy, error, attempt } = useAttempt();
  const set = (field: keyof typeof form) => (event: { target: { value: string } }) => setForm({ ...form, [field]: event.target.value });
  const acts = Object.entries(t.record.acts).sort(([, a], [, b]) => a.localeCompare(b));

  const apply = async () => {
    const typed = form.patient.trim();
    if (typed !== "") {
      const [found] = await api.care.patientSearch(typed);
      setNobody(found === undefined);
      // Whoever looks for one record must not be shown all of them instead.
      if (found === undefined) return;
      onNarrow({ ...narrowed, patient: { id: found.id, name: found.display_name } });
    }
    setForm({ ...form, patient: "" });
    const instant = (date: string) => instantAt({ date, time: "00:00" }, zone).toISOString();
    onFilter({
      ...(form.actor === "" ? {} : { actor_id: form.actor }),
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
          {findsPatients && <TextField label={t.audit.patient} hint={t.audit.patientHint} maxLength={120} autoComplete="off" value={form.patient} onChange={set("patient")} data-testid="audit-patient" />}
          <TextField label={t.audit.from} type="date" value={form.from} onChange={set("from")} data-testid="audit-from" />
          <TextField label={t.audit.to} type="date" value={form.to} onChange={set("to")} data-testid="audit-to" />
        </div>
        {isNobody && <Notice testId="audit-nobody">{t.care.noMatch}</Notice>}
        {(narrowed.actor ?? narrowed.patient) && <div className="row">
          {narrowed.actor && <Chip text={t.audit.actorChosen(narrowed.actor.name)} onClear={() => onNarrow(narrowed.patient ? { patient: narrowed.patient } : {})} testId="audit-only-actor" />}
          {narrowed.patient && <Chip text={t.audit.patientChosen(narrowed.patient.name)} onClear={() => onNarrow(narrowed.actor ? { actor: narrowed.actor } : {})} testId="audit-only-record" />}
        </div>}
        {error !== null && <Notice tone="error">{errorText(error, t)}</Notice>}
        <div className="row"><Button type="submit" tone="primary" busy={busy} data-testid="audit-apply">{t.audit.apply}</Button></div>
      </form>
    </Card>
  );
}

function Chip({ text, onClear, testId }: { readonly text: string; readonly onClear: () => void; readonly testId: string }) {
  const { t } = useI18n();
  return (
    <p className="chip" data-testid={testId}>
      {text}
      <button type="button" className="icon-button" aria-label={`${t.audit.clear}: ${text}`} onClick={onClear} data-testid={`${testId}-clear`}><Icon name="close" size={16} /></button>
    </p>
  );
}
