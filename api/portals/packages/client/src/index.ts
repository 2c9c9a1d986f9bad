export * from "./types.ts";
export { ApiError, type ProblemCode } from "./problem.ts";
export { Transport } from "./transport.ts";
export { EventParser, type ServerEvent } from "./sse.ts";
export type { LiveHandlers } from "./live.ts";
export { ClinicApi, newIdempotencyKey } from "./clinic.ts";
export { AccountApi } from "./account.ts";
export { hasPasskeys, passkeyCreate, passkeyGet } from "./passkey.ts";
