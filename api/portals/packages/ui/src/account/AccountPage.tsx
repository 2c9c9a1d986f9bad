import { useResource } from "../hooks/resource.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { useAccount } from "./Gate.tsx";
import { Devices } from "./Devices.tsx";
import { Factors } from "./Factors.tsx";
import { Identities } from "./Identities.tsx";
import { PasswordChange } from "./PasswordChange.tsx";

/** One's own sign-in: how one proves oneself, where one is signed in, the password. */
export function AccountPage() {
  const { t } = useI18n();
  const { api, session } = useAccount();
  const isStaff = session.person.roles.some((role) => role !== "patient");
  // Patients are not told of a service their clinic does not have.
  const offers = useResource(`offers ${session.clinic.id}`, () => api.oidc.offers(session.clinic.id));
  return (
    <>
      <header className="page-head">
        <p className="eyebrow">{session.clinic.name}</p>
        <h1>{t.account.title}</h1>
        <p className="lead">{t.account.lead}</p>
      </header>
      <div className="stack" data-testid="account">
        <Factors />
        <Devices />
        {(isStaff || (offers.data ?? []).length > 0) && <Identities />}
        <PasswordChange />
      </div>
    </>
  );
}
