import type { Role } from "@medmesh/client";
import { ACCOUNT, AccountPage, CorrectionsPage, PortalShell, useAccount, useI18n, usePath } from "@medmesh/ui";
import { Appointments } from "./Appointments.tsx";
import { Audit } from "./Audit.tsx";
import { BreakGlass } from "./BreakGlass.tsx";
import { Credentials } from "./Credentials.tsx";
import { Disclosures } from "./Disclosures.tsx";
import { People } from "./People.tsx";
import { Settings } from "./Settings.tsx";
import { Systems } from "./Systems.tsx";

const ADMIN: readonly Role[] = ["admin"];
const DESK: readonly Role[] = ["admin", "scheduler"];
const HELP: readonly Role[] = ["admin", "support"];
const AUDIT: readonly Role[] = ["admin", "auditor"];

/** The pages of whoever works here, by their roles; the service decides anyway. Anybody on the staff can be the privacy officer. */
export function Admin() {
  const { t } = useI18n();
  const { session } = useAccount();
  const [place = ""] = usePath();
  const is = (roles: readonly Role[]) => session.person.roles.some((role) => roles.includes(role));
  const pages = [
    { path: "appointments", name: t.admin.appointments, testId: "nav-appointments", page: <Appointments />, isMine: is(DESK) },
    { path: "people", name: t.admin.people, testId: "nav-people", page: <People />, isMine: is(HELP) },
    { path: "credentials", name: t.care.credentials.title, testId: "nav-credentials", page: <Credentials />, isMine: is(ADMIN) },
    { path: "audit", name: t.audit.title, testId: "nav-audit", page: <Audit />, isMine: is(AUDIT) },
    { path: "emergencies", name: t.care.review.title, testId: "nav-emergencies", page: <BreakGlass />, isMine: true },
    { path: "disclosures", name: t.noted.title, testId: "nav-disclosures", page: <Disclosures />, isMine: true },
    { path: "corrections", name: t.rights.corrections.staffTitle, testId: "nav-corrections", page: <CorrectionsPage />, isMine: true },
    { path: "systems", name: t.systems.title, testId: "nav-systems", page: <Systems />, isMine: is(ADMIN) },
    { path: "settings", name: t.clinic.settings, testId: "nav-settings", page: <Settings />, isMine: is(ADMIN) },
  ].filter(({ isMine }) => isMine);
  const mine = { path: ACCOUNT, name: t.account.title, page: <AccountPage /> };
  const shown = [...pages, mine].find((known) => known.path === place) ?? pages[0] ?? mine;
  return <PortalShell title={shown.name} places={pages} here={shown.path}>{shown.page}</PortalShell>;
}
