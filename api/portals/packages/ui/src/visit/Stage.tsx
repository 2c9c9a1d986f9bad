import type { LocalMedia, SessionState, VisitSession } from "@medmesh/media";
import { useMemo } from "react";
import { useAccount } from "../account/Gate.tsx";
import { useStore } from "../hooks/store.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { SelfTile, Tile, type TileModel } from "./Tile.tsx";

interface Props {
  readonly session: VisitSession;
  readonly media: LocalMedia;
  readonly nameOf: (participant: string) => string;
}

/** One tile for each picture of the others. It exists because the roster says so; the stream may come a moment later. */
export function tilesFrom(state: SessionState, nameOf: (participant: string) => string): TileModel[] {
  const streams = new Map(state.videos.map((video) => [video.key, video]));
  const tiles = state.roster.filter((entry) => entry.participant !== state.participant).flatMap(({ participant, tracks }) => {
    const isOn = (source: string) => tracks.some((track) => track.source === source && track.active);
    const tile = (source: "camera" | "screen"): TileModel => {
      const video = streams.get(`${participant}|${source}`);
      return {
        participant, source, name: nameOf(participant), on: isOn(source),
        stream: video?.stream ?? null, paused: video?.paused ?? false,
        muted: !isOn("mic"), speaking: state.speaker === participant,
      };
    };
    return isOn("screen") ? [tile("screen"), tile("camera")] : [tile("camera")];
  });
  return tiles.sort((a, b) => Number(b.source === "screen") - Number(a.source === "screen"));
}

export function Stage({ session, media, nameOf }: Props) {
  const { t } = useI18n();
  const account = useAccount();
  const state = useStore(session.state);
  const { camera, muted, microphone } = useStore(media.state);
  const own = useMemo(() => (camera === null ? null : new MediaStream([camera])), [camera]);
  const tiles = tilesFrom(state, nameOf);
  const screens = tiles.filter((tile) => tile.source === "screen");
  const layout = tiles.length === 0 ? "alone" : screens.length > 0 ? "screen" : tiles.length === 1 ? "one" : "grid";
  const self = (
    <SelfTile stream={own} muted={muted || microphone === null} name={account.session.person.display_name} id={account.session.person.id} large={tiles.length === 0} participant={state.participant} />
  );
  const key = (tile: TileModel) => `${tile.participant}|${tile.source}`;
  return (
    <section className="stage" aria-label={t.call.stage} data-layout={layout} data-count={tiles.length} data-testid="stage">
      {tiles.map((tile) => <Tile key={key(tile)} tile={tile} session={session} />)}
      {self}
      {layout === "alone" && (
        <div className="stage-alone">
          <p className="stage-alone-title">{t.call.alone}</p>
          <p className="stage-alone-hint">{t.call.aloneHint}</p>
        </div>
      )}
    </section>
  );
}
