/** Hearing and being heard before the visit: a level meter and a test sound. */

/** Fast enough to look alive, slow enough to cost nothing. */
const METER_INTERVAL_MS = 80;
/** Speech at arm's length reaches about this root mean square. */
const LOUD_RMS = 0.25;

/** Reports the level of a microphone track, 0–1, until stopped. */
export class LevelMeter {
  readonly #context = new AudioContext();
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(track: MediaStreamTrack, onLevel: (level: number) => void) {
    const analyser = this.#context.createAnalyser();
    analyser.fftSize = 1024;
    this.#context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.#timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      onLevel(levelOf(samples));
    }, METER_INTERVAL_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    void this.#context.close();
  }
}

/** Root mean square on a curve that follows the ear: quiet speech already moves the meter. */
export function levelOf(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return Math.min(1, Math.sqrt(Math.sqrt(sum / samples.length) / LOUD_RMS));
}

/** Three soft rising notes on the chosen speaker; resolves when they are over. */
export async function playTestSound(speaker?: string): Promise<void> {
  const context = new AudioContext();
  const withSink = context as AudioContext & { setSinkId?: (id: string) => Promise<void> };
  if (speaker !== undefined && speaker !== "" && withSink.setSinkId) await withSink.setSinkId(speaker).catch(() => undefined);
  const notes = [392, 493.88, 587.33];
  const length = 0.32;
  const last = notes.map((frequency, index) => {
    const start = context.currentTime + 0.05 + index * length * 0.8;
    const oscillator = new OscillatorNode(context, { type: "sine", frequency });
    const gain = new GainNode(context, { gain: 0 });
    gain.gain.setValueAtTime(0, start);
    gain.gain.linearRampToValueAtTime(0.22, start + 0.04);
    gain.gain.exponentialRampToValueAtTime(0.001, start + length);
    oscillator.connect(gain).connect(context.destination);
    oscillator.start(start);
    oscillator.stop(start + length);
    return oscillator;
  }).at(-1);
  await new Promise<void>((done) => {
    if (last === undefined) return done();
    last.onended = () => done();
  });
  await context.close();
}
