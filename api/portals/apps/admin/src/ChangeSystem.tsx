import type { ClientSystem } from "@medmesh/client";
import { Button, Check, Dialog, errorText, Notice, TextArea, TextField, useAccount, useAttempt, useI18n } from "@medmesh/ui";
import { useState, type FormEvent } from "react";
import { keysAfter, pastedKeys } from "./jwks.ts";
import { ScopeChecks } from "./ScopeChecks.tsx";

interface Props {
  readonly system: ClientSystem;
  onClose(): void;
  onChanged(system: ClientSystem): void;
}

const same = (a: readonly string[], b: readonly string[]) => a.length === b.length && a.every((word) => b.includes(word));

/** Another name, other scopes, the next key beside the present one, or nothing any more: each holds from its next request on. */
export function ChangeSystem({ system, onClose, onChanged }: Props) {
  const { t } = useI18n();
  const { api } = useAccount();
  const [name, setName] = useState(system.name);
  const [scopes, setScopes] = useState(system.scopes);
  const [enabled, setEnabled] = useState(system.enabled);
  const [gone, setGone] = useState<readonly string[]>([]);
  const [text, setText] = useState("");
  const [fault, setFault] = useState<"malformed" | "private" | "none" | null>(null);
  const { busy, error, attempt } = useAttempt();
  const areKeysSame = gone.length === 0 && text.trim() === "";
  const isSame = name.trim() === system.name && same(scopes, system.scopes) && enabled === system.enabled && areKeysSame;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const pasted = text.trim() === "" ? { keys: [] } : pastedKeys(text);
    if ("fault" in pasted) return setFault(pasted.fault);
    const keys = keysAfter(system.jwks.keys, gone, pasted.keys);
    if (keys.length === 0) return setFault("none");
    setFault(null);
    void attempt(async () => onChanged(await api.systems.update(system, {
      ...(name.trim() === system.name ? {} : { name: name.trim() }), ...(same(scopes, system.scopes) ? {} : { scopes }),
      ...(enabled === system.enabled ? {} : { enabled }), ...(areKeysSame ? {} : { jwks: { keys } }),
    })));
  };
  return (
    <Dialog title={t.systems.changeNamed(system.name)} onClose={onClose} testId="system-dialog" wide>
      <form className="form" onSubmit={submit}>
        <TextField label={t.systems.name} required maxLength={120} autoComplete="off" value={name} onChange={(event) => setName(event.target.value)} data-testid="system-name" />
        <ScopeChecks scopes={scopes} onChange={setScopes} />
        <fieldset className="fieldset">
          <legend>{t.systems.keysPresent}</legend>
          {system.jwks.keys.map(({ kid }) => (
            <Check key={kid} label={t.systems.keyKept(kid)} checked={!gone.includes(kid)} data-testid={`system-key-${kid}`} onChange={(event) => setGone(event.target.checked ? gone.filter((known) => known !== kid) : [...gone, kid])} />
          ))}
        </fieldset>
        <TextArea
          label={t.systems.keysNext} hint={t.systems.keysNextHint} error={fault === null ? null : t.systems.fault[fault]} rows={4} autoComplete="off" spellCheck={false}
          value={text} onChange={(event) => { setText(event.target.value); setFault(null); }} data-testid="system-keys"
        />
        <Check label={t.systems.enabled} hint={t.systems.enabledHint} checked={enabled} onChange={(event) => setEnabled(event.target.checked)} data-testid="system-enabled" />
        {error !== null && <Notice tone="error" testId="system-error">{errorText(error, t, t.systems.errors)}</Notice>}
        <div className="row row-end">
          <Button onClick={onClose}>{t.common.cancel}</Button>
          <Button type="submit" tone={enabled ? "primary" : "danger"} busy={busy} disabled={isSame || scopes.length === 0} data-testid="system-submit">{t.common.save}</Button>
        </div>
      </form>
    </Dialog>
  );
}
