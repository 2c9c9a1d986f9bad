import type { OidcProvider } from "@medmesh/client";
import { Button, Card, Check, errorText, Notice, TextField, useAccount, useAttempt, useI18n, useResource } from "@medmesh/ui";
import { useState, type FormEvent } from "react";

/** With which outside provider the clinic's people may sign in. */
export function Provider() {
  const { t } = useI18n();
  const { api } = useAccount();
  const provider = useResource("provider", () => api.oidc.provider());
  const [saved, setSaved] = useState(false);
  return (
    <Card data-testid="provider">
      <section className="section" aria-label={t.clinic.provider.title}>
        <h2>{t.clinic.provider.title}</h2>
        <p className="muted">{t.clinic.provider.lead}</p>
        {saved && <Notice tone="good" testId="provider-saved">{t.clinic.provider.saved}</Notice>}
        {provider.error !== null && <Notice tone="error">{errorText(provider.error, t)}</Notice>}
        {provider.data !== null && <ProviderForm key={provider.data.version} provider={provider.data} onSaved={(next) => { provider.replace(next); setSaved(true); }} />}
      </section>
    </Card>
  );
}

function ProviderForm({ provider, onSaved }: { readonly provider: OidcProvider; readonly onSaved: (provider: OidcProvider) => void }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const [form, setForm] = useState({ issuer: provider.issuer, client_id: provider.client_id, client_secret: "", second_factor: provider.second_factor.join(" ") });
  const [enabled, setEnabled] = useState(provider.enabled);
  const { busy, error, attempt } = useAttempt();
  const set = (field: keyof typeof form) => (event: { target: { value: string } }) => setForm({ ...form, [field]: event.target.value });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const { client_secret, second_factor, ...rest } = form;
    const words = second_factor.split(/\s+/).filter((word) => word !== "");
    void attempt(async () => onSaved(await api.oidc.providerSet(provider, { ...rest, ...(client_secret === "" ? {} : { client_secret }), second_factor: words, enabled })));
  };
  return (
    <form className="form form-narrow" onSubmit={submit}>
      <TextField label={t.clinic.provider.issuer} type="url" required maxLength={512} value={form.issuer} onChange={set("issuer")} data-testid="provider-issuer" />
      <TextField label={t.clinic.provider.client} required maxLength={256} autoComplete="off" value={form.client_id} onChange={set("client_id")} data-testid="provider-client" />
      <TextField
        label={t.clinic.provider.secret} hint={provider.version === 0 ? undefined : t.clinic.provider.secretHint} type="password" required={provider.version === 0} minLength={8} maxLength={512}
        autoComplete="off" value={form.client_secret} onChange={set("client_secret")} data-testid="provider-secret"
      />
      <TextField label={t.clinic.provider.factors} hint={t.clinic.provider.factorsHint} maxLength={512} autoComplete="off" value={form.second_factor} onChange={set("second_factor")} data-testid="provider-factors" />
      <Check label={t.clinic.provider.enabled} checked={enabled} onChange={(event) => setEnabled(event.target.checked)} data-testid="provider-enabled" />
      <dl className="facts">
        <div><dt>{t.clinic.provider.redirect}</dt><dd><code className="secret">{provider.redirect_uri}</code></dd></div>
        <div><dt>{t.clinic.provider.start}</dt><dd><code className="secret">{provider.start_url}</code></dd></div>
      </dl>
      {error !== null && <Notice tone="error" testId="provider-error">{errorText(error, t)}</Notice>}
      <div className="row"><Button type="submit" tone="primary" busy={busy} data-testid="provider-save">{t.common.save}</Button></div>
    </form>
  );
}
