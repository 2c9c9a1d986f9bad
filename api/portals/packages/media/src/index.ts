export * from "./messages.ts";
export { Store } from "./store.ts";
export { VisitSession, type SessionState, type RemoteVideo, type Phase, type Signalling, type SessionGrant } from "./session.ts";
export { WhipError } from "./whip.ts";
export { WishBook } from "./wishes.ts";
export { STEPS, type Step, type Measurements } from "./timings.ts";
export type { CallReport } from "./report.ts";
export { LocalMedia, type LocalState, type DeviceFailure } from "./local.ts";
export { LevelMeter, playTestSound } from "./sound.ts";
