import { Button, go, Shell, useAccount, useI18n, usePath } from "@medmesh/ui";
import { Appointments } from "./Appointments.tsx";
import { People } from "./People.tsx";

const PLACES = ["appointments", "people"] as const;
type Place = (typeof PLACES)[number];

export function Admin() {
  const { t } = useI18n();
  const { signOut } = useAccount();
  const [first] = usePath();
  const place: Place = PLACES.find((known) => known === first) ?? "appointments";
  const nav = (
    <nav className="nav">
      {PLACES.map((known) => (
        <button key={known} type="button" className="nav-link" aria-current={known === place ? "page" : undefined} onClick={() => go([known])} data-testid={`nav-${known}`}>
          {t.admin[known]}
        </button>
      ))}
    </nav>
  );
  return (
    <Shell title={t.admin[place]} nav={nav} end={<Button tone="quiet" onClick={signOut} data-testid="sign-out">{t.common.signOut}</Button>}>
      {place === "people" ? <People /> : <Appointments />}
    </Shell>
  );
}
