/** JSON text messages on the data channel `control`: parsed at the border, trusted inside. Unknown types are ignored. */

export const SOURCES = ["mic", "camera", "screen"] as const;
export type Source = (typeof SOURCES)[number];
export type VideoSource = Exclude<Source, "mic">;

export interface RosterEntry {
  readonly participant: string;
  readonly tracks: readonly { readonly source: Source; readonly active: boolean }[];
}

export interface Slot {
  readonly mid: string;
  readonly participant: string;
  readonly source: Source;
}

export type QualityState = "good" | "fair" | "poor" | "audio_only";

export interface Quality {
  readonly estimate_bps: number;
  readonly loss_ratio: number;
  readonly rtt_ms: number;
  readonly state: QualityState;
}

export type ServerMessage =
  | { readonly type: "welcome"; readonly participant: string; readonly room: string; readonly epoch: number; readonly heartbeat_ms: number }
  | { readonly type: "roster"; readonly participants: readonly RosterEntry[] }
  | { readonly type: "slots"; readonly audio: readonly (Slot | null)[]; readonly video: readonly (Slot | null)[] }
  | { readonly type: "speaker"; readonly participant: string | null }
  | { readonly type: "layer"; readonly slot: number; readonly rid: string | null; readonly reason: "bandwidth" | "layout" | "paused" }
  | ({ readonly type: "quality" } & Quality)
  | { readonly type: "pong"; readonly t: number }
  | { readonly type: "migrate"; readonly reason: string }
  | { readonly type: "ended"; readonly reason: string }
  | { readonly type: "error"; readonly code: string; readonly message: string };

export interface Wish {
  readonly participant: string;
  readonly source: VideoSource;
  /** Height in device pixels at which it is shown. */
  readonly height: number;
}

export type ClientMessage =
  | { readonly type: "ping"; readonly t: number }
  | { readonly type: "source"; readonly source: Source; readonly active: boolean }
  | { readonly type: "wish"; readonly video: readonly Wish[] }
  | { readonly type: "leave" };

/** The contract's limit for one message in either direction. */
const MESSAGE_BYTES_MAX = 16 * 1024;

type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string => typeof value === "string";
const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const isTextOrNull = (value: unknown): value is string | null => value === null || isText(value);
const isSource = (value: unknown): value is Source => (SOURCES as readonly unknown[]).includes(value);
const isSlot = (value: unknown): value is Slot | null =>
  value === null || (isObject(value) && isText(value["mid"]) && isText(value["participant"]) && isSource(value["source"]));
const isTrack = (value: unknown): boolean => isObject(value) && isSource(value["source"]) && typeof value["active"] === "boolean";
const isEntry = (value: unknown): boolean =>
  isObject(value) && isText(value["participant"]) && Array.isArray(value["tracks"]) && value["tracks"].every(isTrack);
const areSlots = (value: unknown): boolean => Array.isArray(value) && value.every(isSlot);

const SHAPES: Record<ServerMessage["type"], (message: Json) => boolean> = {
  welcome: (m) => isText(m["participant"]) && isText(m["room"]) && isNumber(m["epoch"]) && isNumber(m["heartbeat_ms"]),
  roster: (m) => Array.isArray(m["participants"]) && m["participants"].every(isEntry),
  slots: (m) => areSlots(m["audio"]) && areSlots(m["video"]),
  speaker: (m) => isTextOrNull(m["participant"]),
  layer: (m) => isNumber(m["slot"]) && isTextOrNull(m["rid"]) && isText(m["reason"]),
  quality: (m) => isNumber(m["estimate_bps"]) && isNumber(m["loss_ratio"]) && isNumber(m["rtt_ms"]) && isText(m["state"]),
  pong: (m) => isNumber(m["t"]),
  migrate: (m) => isText(m["reason"]),
  ended: (m) => isText(m["reason"]),
  error: (m) => isText(m["code"]) && isText(m["message"]),
};

/** A known, well-shaped message, or `null`. */
export function parseServerMessage(text: unknown): ServerMessage | null {
  if (!isText(text) || text.length > MESSAGE_BYTES_MAX) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isObject(value) || !isText(value["type"]) || !Object.hasOwn(SHAPES, value["type"])) return null;
  return SHAPES[value["type"] as ServerMessage["type"]](value) ? (value as unknown as ServerMessage) : null;
}
