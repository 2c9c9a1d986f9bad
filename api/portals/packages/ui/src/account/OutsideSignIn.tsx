import type { ClinicApi } from "@medmesh/client";
import { Button } from "../components/basics.tsx";
import { useResource } from "../hooks/resource.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { clinicOfPage } from "./outside.ts";

interface Props {
  readonly api: ClinicApi;
  readonly portal: "patient" | "clinician" | "admin";
}

/** The clinic's own sign-in, where it has one. Not being able to ask is no reason to say anything: the password works. */
export function OutsideSignIn({ api, portal }: Props) {
  const { t } = useI18n();
  const clinic = clinicOfPage();
  const offers = useResource(`offers ${clinic ?? ""}`, () => api.oidc.offers(clinic));
  return (offers.data ?? []).map((offer) => (
    <Button key={offer.clinic_id} large icon="building" onClick={() => location.assign(api.oidc.startUrl(offer, portal))} data-testid="sign-in-outside">
      {t.signIn.outside.with(offer.clinic_name)}
    </Button>
  ));
}
