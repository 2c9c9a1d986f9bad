import type { ClinicSettings } from "@medmesh/client";
import { Button, Card, Check, errorText, Icon, Loading, Notice, SIGN_UP, TextField, useAccount, useAttempt, useI18n, useResource } from "@medmesh/ui";
import { useState, type FormEvent } from "react";
import { Provider } from "./Provider.tsx";

/** As many as a room can be confined to. */
const REGIONS_MAX = 16;
/** A region's name, as edges are labelled with it. */
const REGION = "[a-z0-9\\-]+";

/** How the clinic is set up, and where its visits may run. */
export function Settings() {
  const { t } = useI18n();
  const { api } = useAccount();
  const settings = useResource("clinic", () => api.clinic());
  const [saved, setSaved] = useState(false);
  const take = (next: ClinicSettings) => {
    settings.replace(next);
    setSaved(true);
  };
  return (
    <>
      <header className="page-head"><h1>{t.clinic.settings}</h1></header>
      {settings.error !== null && <Notice tone="error">{errorText(settings.error, t)}</Notice>}
      {settings.loading && <Loading />}
      {settings.data !== null && (
        <div className="stack">
          <Facts settings={settings.data} />
          <Residency key={settings.data.version} settings={settings.data} isSaved={saved} onSaved={take} onChange={() => setSaved(false)} onStale={() => void settings.reload()} />
          <Registration settings={settings.data} onSaved={settings.replace} />
          <Provider />
        </div>
      )}
    </>
  );
}

function Facts({ settings }: { readonly settings: ClinicSettings }) {
  const { t } = useI18n();
  return (
    <Card>
      <dl className="facts">
        <div><dt>{t.clinic.name}</dt><dd>{settings.name}</dd></div>
        <div><dt>{t.clinic.zone}</dt><dd>{settings.time_zone}</dd></div>
        <div><dt>{t.clinic.home}</dt><dd>{settings.home_region}<p className="field-hint">{t.clinic.homeHint}</p></dd></div>
      </dl>
    </Card>
  );
}

interface ResidencyProps {
  readonly settings: ClinicSettings;
  readonly isSaved: boolean;
  onSaved(settings: ClinicSettings): void;
  onChange(): void;
  onStale(): void;
}

function Residency({ settings, isSaved, onSaved, onChange, onStale }: ResidencyProps) {
  const { t, format } = useI18n();
  const { api } = useAccount();
  const [regions, setRegions] = useState(settings.media_regions);
  const [next, setNext] = useState("");
  const { busy, error, attempt } = useAttempt();
  const isChanged = regions.join() !== settings.media_regions.join();

  const add = (event: FormEvent) => {
    event.preventDefault();
    const region = next.trim();
    if (!regions.includes(region)) setRegions([...regions, region]);
    setNext("");
    onChange();
  };
  const save = () => attempt(async () => onSaved(await api.clinicUpdate({ media_regions: regions }, `"${settings.version}"`)));
  return (
    <Card data-testid="residency">
      <section className="section" aria-label={t.clinic.residency}>
        <h2>{t.clinic.residency}</h2>
        <p className="muted">{t.clinic.residencyLead}</p>
        {isSaved && <Notice tone="good" testId="residency-saved">{t.clinic.saved}</Notice>}
        {error !== null && <Notice tone="error" testId="residency-error" action={<Button onClick={onStale}>{t.common.retry}</Button>}>{errorText(error, t)}</Notice>}
        <ul className="chips" data-testid="residency-regions">
          {regions.map((region) => (
            <li key={region} className="chip">
              {region}
              <button type="button" className="icon-button" aria-label={t.account.removeNamed(region)} onClick={() => { setRegions(regions.filter((known) => known !== region)); onChange(); }}><Icon name="close" size={16} /></button>
            </li>
          ))}
        </ul>
        <p>{regions.length === 0 ? t.clinic.anywhere : t.clinic.only(format.list(regions))}</p>
        <form className="row row-form" onSubmit={add}>
          <TextField label={t.clinic.region} hint={t.clinic.regionHint} required pattern={REGION} maxLength={32} value={next} disabled={regions.length >= REGIONS_MAX} onChange={(event) => setNext(event.target.value)} data-testid="residency-region" />
          <Button type="submit" icon="plus" data-testid="residency-add">{t.clinic.addRegion}</Button>
        </form>
        <div className="row"><Button tone="primary" busy={busy} disabled={!isChanged} onClick={() => void save()} data-testid="residency-save">{t.common.save}</Button></div>
      </section>
    </Card>
  );
}

/** Whether patients may come by themselves, and where. */
function Registration({ settings, onSaved }: { readonly settings: ClinicSettings; readonly onSaved: (settings: ClinicSettings) => void }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const { busy, error, attempt } = useAttempt();
  const change = (self_registration: boolean) => attempt(async () => onSaved(await api.clinicUpdate({ self_registration }, `"${settings.version}"`)));
  return (
    <Card data-testid="registration">
      <section className="section" aria-label={t.clinic.registration}>
        <h2>{t.clinic.registration}</h2>
        {error !== null && <Notice tone="error" testId="registration-error">{errorText(error, t)}</Notice>}
        <Check label={t.clinic.registrationAllow} hint={t.clinic.registrationHint} checked={settings.self_registration} disabled={busy} onChange={(event) => void change(event.target.checked)} data-testid="registration-allow" />
        {settings.self_registration && <p>{t.clinic.registrationLink} <code className="secret" data-testid="registration-link">{`${location.origin}/patient/${SIGN_UP}${settings.id}`}</code></p>}
      </section>
    </Card>
  );
}
