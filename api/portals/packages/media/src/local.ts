/** This person's own camera, microphone and screen: asked for one by one if need be, so that whoever has only one still joins. */
import type { Source } from "./messages.ts";
import { Store } from "./store.ts";

/** Why a device cannot be used, in the words of the help texts. */
export type DeviceFailure = "denied" | "missing" | "busy" | "unsupported" | "failed";

export interface DevicePreference {
  readonly microphone?: string;
  readonly camera?: string;
  readonly speaker?: string;
  /** Sends a smaller picture. */
  readonly saveData?: boolean;
}

export interface LocalState {
  readonly microphone: MediaStreamTrack | null;
  readonly camera: MediaStreamTrack | null;
  readonly screen: MediaStreamTrack | null;
  readonly muted: boolean;
  readonly starting: boolean;
  readonly microphoneFailure: DeviceFailure | null;
  readonly cameraFailure: DeviceFailure | null;
  readonly devices: readonly MediaDeviceInfo[];
  readonly preference: DevicePreference;
}

export type TrackListener = (source: Source, track: MediaStreamTrack | null, active: boolean) => void;

const AUDIO: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const FRAME_RATE = 30;

export class LocalMedia {
  readonly state: Store<LocalState>;
  onTrack: TrackListener | null = null;
  readonly #changed = () => void this.#listDevices();

  constructor(preference: DevicePreference = {}) {
    this.state = new Store<LocalState>({
      microphone: null, camera: null, screen: null, muted: false, starting: false,
      microphoneFailure: null, cameraFailure: null, devices: [], preference,
    });
    navigator.mediaDevices?.addEventListener("devicechange", this.#changed);
  }

  /** Opens what is there; both at once, so that the browser asks one question. */
  async start(): Promise<void> {
    if (this.state.get().starting) return;
    if (navigator.mediaDevices === undefined) {
      this.state.patch({ microphoneFailure: "unsupported", cameraFailure: "unsupported" });
      return;
    }
    this.state.patch({ starting: true });
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: this.#audio(), video: this.#video() });
      this.#take("mic", stream.getAudioTracks()[0] ?? null, null);
      this.#take("camera", stream.getVideoTracks()[0] ?? null, null);
    } catch {
      await this.#openMicrophone();
      await this.#openCamera();
    }
    await this.#listDevices();
    this.state.patch({ starting: false });
  }

  /** Unmuting asks for a microphone if there was none. */
  async setMuted(muted: boolean): Promise<void> {
    this.state.patch({ muted });
    const { microphone } = this.state.get();
    if (microphone !== null) microphone.enabled = !muted;
    this.onTrack?.("mic", microphone, !muted);
    if (!muted && microphone === null) await this.#openMicrophone();
  }

  /** Off means off: the device is released and its light goes out. */
  async setCamera(on: boolean): Promise<void> {
    if (on) await this.#openCamera();
    else this.#take("camera", null, null);
  }

  async select(kind: "microphone" | "camera" | "speaker", deviceId: string): Promise<void> {
    this.state.patch({ preference: { ...this.state.get().preference, [kind]: deviceId } });
    if (kind === "microphone") await this.#openMicrophone();
    if (kind === "camera") await this.#openCamera();
  }

  async setSaveData(saveData: boolean): Promise<void> {
    this.state.patch({ preference: { ...this.state.get().preference, saveData } });
    const { camera } = this.state.get();
    if (camera !== null) await camera.applyConstraints(this.#video()).catch(() => undefined);
  }

  /** `true` if a screen is being shared afterwards; declining in the browser's dialog is no failure. */
  async setScreen(on: boolean): Promise<boolean> {
    if (!on) {
      this.#take("screen", null, null);
      return false;
    }
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 15 } }, audio: false });
      const track = stream.getVideoTracks()[0] ?? null;
      this.#take("screen", track, null);
      return track !== null;
    } catch {
      return false;
    }
  }

  stop(): void {
    navigator.mediaDevices?.removeEventListener("devicechange", this.#changed);
    for (const source of ["mic", "camera", "screen"] as const) this.#take(source, null, null);
  }

  async #openMicrophone(): Promise<void> {
    await this.#open("mic", { audio: this.#audio() });
  }

  async #openCamera(): Promise<void> {
    await this.#open("camera", { video: this.#video() });
  }

  async #open(source: "mic" | "camera", constraints: MediaStreamConstraints): Promise<void> {
    try {
      const stream = await navigator.mediaDevices.getUserMedia(constraints);
      this.#take(source, stream.getTracks()[0] ?? null, null);
    } catch (error) {
      this.#take(source, null, failureOf(error));
    }
  }

  #take(source: Source, track: MediaStreamTrack | null, failure: DeviceFailure | null): void {
    const field = source === "mic" ? "microphone" : source;
    const before = this.state.get()[field];
    if (track !== null) {
      if ("contentHint" in track) track.contentHint = source === "mic" ? "speech" : source === "screen" ? "detail" : "motion";
      if (source === "mic") track.enabled = !this.state.get().muted;
      track.onended = () => this.#lost(source, track);
    }
    this.onTrack?.(source, track, source === "mic" ? !this.state.get().muted : track !== null);
    if (before !== null && before !== track) {
      before.onended = null;
      before.stop();
    }
    this.state.patch({ [field]: track } as Partial<LocalState>);
    if (source === "mic") this.state.patch({ microphoneFailure: failure });
    if (source === "camera") this.state.patch({ cameraFailure: failure });
  }

  /** Unplugged, or stopped from the browser's own bar. A lost camera or microphone is replaced by the next one, once. */
  #lost(source: Source, track: MediaStreamTrack): void {
    const field = source === "mic" ? "microphone" : source;
    if (this.state.get()[field] !== track) return;
    this.#take(source, null, source === "screen" ? null : "missing");
    if (source === "mic") void this.#openMicrophone();
    if (source === "camera") void this.#openCamera();
  }

  #audio(): MediaTrackConstraints {
    const { microphone } = this.state.get().preference;
    return microphone === undefined ? AUDIO : { ...AUDIO, deviceId: { ideal: microphone } };
  }

  #video(): MediaTrackConstraints {
    const { camera, saveData } = this.state.get().preference;
    const height = saveData ? 360 : 720;
    const size = { width: { ideal: (height * 16) / 9 }, height: { ideal: height }, frameRate: { ideal: FRAME_RATE, max: FRAME_RATE } };
    return camera === undefined ? size : { ...size, deviceId: { ideal: camera } };
  }

  async #listDevices(): Promise<void> {
    const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    // Before permission is given, entries have neither id nor label.
    this.state.patch({ devices: devices.filter((device) => device.deviceId !== "") });
  }
}

export function failureOf(error: unknown): DeviceFailure {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") return "denied";
  if (name === "NotFoundError" || name === "OverconstrainedError") return "missing";
  if (name === "NotReadableError" || name === "AbortError") return "busy";
  return "failed";
}
