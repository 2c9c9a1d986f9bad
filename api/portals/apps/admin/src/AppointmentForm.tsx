import { type Appointment, newIdempotencyKey, type Person } from "@medmesh/client";
import { Button, Dialog, errorText, Notice, SelectField, TextField, useAccount, useAttempt, useI18n, useResource } from "@medmesh/ui";
import { useRef, useState, type FormEvent, type KeyboardEvent } from "react";
import { instantAt, wallTime } from "./zone.ts";

const LENGTHS_MINUTES = [10, 15, 20, 30, 45, 60, 90];
const STEP_MINUTES = 15;
const MINUTE_MS = 60_000;
const REASON_CHARS_MAX = 500;
const CLINICIANS_MAX = 200;

interface Props {
  readonly zone: string;
  /** The one to change; without it a new one is booked. */
  readonly appointment?: Appointment;
  readonly onClose: () => void;
  readonly onDone: () => void;
}

function initial(zone: string, appointment: Appointment | undefined) {
  const next = Math.ceil(Date.now() / (STEP_MINUTES * MINUTE_MS)) * STEP_MINUTES * MINUTE_MS;
  const starts = appointment === undefined ? new Date(next) : new Date(appointment.starts_at);
  const minutes = appointment === undefined ? 30 : Math.round((Date.parse(appointment.ends_at) - Date.parse(appointment.starts_at)) / MINUTE_MS);
  return {
    patient: appointment?.patient.id ?? "", clinician: appointment?.clinician.id ?? "",
    ...wallTime(starts, zone), minutes, reason: appointment?.reason ?? "",
  };
}

export function AppointmentForm({ zone, appointment, onClose, onDone }: Props) {
  const { t } = useI18n();
  const { api } = useAccount();
  const [form, setForm] = useState(() => initial(zone, appointment));
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [found, setFound] = useState<readonly Person[]>([]);
  const key = useRef(newIdempotencyKey());
  const fixed = appointment !== undefined;
  const clinicians = useResource("clinician", async () => (fixed ? [] : (await api.people({ role: "clinician", limit: CLINICIANS_MAX })).items));
  const set = <K extends keyof typeof form>(field: K, value: (typeof form)[K]) => {
    key.current = newIdempotencyKey();
    setForm({ ...form, [field]: value });
  };
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    const starts = instantAt(form, zone);
    const times = { starts_at: starts.toISOString(), ends_at: new Date(starts.getTime() + form.minutes * MINUTE_MS).toISOString() };
    const reason = form.reason.trim() === "" ? {} : { reason: form.reason.trim() };
    try {
      if (appointment === undefined) {
        await api.appointmentCreate({ patient_id: form.patient, clinician_id: form.clinician, ...times, ...reason }, key.current);
      } else {
        const { etag } = await api.appointment(appointment.id);
        await api.appointmentChange(appointment.id, etag, { ...times, ...reason });
      }
      onDone();
    } catch (cause) {
      setError(cause);
      setBusy(false);
    }
  };
  const lengths = LENGTHS_MINUTES.includes(form.minutes) ? LENGTHS_MINUTES : [...LENGTHS_MINUTES, form.minutes].sort((a, b) => a - b);
  return (
    <Dialog title={fixed ? t.admin.changeAppointment : t.admin.newAppointment} onClose={onClose} testId="appointment-dialog">
      <form className="form" onSubmit={(event) => void submit(event)}>
        {!fixed && <PatientSearch onFound={(people) => { key.current = newIdempotencyKey(); setFound(people); setForm({ ...form, patient: people.length === 1 ? people[0]?.id ?? "" : "" }); }} />}
        {(["patient", "clinician"] as const).map((role) => {
          const people = role === "patient" ? found : clinicians.data ?? [];
          return (
            <SelectField key={role} label={t.admin[role]} required disabled={fixed} value={form[role]} onChange={(event) => set(role, event.target.value)} data-testid={`appointment-${role}`}>
              <option value="">{t.people.choose}</option>
              {fixed && <option value={form[role]}>{appointment[role].display_name}</option>}
              {people.filter((person) => person.active).map((person) => <option key={person.id} value={person.id}>{person.display_name}</option>)}
            </SelectField>
          );
        })}
        <div className="form-columns">
          <TextField label={t.admin.date} type="date" required value={form.date} onChange={(event) => set("date", event.target.value)} data-testid="appointment-date" />
          <TextField label={t.admin.start} type="time" required value={form.time} onChange={(event) => set("time", event.target.value)} data-testid="appointment-time" />
          <SelectField label={t.admin.minutes} value={form.minutes} onChange={(event) => set("minutes", Number(event.target.value))}>
            {lengths.map((minutes) => <option key={minutes} value={minutes}>{t.admin.minutesValue(minutes)}</option>)}
          </SelectField>
        </div>
        <TextField label={t.admin.reason} hint={t.admin.reasonHint} maxLength={REASON_CHARS_MAX} value={form.reason} onChange={(event) => set("reason", event.target.value)} data-testid="appointment-reason" />
        <p className="muted">{t.admin.zone(zone)}</p>
        {error !== null && <Notice tone="error" testId="appointment-error">{errorText(error, t)}</Notice>}
        <div className="row row-end">
          <Button onClick={onClose}>{t.common.cancel}</Button>
          <Button type="submit" tone="primary" busy={busy} data-testid="appointment-submit">{fixed ? t.common.save : t.admin.createAppointment}</Button>
        </div>
      </form>
    </Dialog>
  );
}

/** Who is booked for, by name: a clinic has more patients than a list shows, and who was not meant is not looked at. */
function PatientSearch({ onFound }: { readonly onFound: (people: readonly Person[]) => void }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const [name, setName] = useState("");
  const [isNobody, setNobody] = useState(false);
  const { busy, error, attempt } = useAttempt();
  const search = () => void attempt(async () => {
    if (name.trim() === "") return;
    const people = await api.care.patientSearch(name.trim());
    setNobody(people.length === 0);
    onFound(people);
  });
  // Inside of the form that books: the key that would send it looks instead.
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    search();
  };
  return (
    <>
      <div className="row row-form">
        <TextField label={t.care.search} hint={t.care.searchHint} maxLength={120} autoComplete="off" value={name} onChange={(event) => setName(event.target.value)} onKeyDown={onKeyDown} data-testid="appointment-search" />
        <Button busy={busy} onClick={search} data-testid="appointment-search-submit">{t.care.searchSubmit}</Button>
      </div>
      {error !== null && <Notice tone="error">{errorText(error, t)}</Notice>}
      {isNobody && <Notice testId="appointment-nobody">{t.care.noMatch}</Notice>}
    </>
  );
}
