import { CORRECTION_CHARS_MAX, newIdempotencyKey, type Correction, type ExportForm, type RecordExport } from "@medmesh/client";
import { Badge, Button, Card, Confirm, CorrectionLine, Dialog, errorText, go, Icon, ListFrame, Loading, Notice, saveFile, TextArea, useAccount, useAttempt, useI18n, usePages, useResource } from "@medmesh/ui";
import { useRef, useState } from "react";

/** While a copy is being made, how often is looked whether it is ready, milliseconds. */
const LOOK_EVERY_MS = 3_000;

/** A copy of everything, corrections, whether the record rests; and where the rest is. */
export function MyData() {
  const { t } = useI18n();
  return (
    <>
      <header className="page-head">
        <h1>{t.rights.title}</h1>
        <p className="lead">{t.rights.lead}</p>
      </header>
      <Copies />
      <Corrections />
      <Rest />
      <Elsewhere />
    </>
  );
}

function Copies() {
  const { t } = useI18n();
  const { api, session } = useAccount();
  const words = t.rights.copies;
  const me = session.person.id;
  const [waiting, setWaiting] = useState(false);
  const copies = useResource("copies", async () => {
    const { items } = await api.rights.exports(me);
    setWaiting(items.some(({ state }) => state === "queued"));
    return items.filter(({ state }) => state !== "gone");
  }, waiting ? LOOK_EVERY_MS : 0);
  const key = useRef(newIdempotencyKey());
  const { busy, error, attempt } = useAttempt();
  const ask = () => attempt(async () => {
    await api.rights.exportCreate(me, key.current);
    key.current = newIdempotencyKey();
    await copies.reload();
  });
  return (
    <section className="section" aria-label={words.title}>
      <h2>{words.title}</h2>
      <p className="muted">{words.lead}</p>
      {error !== null && <Notice tone="error" testId="copy-error">{errorText(error, t, { state_conflict: words.enough })}</Notice>}
      {copies.error !== null && <Notice tone="error">{errorText(copies.error, t)}</Notice>}
      {copies.loading && <Loading />}
      <div aria-live="polite">
        {copies.data !== null && copies.data.length > 0 && <Card><ul className="lines">{copies.data.map((copy) => <Copy key={copy.id} copy={copy} />)}</ul></Card>}
      </div>
      <div className="row"><Button tone="primary" busy={busy} onClick={() => void ask()} data-testid="copy-ask">{words.ask}</Button></div>
    </section>
  );
}

function Copy({ copy }: { readonly copy: RecordExport }) {
  const { t, format } = useI18n();
  const { api } = useAccount();
  const words = t.rights.copies;
  const { busy, error, attempt } = useAttempt();
  const take = (form: ExportForm) => attempt(async () => {
    const file = await api.rights.exportContent(copy, form);
    saveFile(file, form === "json" ? "record.json" : "record.fhir.json");
  });
  const sign = (form: ExportForm, signature: string) => saveFile(new Blob([signature]), form === "json" ? "record.json.jws" : "record.fhir.json.jws");
  const forms = (["json", "fhir"] as const).flatMap((form) => { const signed = copy[form]; return signed ? [{ form, signed }] : []; });
  return (
    <li className="line" data-testid="copy" data-state={copy.state}>
      <Icon name="copy" />
      <div className="line-text">
        <p className="line-title">{words.of(format.dateTime(copy.requested_at))} <Badge tone={copy.state === "ready" ? "good" : "calm"}>{words.state[copy.state]}</Badge></p>
        {copy.expires_at && <p className="muted">{words.until(format.dateTime(copy.expires_at))}</p>}
        {copy.state === "queued" && <p className="muted">{words.making}</p>}
        {error !== null && <Notice tone="error" testId="copy-take-error">{errorText(error, t)}</Notice>}
        {forms.length > 0 && (
          <div className="row">
            {forms.map(({ form }) => <Button key={form} busy={busy} onClick={() => void take(form)} data-testid={`copy-${form}`}>{words.download[form]}</Button>)}
            {forms.map(({ form, signed }) => <Button key={form} onClick={() => sign(form, signed.signature)} data-testid={`copy-${form}-signature`}>{words.signature[form]}</Button>)}
          </div>
        )}
      </div>
    </li>
  );
}

function Corrections() {
  const { t } = useI18n();
  const { api, session } = useAccount();
  const words = t.rights.corrections;
  const asked = usePages("corrections", (cursor) => api.rights.corrections(session.person.id, cursor === undefined ? {} : { cursor }));
  const [asking, setAsking] = useState(false);
  const [disagreeing, setDisagreeing] = useState<Correction | null>(null);
  return (
    <section className="section" aria-label={words.title}>
      <h2>{words.title}</h2>
      <p className="muted">{words.lead}</p>
      <ListFrame pages={asked} icon="document" empty={words.none}>
        <Card>
          <ul className="lines">
            {asked.items.map((correction) => (
              <CorrectionLine key={correction.id} correction={correction}>
                {correction.state === "declined" && !correction.disagreement && <Button onClick={() => setDisagreeing(correction)} data-testid="correction-disagree">{words.disagree}</Button>}
              </CorrectionLine>
            ))}
          </ul>
        </Card>
      </ListFrame>
      <div className="row"><Button tone="primary" onClick={() => setAsking(true)} data-testid="correction-ask">{words.ask}</Button></div>
      {asking && <Ask onClose={() => setAsking(false)} onAsked={() => { setAsking(false); void asked.reload(); }} />}
      {disagreeing !== null && <Disagree correction={disagreeing} onClose={() => setDisagreeing(null)} onSaid={() => { setDisagreeing(null); void asked.reload(); }} />}
    </section>
  );
}

