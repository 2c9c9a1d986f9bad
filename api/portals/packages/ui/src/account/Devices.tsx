import type { Device } from "@medmesh/client";
import { useState } from "react";
import { Badge, Button, Card, Loading, Notice } from "../components/basics.tsx";
import { Confirm } from "../components/Confirm.tsx";
import { Icon } from "../components/Icon.tsx";
import { errorText } from "../hooks/errors.ts";
import { useResource } from "../hooks/resource.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { useAccount } from "./Gate.tsx";

/** Where one is signed in, and the way to end it from here. */
export function Devices() {
  const { t, format } = useI18n();
  const { api } = useAccount();
  const devices = useResource("devices", () => api.account.sessions());
  const [open, setOpen] = useState<Device | "others" | null>(null);
  const [done, setDone] = useState<string | null>(null);
  const known = devices.data ?? [];
  const named = (device: Device) => device.device || t.account.someDevice;

  const revoke = async () => {
    if (open === null) return;
    if (open === "others") await api.account.sessionRevokeOthers();
    else await api.account.sessionRevoke(open.id);
    setDone(open === "others" ? t.account.othersRevoked : t.account.revoked(named(open)));
    setOpen(null);
    await devices.reload();
  };
  return (
    <Card data-testid="devices">
      <section className="section" aria-label={t.account.devices}>
        <h2>{t.account.devices}</h2>
        <p className="muted">{t.account.devicesLead}</p>
        {done !== null && <Notice tone="good" testId="device-revoked">{done}</Notice>}
        {devices.error !== null && <Notice tone="error">{errorText(devices.error, t)}</Notice>}
        {devices.loading && <Loading />}
        <ul className="lines">
          {known.map((device) => (
            <li key={device.id} className="line" data-testid="device-row" data-present={device.is_present}>
              <Icon name="device" />
              <div className="line-text">
                <p className="line-title">{named(device)} {device.is_present && <Badge tone="good">{t.account.thisDevice}</Badge>}</p>
                <p className="muted">{t.account.since(format.moment(device.created_at))} · {t.account.used(format.moment(device.seen_at))}</p>
              </div>
              {!device.is_present && <Button onClick={() => setOpen(device)} aria-label={t.account.revokeNamed(named(device))} data-testid="device-revoke">{t.account.revoke}</Button>}
            </li>
          ))}
        </ul>
        {known.length > 1 && <div className="row"><Button onClick={() => setOpen("others")} data-testid="devices-revoke-others">{t.account.revokeOthers}</Button></div>}
      </section>
      {open !== null && (
        <Confirm title={open === "others" ? t.account.revokeOthersQuestion : t.account.revokeQuestion} submit={t.account.revoke} onClose={() => setOpen(null)} onConfirm={revoke}>
          {open === "others" ? t.account.revokeOthersHint : t.account.revokeHint(named(open))}
        </Confirm>
      )}
    </Card>
  );
}
