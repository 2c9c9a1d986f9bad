import { type LocalMedia, LevelMeter, playTestSound } from "@medmesh/media";
import { useEffect, useRef, useState } from "react";
import { Button, SelectField } from "../components/basics.tsx";
import { useStore } from "../hooks/store.ts";
import { useI18n } from "../i18n/I18n.tsx";

const STORED_AS = "medmesh.devices";

/** Device choices are the one thing besides the language that a browser remembers. */
export function storedPreference(): LocalMedia["state"] extends { get(): { preference: infer P } } ? P : never {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(STORED_AS) ?? "{}");
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

export function usePreferenceKept(media: LocalMedia): void {
  const { preference } = useStore(media.state);
  useEffect(() => {
    try {
      localStorage.setItem(STORED_AS, JSON.stringify(preference));
    } catch {
      // Storage is off: the choice lasts as long as the page.
    }
  }, [preference]);
}

const KINDS = { camera: "videoinput", microphone: "audioinput", speaker: "audiooutput" } as const;

export function DevicePickers({ media }: { readonly media: LocalMedia }) {
  const { t } = useI18n();
  const { devices, preference, camera, microphone } = useStore(media.state);
  const inUse = {
    camera: camera?.getSettings().deviceId ?? preference.camera,
    microphone: microphone?.getSettings().deviceId ?? preference.microphone,
    speaker: preference.speaker,
  };
  return (
    <div className="pickers">
      {(["camera", "microphone", "speaker"] as const).map((kind) => {
        const choices = devices.filter((device) => device.kind === KINDS[kind]);
        // Browsers that cannot choose a speaker list none.
        if (kind === "speaker" && choices.length === 0) return null;
        return (
          <SelectField
            key={kind} label={t.check[kind]} value={inUse[kind] ?? ""} data-testid={`device-${kind}`}
            disabled={choices.length === 0} onChange={(event) => void media.select(kind, event.target.value)}
          >
            {(choices.length === 0 || inUse[kind] === undefined || !choices.some((device) => device.deviceId === inUse[kind])) && (
              <option value="">{t.check.defaultDevice}</option>
            )}
            {choices.map((device, index) => (
              <option key={device.deviceId} value={device.deviceId}>{device.label || t.check.unnamedDevice(index + 1)}</option>
            ))}
          </SelectField>
        );
      })}
    </div>
  );
}

/** Loud enough to be speech and not a fan. */
const HEARD_LEVEL = 0.35;

export function Level({ track }: { readonly track: MediaStreamTrack | null }) {
  const { t } = useI18n();
  const bar = useRef<HTMLSpanElement>(null);
  const meter = useRef<HTMLDivElement>(null);
  const [heard, setHeard] = useState(false);
  useEffect(() => {
    if (track === null) return;
    const level = new LevelMeter(track, (value) => {
      // Twelve times a second: past React, straight to the element.
      if (bar.current !== null) bar.current.style.transform = `scaleX(${value.toFixed(3)})`;
      meter.current?.setAttribute("aria-valuenow", String(Math.round(value * 10) * 10));
      if (value > HEARD_LEVEL) setHeard(true);
    });
    return () => level.stop();
  }, [track]);
  return (
    <div className="level">
      <div ref={meter} className="level-track" role="meter" aria-label={t.check.level} aria-valuemin={0} aria-valuemax={100} aria-valuenow={0} data-testid="level">
        <span ref={bar} className="level-bar" />
      </div>
      <p className="field-hint" role="status" data-testid="level-state">{heard ? t.check.heard : t.check.levelHint}</p>
    </div>
  );
}

export function SpeakerTest({ speaker }: { readonly speaker: string | undefined }) {
  const { t } = useI18n();
  const [playing, setPlaying] = useState(false);
  const play = async () => {
    setPlaying(true);
    await playTestSound(speaker).catch(() => undefined);
    setPlaying(false);
  };
  return <Button icon="sound" busy={playing} onClick={() => void play()} data-testid="speaker-test">{playing ? t.check.testing : t.check.testSpeaker}</Button>;
}
