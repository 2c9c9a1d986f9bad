/** The one offer of a visit: a fixed order of m-lines, so that people coming and going never renegotiates. */
import type { Source } from "./messages.ts";

/** Receive slots, as many as the room's largest visit needs. */
export const AUDIO_SLOTS = 6;
export const VIDEO_SLOTS = 6;

/** Simulcast of the camera, low to high; bitrates suit 180p, 360p and 720p VP8. */
const CAMERA_ENCODINGS: readonly RTCRtpEncodingParameters[] = [
  { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
];
/** A screen is mostly still; text needs the bits when it moves. */
const SCREEN_BITRATE_MAX = 2_500_000;

export interface Lines {
  readonly senders: Readonly<Record<Source, RTCRtpSender>>;
  readonly receivers: readonly RTCRtpTransceiver[];
}

/** Adds all m-lines to a new connection in the contract's order. The data channel's line comes last by itself. */
export function addLines(pc: RTCPeerConnection): Lines {
  const mic = pc.addTransceiver("audio", { direction: "sendonly" });
  const camera = pc.addTransceiver("video", { direction: "sendonly", sendEncodings: CAMERA_ENCODINGS.map((encoding) => ({ ...encoding })) });
  const screen = pc.addTransceiver("video", { direction: "sendonly", sendEncodings: [{ maxBitrate: SCREEN_BITRATE_MAX }] });
  const receivers: RTCRtpTransceiver[] = [];
  for (let slot = 0; slot < AUDIO_SLOTS; slot += 1) receivers.push(pc.addTransceiver("audio", { direction: "recvonly" }));
  for (let slot = 0; slot < VIDEO_SLOTS; slot += 1) receivers.push(pc.addTransceiver("video", { direction: "recvonly" }));
  for (const transceiver of [mic, camera, screen, ...receivers]) preferCommonCodec(transceiver);
  return { senders: { mic: mic.sender, camera: camera.sender, screen: screen.sender }, receivers };
}

/**
 * Opus and VP8 only: every WebRTC browser has them (RFC 7742, 7874), the edge never transcodes, and sixteen m-lines with
 * every codec the browser knows would make the offer ten times as long.
 */
function preferCommonCodec(transceiver: RTCRtpTransceiver): void {
  const kind = transceiver.receiver.track.kind;
  const wanted = kind === "audio" ? ["audio/opus"] : ["video/vp8", "video/rtx"];
  const all = RTCRtpReceiver.getCapabilities(kind)?.codecs ?? [];
  const chosen = wanted.flatMap((mime) => all.filter((codec) => codec.mimeType.toLowerCase() === mime));
  if (chosen.length > 0) transceiver.setCodecPreferences(chosen);
}
