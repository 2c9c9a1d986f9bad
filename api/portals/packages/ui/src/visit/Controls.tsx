import type { LocalMedia } from "@medmesh/media";
import { Icon, type IconName } from "../components/Icon.tsx";
import { useStore } from "../hooks/store.ts";
import { useI18n } from "../i18n/I18n.tsx";

export type Panel = "chat" | "people" | null;

interface Props {
  readonly media: LocalMedia;
  readonly panel: Panel;
  readonly unread: number;
  readonly waiting: number;
  readonly onPanel: (panel: Panel) => void;
  readonly onSettings: () => void;
  readonly onLeave: () => void;
  /** Somebody has just tried to switch a device on. */
  readonly onTried: (device: "camera" | "microphone") => void;
}

export function Controls({ media, panel, unread, waiting, onPanel, onSettings, onLeave, onTried }: Props) {
  const { t } = useI18n();
  const { microphone, camera, screen, muted } = useStore(media.state);
  const silent = muted || microphone === null;
  const toggle = (which: Exclude<Panel, null>) => onPanel(panel === which ? null : which);
  return (
    <nav className="controls" aria-label={t.call.controls}>
      <Control icon={silent ? "micOff" : "mic"} label={silent ? t.call.unmute : t.call.mute} off={silent} onClick={() => void media.setMuted(!silent).then(() => onTried("microphone"))} testId="mute" />
      <Control icon={camera === null ? "cameraOff" : "camera"} label={camera === null ? t.call.cameraOn : t.call.cameraOff} off={camera === null} onClick={() => void media.setCamera(camera === null).then(() => onTried("camera"))} testId="camera" />
      {"getDisplayMedia" in (navigator.mediaDevices ?? {}) && (
        <Control icon="screen" label={screen === null ? t.call.share : t.call.stopSharing} active={screen !== null} onClick={() => void media.setScreen(screen === null)} testId="share" />
      )}
      <Control icon="chat" label={t.call.chat} expanded={panel === "chat"} onClick={() => toggle("chat")} testId="chat" badge={unread} badgeLabel={t.chat.unread(unread)} />
      <Control icon="people" label={t.call.people} expanded={panel === "people"} onClick={() => toggle("people")} testId="people-button" badge={waiting} badgeLabel={t.visits.waiting(waiting)} />
      <Control icon="settings" label={t.call.settings} onClick={onSettings} testId="settings" />
      <Control icon="leave" label={t.call.leave} leave onClick={onLeave} testId="leave" />
    </nav>
  );
}

interface ControlProps {
  readonly icon: IconName;
  readonly label: string;
  readonly onClick: () => void;
  readonly testId: string;
  readonly off?: boolean;
  readonly active?: boolean;
  readonly expanded?: boolean;
  readonly leave?: boolean;
  readonly badge?: number;
  readonly badgeLabel?: string;
}

function Control({ icon, label, onClick, testId, off, active, expanded, leave, badge = 0, badgeLabel }: ControlProps) {
  const names = `control${off ? " control-off" : ""}${active || expanded ? " control-active" : ""}${leave ? " control-leave" : ""}`;
  return (
    <button type="button" className={names} aria-expanded={expanded} onClick={onClick} data-testid={testId} data-on={off === undefined ? undefined : !off}>
      <span className="control-face">
        <Icon name={icon} size={22} />
        {badge > 0 && <span className="control-badge" data-testid={`${testId}-badge`}><span aria-hidden="true">{badge}</span></span>}
      </span>
      <span className="control-label">{label}</span>
      {badge > 0 && <span className="visually-hidden">{badgeLabel}</span>}
    </button>
  );
}
