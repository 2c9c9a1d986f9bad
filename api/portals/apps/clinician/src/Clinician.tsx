import type { Role } from "@medmesh/client";
import { ACCOUNT, AccountPage, CorrectionsPage, PortalShell, useAccount, useI18n, usePath, VisitPage } from "@medmesh/ui";
import { Credentials } from "./Credentials.tsx";
import { Patients } from "./Patients.tsx";
import { Schedule } from "./Schedule.tsx";

/** Those who give care, and may open a record in an emergency. */
const CARE: readonly Role[] = ["clinician", "nurse", "care_coordinator"];
/** Those who answer what their patients want corrected. */
const ANSWER: readonly Role[] = ["clinician"];
/** Those who act upon a licence. */
const LICENSED: readonly Role[] = ["clinician", "nurse", "pharmacist"];

export function Clinician() {
  const { t } = useI18n();
  const { session } = useAccount();
  const [place = "", id, call] = usePath();
  if (place === "visit" && id !== undefined) return <VisitPage key={id} visitId={id} inCall={call === "call"} />;
  const is = (roles: readonly Role[]) => session.person.roles.some((role) => roles.includes(role));
  const pages = [
    { path: "", name: t.visits.scheduleTitle, testId: "nav-schedule", page: <Schedule />, isMine: true },
    { path: "patients", name: t.care.patients, testId: "nav-patients", page: <Patients />, isMine: is(CARE) },
    { path: "corrections", name: t.rights.corrections.staffTitle, testId: "nav-corrections", page: <CorrectionsPage />, isMine: is(ANSWER) },
    { path: "credentials", name: t.care.credentials.title, testId: "nav-credentials", page: <Credentials />, isMine: is(LICENSED) },
  ].filter(({ isMine }) => isMine);
  const mine = { path: ACCOUNT, name: t.account.title, page: <AccountPage /> };
  const shown = [...pages, mine].find((known) => known.path === place) ?? pages[0] ?? mine;
  return <PortalShell title={shown.name} view={`${shown.path} ${id ?? ""}`} places={pages} here={shown.path}>{shown.page}</PortalShell>;
}
