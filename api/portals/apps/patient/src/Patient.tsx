import { ACCOUNT, AccountPage, PortalShell, useI18n, usePath, VisitPage } from "@medmesh/ui";
import { Accesses } from "./Accesses.tsx";
import { Consents } from "./Consents.tsx";
import { MyData } from "./MyData.tsx";
import { Visits } from "./Visits.tsx";

export function Patient() {
  const { t } = useI18n();
  const [place = "", visitId, call] = usePath();
  if (place === "visit" && visitId !== undefined) return <VisitPage key={visitId} visitId={visitId} inCall={call === "call"} />;
  const pages = [
    { path: "", name: t.visits.title, testId: "nav-visits", page: <Visits /> },
    { path: "accesses", name: t.record.access.title, testId: "nav-accesses", page: <Accesses /> },
    { path: "consents", name: t.record.consent.title, testId: "nav-consents", page: <Consents /> },
    { path: "data", name: t.rights.title, testId: "nav-data", page: <MyData /> },
  ];
  const mine = { path: ACCOUNT, name: t.account.title, page: <AccountPage /> };
  const shown = [...pages, mine].find((known) => known.path === place) ?? pages[0] ?? mine;
  return <PortalShell title={shown.name} places={pages} here={shown.path}>{shown.page}</PortalShell>;
}
