import { hasPasskeys, passkeyCreate, type Enrolment, type Factors as Known, type Passkey, type TotpSetup } from "@medmesh/client";
import { useState } from "react";
import { Badge, Button, Card, Dialog, Loading, Notice } from "../components/basics.tsx";
import { Confirm } from "../components/Confirm.tsx";
import { Icon } from "../components/Icon.tsx";
import { useAttempt } from "../hooks/attempt.ts";
import { errorText } from "../hooks/errors.ts";
import { useResource } from "../hooks/resource.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { Codes } from "./Codes.tsx";
import { useAccount } from "./Gate.tsx";
import { RenameFactor } from "./RenameFactor.tsx";
import { ScanApp } from "./ScanApp.tsx";

/** Fewer recovery codes than this are worth a word. */
const CODES_LOW = 3;

type Open =
  | { readonly kind: "app"; readonly setup: TotpSetup }
  | { readonly kind: "codes"; readonly codes: readonly string[] }
  | { readonly kind: "replace-codes" | "remove-app" | "rename-app" }
  | { readonly kind: "remove-passkey" | "rename-passkey"; readonly passkey: Passkey }
  | null;

/** What one proves oneself with: an app, passkeys, codes on paper. */
export function Factors() {
  const { t } = useI18n();
  const { api, take } = useAccount();
  const factors = useResource("factors", () => api.account.factors());
  const [open, setOpen] = useState<Open>(null);
  const { busy, error, attempt } = useAttempt();
  const close = () => setOpen(null);

  const changed = async () => {
    take(await api.session());
    await factors.reload();
  };
  /** Codes come with the first factor only. */
  const added = async (enrolment: Enrolment) => {
    const codes = enrolment.recovery_codes ?? [];
    setOpen(codes.length > 0 ? { kind: "codes", codes } : null);
    take(enrolment.session);
    await factors.reload();
  };
  const addApp = () => attempt(async () => setOpen({ kind: "app", setup: await api.account.totpBegin() }));
  const addPasskey = () => attempt(async () => {
    const credential = await passkeyCreate(await api.account.passkeyBegin());
    if (credential !== null) await added(await api.account.passkeyAdd(credential));
  });
  const remove = async (work: () => Promise<void>) => {
    await work();
    await changed();
    close();
  };
  const rename = async (work: () => Promise<void>) => {
    try {
      await work();
      close();
    } finally {
      await factors.reload();
    }
  };
  const app = factors.data?.totp;
  const lastOne = { state_conflict: t.account.lastFactor };

  return (
    <Card data-testid="factors">
      <section className="section" aria-label={t.account.factors}>
        <h2>{t.account.factors}</h2>
        <p className="muted">{factors.data?.is_optional === true && isBare(factors.data) ? t.account.factorsOffer : t.account.factorsLead}</p>
        {factors.error !== null && <Notice tone="error">{errorText(factors.error, t)}</Notice>}
        {error !== null && <Notice tone="error" testId="factors-error">{errorText(error, t)}</Notice>}
        {factors.loading && <Loading />}
        {factors.data !== null && (
          <FactorRows
            factors={factors.data} busy={busy} onAddApp={() => void addApp()} onAddPasskey={() => void addPasskey()}
            onRemoveApp={() => setOpen({ kind: "remove-app" })} onRemovePasskey={(passkey) => setOpen({ kind: "remove-passkey", passkey })}
            onReplaceCodes={() => setOpen({ kind: "replace-codes" })}
            onRenameApp={() => setOpen({ kind: "rename-app" })} onRenamePasskey={(passkey) => setOpen({ kind: "rename-passkey", passkey })}
          />
        )}
      </section>
      {open?.kind === "app" && <AddApp setup={open.setup} onAdded={added} onClose={close} />}
      {open?.kind === "codes" && <Dialog title={t.enrol.codesTitle} onClose={close} testId="codes-dialog"><p>{t.enrol.codesLead}</p><Codes codes={open.codes} onDone={close} /></Dialog>}
      {open?.kind === "replace-codes" && (
        <Confirm title={t.account.replaceQuestion} submit={t.account.replaceCodes} tone="primary" onClose={close} onConfirm={async () => {
          const codes = await api.account.recoveryCodesReplace();
          setOpen({ kind: "codes", codes });
          await changed();
        }}>{t.account.replaceHint}</Confirm>
      )}
      {open?.kind === "remove-app" && <Confirm title={t.account.removeAppQuestion} submit={t.account.remove} errors={lastOne} onClose={close} onConfirm={() => remove(() => api.account.totpRemove())}>{t.account.removeAppHint}</Confirm>}
      {open?.kind === "remove-passkey" && <Confirm title={t.account.removePasskeyQuestion} submit={t.account.remove} errors={lastOne} onClose={close} onConfirm={() => remove(() => api.account.passkeyRemove(open.passkey.id))}>{t.account.removePasskeyHint(open.passkey.name ?? (open.passkey.device || t.account.someDevice))}</Confirm>}
      {open?.kind === "rename-app" && app && <RenameFactor name={app.name ?? ""} onClose={close} onRename={(name) => rename(() => api.account.totpRename(app, name))} />}
      {open?.kind === "rename-passkey" && <RenameFactor name={open.passkey.name ?? ""} onClose={close} onRename={(name) => rename(() => api.account.passkeyRename(open.passkey, name))} />}
    </Card>
  );
}