function Ask({ onClose, onAsked }: { readonly onClose: () => void; readonly onAsked: () => void }) {
  const { t } = useI18n();
  const { api, session } = useAccount();
  const words = t.rights.corrections;
  const [what, setWhat] = useState("");
  const [why, setWhy] = useState("");
  const key = useRef(newIdempotencyKey());
  const { busy, error, attempt } = useAttempt();
  const send = () => attempt(async () => {
    await api.rights.correctionCreate(session.person.id, { what, why }, key.current);
    onAsked();
  });
  const change = (set: (text: string) => void) => (event: { readonly target: { readonly value: string } }) => {
    key.current = newIdempotencyKey();
    set(event.target.value);
  };
  return (
    <Dialog title={words.ask} onClose={onClose} testId="correction-ask-dialog">
      <TextArea label={words.what} hint={words.whatHint} required value={what} maxLength={CORRECTION_CHARS_MAX} onChange={change(setWhat)} data-testid="correction-what" />
      <TextArea label={words.why} required value={why} maxLength={CORRECTION_CHARS_MAX} onChange={change(setWhy)} data-testid="correction-why" />
      {error !== null && <Notice tone="error" testId="correction-ask-error">{errorText(error, t, { state_conflict: words.tooMany })}</Notice>}
      <div className="row row-end">
        <Button onClick={onClose}>{t.common.cancel}</Button>
        <Button tone="primary" busy={busy} disabled={what.trim() === "" || why.trim() === ""} onClick={() => void send()} data-testid="correction-send">{words.send}</Button>
      </div>
    </Dialog>
  );
}

function Disagree({ correction, onClose, onSaid }: { readonly correction: Correction; readonly onClose: () => void; readonly onSaid: () => void }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const words = t.rights.corrections;
  const [statement, setStatement] = useState("");
  const { busy, error, attempt } = useAttempt();
  const send = () => attempt(async () => { await api.rights.correctionDisagree(correction, statement); onSaid(); });
  return (
    <Dialog title={words.disagree} onClose={onClose} testId="disagree-dialog">
      <p>{words.disagreeLead}</p>
      <TextArea label={words.statement} required value={statement} maxLength={CORRECTION_CHARS_MAX} onChange={(event) => setStatement(event.target.value)} data-testid="disagree-statement" />
      {error !== null && <Notice tone="error" testId="disagree-error">{errorText(error, t)}</Notice>}
      <div className="row row-end">
        <Button onClick={onClose}>{t.common.cancel}</Button>
        <Button tone="primary" busy={busy} disabled={statement.trim() === ""} onClick={() => void send()} data-testid="disagree-send">{words.putOnRecord}</Button>
      </div>
    </Dialog>
  );
}

/** Whether the record rests, or is to go; both can be taken back until it is gone. */
function Rest() {
  const { t, format } = useI18n();
  const { api, session } = useAccount();
  const words = t.rights.rest;
  const rights = useResource("rights", () => api.rights.rights(session.person.id));
  const [wish, setWish] = useState<"restrict" | "lift" | "erase" | "keep" | null>(null);
  const now = rights.data;
  const rests = now !== null && Boolean(now.restricted_at);
  const goes = now?.erasure ?? null;
  const set = async () => {
    if (now === null || wish === null) return;
    const next = { restrict: { restricted: true, erasure: false }, lift: { restricted: false, erasure: false }, erase: { restricted: true, erasure: true }, keep: { restricted: true, erasure: false } }[wish];
    rights.replace(await api.rights.rightsSet(session.person.id, now, next));
    setWish(null);
  };
  return (
    <section className="section" aria-label={words.title}>
      <h2>{words.title}</h2>
      <p className="muted">{words.lead}</p>
      {rights.error !== null && <Notice tone="error">{errorText(rights.error, t)}</Notice>}
      {now !== null && (
        <Card>
          <p data-testid="rest-state" data-rests={rests} data-goes={goes !== null}>
            {goes !== null ? words.goes(format.date(goes.retained_until)) : rests && now.restricted_at ? words.rests(format.date(now.restricted_at)) : words.neither}
          </p>
          <div className="row">
            {goes === null && <Button onClick={() => setWish(rests ? "lift" : "restrict")} data-testid="rest-change">{rests ? words.lift : words.restrict}</Button>}
            <Button tone={goes === null ? "danger" : "plain"} onClick={() => setWish(goes === null ? "erase" : "keep")} data-testid="erase-change">{goes === null ? words.erase : words.keep}</Button>
          </div>
        </Card>
      )}
      {wish !== null && (
        <Confirm title={words.question[wish]} submit={words[wish]} tone={wish === "erase" ? "danger" : "primary"} testId="rest-confirm" onConfirm={set} onClose={() => setWish(null)}>
          <p>{words.hint[wish]}</p>
        </Confirm>
      )}
    </section>
  );
}

function Elsewhere() {
  const { t } = useI18n();
  return (
    <nav className="section" aria-label={t.rights.elsewhere}>
      <h2>{t.rights.elsewhere}</h2>
      <div className="row">
        <Button icon="eye" onClick={() => go(["accesses"])} data-testid="to-accesses">{t.record.access.title}</Button>
        <Button icon="document" onClick={() => go(["consents"])} data-testid="to-consents">{t.record.consent.title}</Button>
      </div>
    </nav>
  );
}
