import type { Appointment } from "@medmesh/client";
import { Badge, Button, Card, Dialog, Empty, errorText, Icon, Loading, Notice, useAccount, useI18n, useResource } from "@medmesh/ui";
import { useState } from "react";
import { AppointmentForm } from "./AppointmentForm.tsx";
import { addDays, instantAt, mondayOf, wallTime } from "./zone.ts";

const PAGE = 200;
type Open = { readonly kind: "create" } | { readonly kind: "change" | "cancel"; readonly appointment: Appointment } | null;

export function Appointments() {
  const { t, format } = useI18n();
  const { api, session } = useAccount();
  const zone = session.clinic.time_zone;
  const thisWeek = mondayOf(wallTime(new Date(), zone).date);
  const [week, setWeek] = useState(thisWeek);
  const [open, setOpen] = useState<Open>(null);
  const [done, setDone] = useState<string | null>(null);
  const appointments = useResource(week, async () => {
    const from = instantAt({ date: week, time: "00:00" }, zone).toISOString();
    const to = instantAt({ date: addDays(week, 7), time: "00:00" }, zone).toISOString();
    return (await api.appointments({ from, to, limit: PAGE })).items;
  });
  const finish = (text: string) => {
    setOpen(null);
    setDone(text);
    void appointments.reload();
  };
  const who = (appointment: Appointment) => appointment.patient.display_name;
  const noon = (date: string) => new Date(`${date}T12:00:00Z`);

  return (
    <>
      <header className="page-head page-head-row">
        <div>
          <p className="eyebrow">{format.day(noon(week), "UTC")} – {format.day(noon(addDays(week, 6)), "UTC")}</p>
          <h1>{t.admin.appointments}</h1>
        </div>
        <Button tone="primary" icon="plus" onClick={() => setOpen({ kind: "create" })} data-testid="appointment-new">{t.admin.newAppointment}</Button>
      </header>
      <div className="row week">
        <button type="button" className="icon-button" aria-label={t.admin.previousWeek} onClick={() => setWeek(addDays(week, -7))}><Icon name="left" /></button>
        <Button disabled={week === thisWeek} onClick={() => setWeek(thisWeek)}>{t.admin.thisWeek}</Button>
        <button type="button" className="icon-button" aria-label={t.admin.nextWeek} onClick={() => setWeek(addDays(week, 7))}><Icon name="right" /></button>
        <span className="muted">{t.admin.zone(zone)}</span>
      </div>
      {done !== null && <Notice tone="good" testId="appointment-done">{done}</Notice>}
      {appointments.error !== null && <Notice tone="error">{errorText(appointments.error, t)}</Notice>}
      {appointments.loading && <Loading />}
      {appointments.data?.length === 0 && <Card><Empty icon="calendar" title={t.admin.noAppointments} /></Card>}
      {appointments.data !== null && appointments.data.length > 0 && (
        <div className="table-wrap" role="region" aria-label={t.admin.appointments} tabIndex={0}>
          <table className="table">
            <thead><tr><th scope="col">{t.admin.time}</th><th scope="col">{t.admin.patient}</th><th scope="col">{t.admin.clinician}</th><th scope="col">{t.admin.status}</th><th scope="col">{t.admin.actions}</th></tr></thead>
            <tbody>
              {appointments.data.map((appointment) => (
                <tr key={appointment.id} data-testid="appointment-row" data-status={appointment.status}>
                  <th scope="row"><time dateTime={appointment.starts_at}>{format.moment(appointment.starts_at, zone)}</time></th>
                  <td data-label={t.admin.patient}>{who(appointment)}</td>
                  <td data-label={t.admin.clinician}>{appointment.clinician.display_name}</td>
                  <td data-label={t.admin.status}><Badge tone={appointment.status === "booked" ? "good" : "off"}>{t.admin.appointmentStatus[appointment.status]}</Badge></td>
                  <td data-label={t.admin.actions}>
                    {appointment.status === "booked" ? (
                      <span className="row">
                        <Button onClick={() => setOpen({ kind: "change", appointment })} aria-label={t.admin.changeOf(who(appointment))} data-testid="appointment-change">{t.admin.change}</Button>
                        <Button tone="quiet" onClick={() => setOpen({ kind: "cancel", appointment })} aria-label={t.admin.cancelOf(who(appointment))} data-testid="appointment-cancel">{t.common.cancel}</Button>
                      </span>
                    ) : "–"}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {open?.kind === "create" && <AppointmentForm zone={zone} onClose={() => setOpen(null)} onDone={() => finish(t.admin.booked)} />}
      {open?.kind === "change" && <AppointmentForm zone={zone} appointment={open.appointment} onClose={() => setOpen(null)} onDone={() => finish(t.admin.changed)} />}
      {open?.kind === "cancel" && <Cancel appointment={open.appointment} zone={zone} onClose={() => setOpen(null)} onDone={() => finish(t.admin.cancelledDone)} />}
    </>
  );
}

function Cancel({ appointment, zone, onClose, onDone }: { readonly appointment: Appointment; readonly zone: string; readonly onClose: () => void; readonly onDone: () => void }) {
  const { t, format } = useI18n();
  const { api } = useAccount();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const cancel = async () => {
    setBusy(true);
    setError(null);
    try {
      const { etag } = await api.appointment(appointment.id);
      await api.appointmentCancel(appointment.id, etag);
      onDone();
    } catch (cause) {
      setError(cause);
      setBusy(false);
    }
  };
  return (
    <Dialog title={t.admin.cancelQuestion} onClose={onClose} testId="cancel-dialog">
      <p>{t.admin.cancelHint(appointment.patient.display_name, format.moment(appointment.starts_at, zone))}</p>
      {error !== null && <Notice tone="error">{errorText(error, t)}</Notice>}
      <div className="row row-end">
        <Button onClick={onClose}>{t.admin.keep}</Button>
        <Button tone="danger" busy={busy} onClick={() => void cancel()} data-testid="appointment-cancel-confirm">{t.admin.cancelAppointment}</Button>
      </div>
    </Dialog>
  );
}
