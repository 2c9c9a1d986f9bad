import type { Visit } from "@medmesh/client";
import { Admit, Avatar, Badge, Button, Card, Empty, errorText, go, Icon, Loading, Notice, useAccount, useDay, useI18n } from "@medmesh/ui";
import { useState } from "react";

/** Somebody arriving in the waiting room is seen within this time. */
const REFRESH_MS = 3_000;
const DAY_MS = 86_400_000;

/** `YYYY-MM-DD` in the clinic's zone. */
export function dayIn(zone: string, instant: Date): string {
  return new Intl.DateTimeFormat("en-CA", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit" }).format(instant);
}

export function Schedule() {
  const { t, format } = useI18n();
  const { session } = useAccount();
  const zone = session.clinic.time_zone;
  const today = dayIn(zone, new Date());
  const [chosen, setChosen] = useState<string | null>(null);
  const day = chosen ?? today;
  // Noon, so that a step of a day never skips or repeats one when the clocks change.
  const noon = new Date(`${day}T12:00:00Z`);
  const step = (days: number) => {
    const next = new Date(noon.getTime() + days * DAY_MS).toISOString().slice(0, 10);
    setChosen(next === today ? null : next);
  };
  const visits = useDay(chosen ?? undefined, day, REFRESH_MS);
  const sorted = [...(visits.data ?? [])].sort((a, b) => a.starts_at.localeCompare(b.starts_at));
  const waiting = sorted.reduce((sum, visit) => sum + waitingIn(visit), 0);
  const take = (next: Visit) => visits.replace(sorted.map((visit) => (visit.id === next.id ? next : visit)));

  return (
    <>
      <header className="page-head page-head-row">
        <div>
          <p className="eyebrow">{session.clinic.name}</p>
          <h1>{format.day(noon, "UTC")}</h1>
        </div>
        <div className="row">
          <button type="button" className="icon-button" aria-label={t.visits.previousDay} onClick={() => step(-1)}><Icon name="left" /></button>
          {chosen !== null && <Button onClick={() => setChosen(null)}>{t.visits.backToToday}</Button>}
          <button type="button" className="icon-button" aria-label={t.visits.nextDay} onClick={() => step(1)}><Icon name="right" /></button>
        </div>
      </header>
      {chosen === null && visits.data !== null && (
        <p className={`waiting-line${waiting > 0 ? " waiting-line-some" : ""}`} role="status" data-testid="waiting-count">
          <span className="waiting-dot" aria-hidden="true" /> {waiting > 0 ? t.visits.waiting(waiting) : t.visits.nobodyWaiting}
        </p>
      )}
      {visits.error !== null && <Notice tone="error" action={<Button onClick={() => void visits.reload()}>{t.common.retry}</Button>}>{errorText(visits.error, t)}</Notice>}
      {visits.loading && <Loading />}
      {visits.data?.length === 0 && <Card><Empty icon="calendar" title={t.visits.empty}>{t.visits.emptyHint}</Empty></Card>}
      <ol className="schedule">{sorted.map((visit) => <Row key={visit.id} visit={visit} zone={zone} onVisit={take} />)}</ol>
    </>
  );
}

function waitingIn(visit: Visit): number {
  return visit.participants.filter((participant) => participant.state === "waiting").length;
}

function Row({ visit, zone, onVisit }: { readonly visit: Visit; readonly zone: string; readonly onVisit: (visit: Visit) => void }) {
  const { t, format } = useI18n();
  const { api, session } = useAccount();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const patient = visit.participants.find((participant) => participant.role === "patient");
  const others = visit.participants.filter((participant) => participant.person.id !== session.person.id && participant !== patient);
  const mine = visit.participants.find((participant) => participant.person.id === session.person.id);
  const waiting = visit.participants.filter((participant) => participant.state === "waiting");
  const ended = visit.state === "ended";

  const open = async () => {
    setBusy(true);
    setError(null);
    try {
      if (mine?.role === "clinician" && visit.state !== "open") await api.visitOpen(visit.id);
      go(["visit", visit.id]);
    } catch (cause) {
      setError(cause);
      setBusy(false);
    }
  };

  return (
    <li className={`slot${ended ? " slot-over" : ""}`} data-testid="visit-row" data-visit={visit.id} data-state={visit.state}>
      <p className="slot-time"><time dateTime={visit.starts_at}>{format.time(visit.starts_at, zone)}</time></p>
      <Card className={waiting.length > 0 ? "slot-card slot-card-waiting" : "slot-card"}>
        {patient && <Avatar name={patient.person.display_name} id={patient.person.id} />}
        <div className="visit-card-text">
          <p className="visit-with">{patient?.person.display_name ?? t.common.unnamed}</p>
          <p className="muted">
            {format.timeRange(visit.starts_at, visit.ends_at, zone)}
            {others.length > 0 && ` · ${t.visits.with(format.list(others.map((other) => other.person.display_name)))}`}
          </p>
          {error !== null && <p className="field-error" role="alert">{errorText(error, t)}</p>}
        </div>
        <Badge tone={waiting.length > 0 ? "attention" : visit.state === "open" ? "good" : ended ? "off" : "calm"}>
          {waiting.length > 0 ? t.visits.state.waiting : t.visits.state[visit.state]}
        </Badge>
        {!ended && (
          <div className="row slot-actions">
            {visit.state === "open" && mine?.role === "clinician" && waiting.map((participant) => <Admit key={participant.participant_id} visit={visit} participant={participant} onVisit={onVisit} />)}
            <Button tone={visit.state === "open" || waiting.length > 0 ? "primary" : "plain"} busy={busy} onClick={() => void open()} data-testid="open" data-visit={visit.id}>
              {visit.state === "open" ? t.visits.resume : t.visits.open}
            </Button>
          </div>
        )}
      </Card>
    </li>
  );
}
