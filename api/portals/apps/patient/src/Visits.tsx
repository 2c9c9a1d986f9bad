import type { Appointment, Visit } from "@medmesh/client";
import { Avatar, Badge, Button, Card, Empty, errorText, go, Icon, Loading, Notice, useAccount, useDay, useI18n, useResource } from "@medmesh/ui";

/** Often enough that a change of the clinic's day is seen in time. */
const REFRESH_MS = 10_000;
const UPCOMING_DAYS = 60;
const DAY_MS = 86_400_000;

export function Visits() {
  const { t, format } = useI18n();
  const { api, session } = useAccount();
  const today = useDay(undefined, "today", REFRESH_MS);
  const upcoming = useResource("upcoming", async () => {
    const from = new Date();
    const to = new Date(from.getTime() + UPCOMING_DAYS * DAY_MS);
    return (await api.appointments({ from: from.toISOString(), to: to.toISOString(), limit: 20 })).items;
  });
  const todays = new Set(today.data?.map((visit) => visit.appointment_id));
  const later = (upcoming.data ?? []).filter((appointment) => appointment.status === "booked" && !todays.has(appointment.id));
  const firstName = session.person.display_name.split(" ")[0] ?? session.person.display_name;

  return (
    <>
      <header className="page-head">
        <p className="eyebrow">{format.day(Date.now())}</p>
        <h1>{t.visits.greeting(firstName)}</h1>
        {today.data !== null && today.data.length > 0 && <p className="lead">{t.visits.count(today.data.length)}</p>}
      </header>
      {today.error !== null && <Notice tone="error" action={<Button onClick={() => void today.reload()}>{t.common.retry}</Button>}>{errorText(today.error, t)}</Notice>}
      <section aria-label={t.visits.today}>
        {today.loading && <Loading />}
        {today.data?.length === 0 && <Card><Empty icon="calendar" title={t.visits.empty}>{t.visits.emptyHint}</Empty></Card>}
        <ul className="visit-cards">{today.data?.map((visit) => <VisitCard key={visit.id} visit={visit} />)}</ul>
      </section>
      <section className="upcoming">
        <h2>{t.visits.upcoming}</h2>
        {upcoming.data !== null && later.length === 0 && <p className="muted">{t.visits.noUpcoming}</p>}
        <ul className="upcoming-list">{later.map((appointment) => <Upcoming key={appointment.id} appointment={appointment} />)}</ul>
      </section>
    </>
  );
}

function VisitCard({ visit }: { readonly visit: Visit }) {
  const { t, format } = useI18n();
  const { session } = useAccount();
  const others = visit.participants.filter((participant) => participant.person.id !== session.person.id);
  const first = others.find((participant) => participant.role === "clinician") ?? others[0];
  const ended = visit.state === "ended";
  return (
    <li>
      <Card className={`visit-card${ended ? " visit-card-over" : ""}`} data-testid="visit-row">
        {first && <Avatar name={first.person.display_name} id={first.person.id} />}
        <div className="visit-card-text">
          <p className="visit-time"><Icon name="clock" size={18} /> {format.timeRange(visit.starts_at, visit.ends_at)}</p>
          <p className="visit-with">{t.visits.with(format.list(others.map((other) => other.person.display_name)))}</p>
        </div>
        <Badge tone={visit.state === "open" ? "good" : ended ? "off" : "calm"}>{t.visits.state[visit.state]}</Badge>
        {!ended && <Button tone="primary" large onClick={() => go(["visit", visit.id])} data-testid="visit-join" data-visit={visit.id}>{t.visits.join}</Button>}
      </Card>
    </li>
  );
}

function Upcoming({ appointment }: { readonly appointment: Appointment }) {
  const { t, format } = useI18n();
  return (
    <li className="upcoming-row">
      <Icon name="calendar" />
      <span>{format.moment(appointment.starts_at)}</span>
      <span className="muted">{t.visits.with(appointment.clinician.display_name)}</span>
    </li>
  );
}
