/** `getStats` boiled down to numbers for the statistics panel and for tests. */

export interface InboundVideo {
  readonly slot_mid: number;
  readonly frames_decoded: number;
  readonly frames_per_second: number;
  readonly height_px: number;
  readonly freezes: number;
}

export interface CallReport {
  readonly rtt_ms: number | null;
  readonly send_bps: number | null;
  readonly receive_bytes: number;
  readonly send_bytes: number;
  readonly packets_lost: number;
  /** The selected path goes through a relay. */
  readonly relayed: boolean;
  readonly video: readonly InboundVideo[];
  /** Lost is what is missing in the sequence of what came: every hop keeps its numbers. */
  readonly audio: readonly { readonly slot_mid: number; readonly energy: number; readonly packets_received: number; readonly packets_lost: number }[];
  readonly audio_packets_sent: number;
}

type Entry = Record<string, unknown>;

const number = (value: unknown): number => (typeof value === "number" ? value : 0);

export function summarise(stats: Iterable<Entry>): CallReport {
  const entries = [...stats];
  const byId = new Map(entries.map((entry) => [entry["id"], entry]));
  const transport = entries.find((entry) => entry["type"] === "transport");
  const pair = byId.get(transport?.["selectedCandidatePairId"]) ?? {};
  const local = byId.get(pair["localCandidateId"]) ?? {};
  const inbound = entries.filter((entry) => entry["type"] === "inbound-rtp");
  const outbound = entries.filter((entry) => entry["type"] === "outbound-rtp");
  const videos = inbound.filter((entry) => entry["kind"] === "video" && number(entry["framesDecoded"]) > 0);
  const audios = inbound.filter((entry) => entry["kind"] === "audio" && number(entry["packetsReceived"]) > 0);
  const rtt = pair["currentRoundTripTime"];
  const estimate = pair["availableOutgoingBitrate"];
  return {
    rtt_ms: typeof rtt === "number" ? Math.round(rtt * 1000) : null,
    send_bps: typeof estimate === "number" ? Math.round(estimate) : null,
    receive_bytes: number(pair["bytesReceived"]),
    send_bytes: number(pair["bytesSent"]),
    packets_lost: inbound.reduce((sum, entry) => sum + number(entry["packetsLost"]), 0),
    relayed: local["candidateType"] === "relay",
    video: videos.map((entry) => ({
      slot_mid: Number(entry["mid"]),
      frames_decoded: number(entry["framesDecoded"]),
      frames_per_second: number(entry["framesPerSecond"]),
      height_px: number(entry["frameHeight"]),
      freezes: number(entry["freezeCount"]),
    })),
    audio: audios.map((entry) => ({
      slot_mid: Number(entry["mid"]),
      energy: number(entry["totalAudioEnergy"]),
      packets_received: number(entry["packetsReceived"]),
      packets_lost: number(entry["packetsLost"]),
    })),
    audio_packets_sent: outbound.filter((entry) => entry["kind"] === "audio").reduce((sum, entry) => sum + number(entry["packetsSent"]), 0),
  };
}
