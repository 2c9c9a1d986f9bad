import { ACCOUNT, AccountPage, PortalShell, useI18n, usePath } from "@medmesh/ui";
import { Appointments } from "./Appointments.tsx";
import { People } from "./People.tsx";
import { Settings } from "./Settings.tsx";

export function Admin() {
  const { t } = useI18n();
  const [place = ""] = usePath();
  const pages = [
    { path: "appointments", name: t.admin.appointments, testId: "nav-appointments", page: <Appointments /> },
    { path: "people", name: t.admin.people, testId: "nav-people", page: <People /> },
    { path: "settings", name: t.clinic.settings, testId: "nav-settings", page: <Settings /> },
  ];
  const mine = { path: ACCOUNT, name: t.account.title, page: <AccountPage /> };
  const shown = [...pages, mine].find((known) => known.path === place) ?? pages[0] ?? mine;
  return <PortalShell title={shown.name} places={pages} here={shown.path}>{shown.page}</PortalShell>;
}
