import { CONSENT_PURPOSES, newIdempotencyKey, SEGMENTS, type Consent, type ConsentDecision, type ConsentPurpose, type Segment } from "@medmesh/client";
import { Badge, Button, Card, Check, ConsentHistory, Dialog, errorText, Icon, Loading, Notice, SelectField, useAccount, useAttempt, useI18n, usePages, useResource } from "@medmesh/ui";
import { useRef, useState } from "react";

const PAGE = 100;

interface Matter {
  readonly purpose: ConsentPurpose;
  readonly segment: Segment;
}

type Signing = Matter & { readonly decision: ConsentDecision };

/** What the patient agreed to; giving and withdrawing; every version of it. */
export function Consents() {
  const { t } = useI18n();
  const { api, session } = useAccount();
  const said = usePages("consents", (cursor) => api.care.consents(session.person.id, cursor === undefined ? { limit: PAGE } : { limit: PAGE, cursor }));
  const [segments, setSegments] = useState<readonly Segment[]>(["general"]);
  const [signing, setSigning] = useState<Signing | null>(null);
  const [signed, setSigned] = useState(false);
  const latest = (matter: Matter) => said.items.filter((consent) => consent.purpose === matter.purpose && consent.segment === matter.segment).sort((a, b) => b.version - a.version)[0];
  const shown = SEGMENTS.filter((segment) => segments.includes(segment) || said.items.some((consent) => consent.segment === segment));
  const others = SEGMENTS.filter((segment) => !shown.includes(segment));
  const isLoaded = !said.loading || said.items.length > 0;
  return (
    <>
      <header className="page-head">
        <h1>{t.record.consent.title}</h1>
        <p className="lead">{t.record.consent.lead}</p>
      </header>
      {signed && <Notice tone="good" testId="consent-signed">{t.record.consent.signed}</Notice>}
      {said.error !== null && <Notice tone="error">{errorText(said.error, t)}</Notice>}
      {!isLoaded && <Loading />}
      {isLoaded && shown.map((segment) => (
        <Card key={segment}>
          <section className="section" aria-label={t.record.consent.segment[segment]}>
            <h2>{t.record.consent.segment[segment]}</h2>
            <ul className="lines">
              {CONSENT_PURPOSES.map((purpose) => <Row key={purpose} matter={{ purpose, segment }} latest={latest({ purpose, segment })} onSign={(next) => { setSigned(false); setSigning(next); }} />)}
            </ul>
          </section>
        </Card>
      ))}
      {isLoaded && others.length > 0 && (
        <div className="filters">
          <SelectField label={t.record.consent.other} value="" onChange={(event) => setSegments([...segments, event.target.value as Segment])} data-testid="consent-segment">
            <option value="">{t.record.consent.add}</option>
            {others.map((segment) => <option key={segment} value={segment}>{t.record.consent.segment[segment]}</option>)}
          </SelectField>
        </div>
      )}
      {said.items.length > 0 && <History said={said.items} />}
      {said.more !== null && <div className="row"><Button onClick={said.more}>{t.common.more}</Button></div>}
      {signing !== null && <Sign signing={signing} onClose={() => setSigning(null)} onSigned={() => { setSigning(null); setSigned(true); void said.reload(); }} />}
    </>
  );
}

function Row({ matter, latest, onSign }: { readonly matter: Matter; readonly latest: Consent | undefined; readonly onSign: (signing: Signing) => void }) {
  const { t, format } = useI18n();
  const name = t.record.consent.purpose[matter.purpose];
  const isGiven = latest?.decision === "granted";
  const decision = isGiven ? "withdrawn" : "granted";
  return (
    <li className="line" data-testid="consent" data-purpose={matter.purpose} data-segment={matter.segment} data-decision={latest?.decision ?? "none"}>
      <Icon name={isGiven ? "check" : "document"} />
      <div className="line-text">
        <p className="line-title">{name} {latest && <Badge tone={isGiven ? "good" : "off"}>{t.record.consent.decision[latest.decision]}</Badge>}</p>
        <p className="muted">{latest ? `${format.dateTime(latest.recorded_at)} · ${t.record.consent.version(latest.version)}` : t.record.consent.notSaid}</p>
      </div>
      <Button
        tone={isGiven ? "plain" : "primary"} onClick={() => onSign({ ...matter, decision })} data-testid="consent-change"
        aria-label={isGiven ? t.record.consent.withdrawFor(name) : t.record.consent.giveFor(name)}
      >
        {isGiven ? t.record.consent.withdraw : t.record.consent.give}
      </Button>
    </li>
  );
}

/** The words first, then the signature: it names the digest of exactly what was on the screen. */
function Sign({ signing, onClose, onSigned }: { readonly signing: Signing; readonly onClose: () => void; readonly onSigned: () => void }) {
  const { t, language } = useI18n();
  const { api, session } = useAccount();
  const text = useResource(`text ${language}`, () => api.care.consentText({ ...signing, locale: language }));
  /** The digest of the text that was read: another text is to be read again. */
  const [readOf, setReadOf] = useState<string | null>(null);
  const read = text.data !== null && readOf === text.data.text_sha256;
  const key = useRef(newIdempotencyKey());
  const { busy, error, attempt } = useAttempt();
  const sign = () => attempt(async () => {
    if (text.data === null || !read) return;
    await api.care.consentSign(session.person.id, signing, text.data, key.current);
    onSigned();
  });
  const again = async () => {
    key.current = newIdempotencyKey();
    setReadOf(null);
    await text.reload();
  };
  return (
    <Dialog title={t.record.consent.signTitle} onClose={onClose} testId="consent-dialog">
      {text.loading && <Loading />}
      {text.error !== null && <Notice tone="error">{errorText(text.error, t)}</Notice>}
      {text.data !== null && <div className="document" lang={language} tabIndex={0} role="region" aria-label={t.record.consent.signTitle} data-testid="consent-text">{text.data.text}</div>}
      {text.data !== null && <p className="field-hint">{text.data.document}</p>}
      {error !== null && <Notice tone="error" testId="consent-error" action={<Button onClick={() => void again()}>{t.common.retry}</Button>}>{errorText(error, t, { state_conflict: t.record.consent.changed })}</Notice>}
      <Check label={t.record.consent.read} checked={read} disabled={text.data === null} onChange={(event) => setReadOf(event.target.checked ? text.data?.text_sha256 ?? null : null)} data-testid="consent-read" />
      <div className="row row-end">
        <Button onClick={onClose}>{t.common.cancel}</Button>
        <Button tone="primary" busy={busy} disabled={!read} onClick={() => void sign()} data-testid="consent-sign">{t.record.consent.sign}</Button>
      </div>
    </Dialog>
  );
}

function History({ said }: { readonly said: readonly Consent[] }) {
  const { t } = useI18n();
  return (
    <section className="section" aria-label={t.record.consent.history}>
      <h2>{t.record.consent.history}</h2>
      <ConsentHistory said={said} own />
    </section>
  );
}
