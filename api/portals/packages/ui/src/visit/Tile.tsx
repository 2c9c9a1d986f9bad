import type { VisitSession } from "@medmesh/media";
import { useEffect, useRef } from "react";
import { Avatar } from "../components/basics.tsx";
import { Icon } from "../components/Icon.tsx";
import { useI18n } from "../i18n/I18n.tsx";
import { Video } from "./Video.tsx";

export interface TileModel {
  readonly participant: string;
  readonly source: "camera" | "screen";
  readonly name: string;
  readonly stream: MediaStream | null;
  /** The picture is on at its sender. */
  readonly on: boolean;
  readonly paused: boolean;
  readonly muted: boolean;
  readonly speaking: boolean;
}

/** Above what is only nice to see: what is being shown, then who is speaking. */
const IMPORTANCE = { screen: 3, speaking: 2, camera: 1 } as const;
/** Beyond this, more pixels help nobody. */
const PIXEL_RATIO_MAX = 2;

export function Tile({ tile, session }: { readonly tile: TileModel; readonly session: VisitSession }) {
  const { t } = useI18n();
  const element = useRef<HTMLDivElement>(null);
  const { participant, source, speaking } = tile;
  const importance = source === "screen" ? IMPORTANCE.screen : speaking ? IMPORTANCE.speaking : IMPORTANCE.camera;

  useEffect(() => {
    const box = element.current;
    if (box === null) return;
    const ratio = Math.min(devicePixelRatio, PIXEL_RATIO_MAX);
    const say = () => session.wishes.set(participant, source, box.clientHeight, importance, ratio);
    const observer = new ResizeObserver(say);
    observer.observe(box);
    return () => observer.disconnect();
  }, [session, participant, source, importance]);
  useEffect(() => () => session.wishes.delete(participant, source), [session, participant, source]);

  const label = source === "screen" ? t.call.screenOf(tile.name) : tile.name;
  const visible = tile.on && tile.stream !== null && !tile.paused;
  return (
    <div
      ref={element} className={`tile tile-${source}`} role="group" aria-label={label} data-testid="tile"
      data-participant={participant} data-source={source} data-speaking={speaking} data-video={visible}
    >
      {tile.on && tile.stream !== null && (
        <Video stream={tile.stream} contain={source === "screen"} label={label} onStream={(video) => session.watchFirstFrame(video)} />
      )}
      {!visible && (
        <div className="tile-cover">
          <Avatar name={tile.name} id={participant} size="large" />
          {tile.paused && tile.on && <p className="tile-note" data-testid="video-paused">{t.call.videoPaused}</p>}
        </div>
      )}
      <p className="tile-name">
        {tile.muted && source === "camera" && <span className="tile-muted"><Icon name="micOff" size={16} /><span className="visually-hidden">{t.call.muted}</span></span>}
        <span>{label}</span>
        {speaking && source === "camera" && <span className="visually-hidden">{t.call.speaking}</span>}
      </p>
    </div>
  );
}

/** One's own picture, small and mirrored. */
export function SelfTile({ stream, muted, name, id, large, participant }: {
  readonly stream: MediaStream | null; readonly muted: boolean; readonly name: string; readonly id: string; readonly large: boolean; readonly participant: string | null;
}) {
  const { t } = useI18n();
  return (
    <div className={`tile tile-self${large ? " tile-self-large" : ""}`} role="group" aria-label={t.call.self} data-testid="self-tile" data-participant={participant ?? undefined} data-video={stream !== null}>
      {stream !== null ? <Video stream={stream} mirrored label={t.call.self} /> : <div className="tile-cover"><Avatar name={name} id={id} size="medium" /></div>}
      <p className="tile-name">
        {muted && <span className="tile-muted"><Icon name="micOff" size={16} /><span className="visually-hidden">{t.call.mutedSelf}</span></span>}
        <span>{t.call.self}</span>
      </p>
    </div>
  );
}
