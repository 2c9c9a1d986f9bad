import { STEPS, type CallReport, type LocalMedia, type VisitSession } from "@medmesh/media";
import { useEffect, useState } from "react";
import { Check, Dialog } from "../components/basics.tsx";
import { LanguageSwitch } from "../components/Shell.tsx";
import { useStore } from "../hooks/store.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { DevicePickers, Level, SpeakerTest } from "./devices.tsx";

const REFRESH_MS = 1_000;

/** Devices and the numbers behind the visit, without leaving it. */
export function Settings({ media, session, onClose }: { readonly media: LocalMedia; readonly session: VisitSession; readonly onClose: () => void }) {
  const { t } = useI18n();
  const { microphone, preference } = useStore(media.state);
  return (
    <Dialog title={t.call.settings} onClose={onClose} testId="settings-dialog" wide>
      <div className="settings">
        <div className="settings-part">
          <DevicePickers media={media} />
          <Level track={microphone} />
          <SpeakerTest speaker={preference.speaker} />
          <Check label={t.check.saveData} hint={t.check.saveDataHint} checked={preference.saveData ?? false} onChange={(event) => void media.setSaveData(event.target.checked)} />
          <LanguageSwitch />
        </div>
        <Statistics session={session} />
      </div>
    </Dialog>
  );
}

function Statistics({ session }: { readonly session: VisitSession }) {
  const { t, format } = useI18n();
  const { edge, quality } = useStore(session.state);
  const [report, setReport] = useState<CallReport | null>(null);
  useEffect(() => {
    const look = () => void session.report().then(setReport);
    look();
    const timer = setInterval(look, REFRESH_MS);
    return () => clearInterval(timer);
  }, [session]);
  const { timings_ms, counters } = session.timings.measurements;
  const ms = (value: number | null | undefined) => (value === null || value === undefined ? "–" : t.stats.ms(format.number(value)));
  const rows: [string, string][] = [
    [t.stats.edge, edge?.name ?? "–"],
    [t.stats.region, edge?.region ?? "–"],
    [t.stats.rtt, ms(quality?.rtt_ms ?? report?.rtt_ms)],
    [t.stats.sending, report?.send_bps ? `${format.number(report.send_bps / 1e6, 1)} Mbit/s` : "–"],
    [t.stats.lost, format.number(report?.packets_lost ?? 0)],
    [t.stats.relayed, report?.relayed ? t.stats.yes : t.stats.no],
    [t.stats.video, report?.video.map((video) => t.stats.videoLine(video.height_px, video.frames_per_second)).join(", ") || "–"],
    [t.stats.exchanges, format.number(counters.sdp_exchanges)],
    [t.stats.resumes, format.number(counters.resumes)],
  ];
  return (
    <section className="settings-part" aria-label={t.stats.title} data-testid="statistics">
      <h3>{t.stats.title}</h3>
      <Rows rows={rows} />
      <h3>{t.stats.timing}</h3>
      <Rows rows={STEPS.filter((step) => timings_ms[step] !== undefined && step !== "click").map((step) => [t.stats.steps[step], ms(timings_ms[step])])} />
    </section>
  );
}

function Rows({ rows }: { readonly rows: readonly (readonly [string, string])[] }) {
  return (
    <dl className="numbers">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