const isBare = (factors: Known) => factors.passkeys.length === 0 && !factors.totp;

interface RowsProps {
  readonly factors: Known;
  readonly busy: boolean;
  onAddApp(): void;
  onAddPasskey(): void;
  onRemoveApp(): void;
  onRemovePasskey(passkey: Passkey): void;
  onReplaceCodes(): void;
  onRenameApp(): void;
  onRenamePasskey(passkey: Passkey): void;
}

function FactorRows({ factors, busy, onAddApp, onAddPasskey, onRemoveApp, onRemovePasskey, onReplaceCodes, onRenameApp, onRenamePasskey }: RowsProps) {
  const { t, format } = useI18n();
  const left = factors.recovery_codes_left;
  const called = (passkey: Passkey) => passkey.name ?? t.account.passkeyOn(passkey.device || t.account.someDevice);
  const appName = factors.totp?.name ?? t.account.app;
  return (
    <>
      <ul className="lines">
        {factors.passkeys.map((passkey) => (
          <li key={passkey.id} className="line" data-testid="passkey-row">
            <Icon name="key" />
            <div className="line-text">
              <p className="line-title">{called(passkey)} {passkey.is_synced && <Badge>{t.account.synced}</Badge>}</p>
              <p className="muted">{passkey.name && `${t.account.passkeyOn(passkey.device || t.account.someDevice)} · `}{t.account.made(format.date(passkey.created_at))}{passkey.used_at && ` · ${t.account.used(format.moment(passkey.used_at))}`}</p>
            </div>
            <Button onClick={() => onRenamePasskey(passkey)} aria-label={t.account.renameNamed(called(passkey))} data-testid="passkey-rename">{t.account.rename}</Button>
            <Button onClick={() => onRemovePasskey(passkey)} aria-label={t.account.removeNamed(called(passkey))} data-testid="passkey-remove">{t.account.remove}</Button>
          </li>
        ))}
        {factors.totp && (
          <li className="line" data-testid="totp-row">
            <Icon name="device" />
            <div className="line-text">
              <p className="line-title">{appName}</p>
              <p className="muted">{factors.totp.name && `${t.account.app} · `}{t.account.made(format.date(factors.totp.since))}</p>
            </div>
            <Button onClick={onRenameApp} aria-label={t.account.renameNamed(appName)} data-testid="totp-rename">{t.account.rename}</Button>
            <Button onClick={onRemoveApp} aria-label={t.account.removeNamed(appName)} data-testid="totp-remove">{t.account.remove}</Button>
          </li>
        )}
        {!isBare(factors) && (
          <li className="line" data-testid="codes-row">
            <Icon name="list" />
            <div className="line-text">
              <p className="line-title">{t.account.codes}</p>
              <p className={left < CODES_LOW ? "field-error" : "muted"} data-testid="codes-left">{t.account.codesLeft(left)}</p>
            </div>
            <Button onClick={onReplaceCodes} data-testid="codes-replace">{t.account.replaceCodes}</Button>
          </li>
        )}
      </ul>
      <div className="row">
        {hasPasskeys() && <Button tone="primary" icon="plus" busy={busy} onClick={onAddPasskey} data-testid="passkey-add">{t.account.addPasskey}</Button>}
        <Button icon={factors.totp ? "device" : "plus"} busy={busy} onClick={onAddApp} data-testid="totp-add">{factors.totp ? t.account.replaceApp : t.account.addApp}</Button>
      </div>
    </>
  );
}

function AddApp({ setup, onAdded, onClose }: { readonly setup: TotpSetup; readonly onAdded: (enrolment: Enrolment) => Promise<void>; readonly onClose: () => void }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const { busy, error, attempt } = useAttempt();
  return (
    <Dialog title={t.enrol.scanTitle} onClose={onClose} testId="totp-dialog">
      <p>{t.enrol.scanLead}</p>
      <ScanApp
        setup={setup} busy={busy} onCode={(code) => void attempt(async () => onAdded(await api.account.totpConfirm(code)))}
        failure={error !== null && <Notice tone="error" testId="totp-error">{errorText(error, t)}</Notice>}
        leave={<Button tone="quiet" onClick={onClose}>{t.common.cancel}</Button>}
      />
    </Dialog>
  );
}
