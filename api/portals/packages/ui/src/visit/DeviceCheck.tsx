import type { LocalMedia } from "@medmesh/media";
import { useMemo } from "react";
import { Button, Card, Check, Notice } from "../components/basics.tsx";
import { Icon } from "../components/Icon.tsx";
import { useStore } from "../hooks/store.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { DevicePickers, Level, SpeakerTest } from "./devices.tsx";
import { Video } from "./Video.tsx";

interface Props {
  readonly media: LocalMedia;
  readonly relayOnly: boolean;
  readonly onRelayOnly: (on: boolean) => void;
  readonly busy: boolean;
  readonly onContinue: () => void;
}

/** See and hear that everything works, before anybody else does. */
export function DeviceCheck({ media, relayOnly, onRelayOnly, busy, onContinue }: Props) {
  const { t } = useI18n();
  const state = useStore(media.state);
  const nothing = !state.starting && state.camera === null && state.microphone === null;
  return (
    <section className="check-page" aria-labelledby="check-title">
      <header className="page-head">
        <h1 id="check-title">{t.check.title}</h1>
        <p className="lead">{t.check.lead}</p>
      </header>
      <div className="check-columns">
        <Preview media={media} />
        <Card className="check-card">
          {state.cameraFailure && <Failure media={media} text={t.check.failure.camera[state.cameraFailure]} kind="camera" />}
          {state.microphoneFailure && <Failure media={media} text={t.check.failure.microphone[state.microphoneFailure]} kind="microphone" />}
          <DevicePickers media={media} />
          <Level track={state.microphone} />
          <SpeakerTest speaker={state.preference.speaker} />
          <details className="advanced">
            <summary>{t.check.advanced}</summary>
            <Check label={t.check.saveData} hint={t.check.saveDataHint} checked={state.preference.saveData ?? false} onChange={(event) => void media.setSaveData(event.target.checked)} />
            <Check label={t.check.relayOnly} hint={t.check.relayOnlyHint} checked={relayOnly} onChange={(event) => onRelayOnly(event.target.checked)} data-testid="relay-only" />
          </details>
          <Button tone="primary" large busy={busy} disabled={state.starting} onClick={onContinue} data-testid="check-continue">
            {nothing ? t.check.continueWithout : t.check.continue}
          </Button>
        </Card>
      </div>
    </section>
  );
}

/** This person as the others will see them, with the two switches. */
export function Preview({ media }: { readonly media: LocalMedia }) {
  const { t } = useI18n();
  const { camera, microphone, muted, starting } = useStore(media.state);
  const stream = useMemo(() => (camera === null ? null : new MediaStream([camera])), [camera]);
  return (
    <div className="preview" data-testid="preview">
      {stream !== null ? <Video stream={stream} mirrored label={t.check.preview} /> : (
        <p className="preview-off"><Icon name="cameraOff" size={32} />{starting ? t.check.starting : t.check.cameraOff}</p>
      )}
      <div className="preview-controls">
        <button type="button" className="round" aria-pressed={muted || microphone === null} aria-label={t.call.muted} onClick={() => void media.setMuted(!muted && microphone !== null)} data-testid="preview-mute">
          <Icon name={muted || microphone === null ? "micOff" : "mic"} />
        </button>
        <button type="button" className="round" aria-pressed={camera === null} aria-label={t.check.cameraOff} onClick={() => void media.setCamera(camera === null)} data-testid="preview-camera">
          <Icon name={camera === null ? "cameraOff" : "camera"} />
        </button>
      </div>
    </div>
  );
}

function Failure({ media, text, kind }: { readonly media: LocalMedia; readonly text: string; readonly kind: "camera" | "microphone" }) {
  const { t } = useI18n();
  return (
    <Notice tone="warning" testId={`failure-${kind}`} action={<Button onClick={() => void media.start()}>{t.common.retry}</Button>}>
      {text}
    </Notice>
  );
}
