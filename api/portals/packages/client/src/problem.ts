/** RFC 9457 problem documents as one error type, so that every caller can switch on `code`. */

/** Codes the portals act on; the server may send others. `network` and `timeout` are the browser's own. */
export type ProblemCode =
  | "network"
  | "timeout"
  | "invalid_request"
  | "unauthenticated"
  | "login_failed"
  | "forbidden"
  | "csrf_refused"
  | "step_up_required"
  | "not_found"
  | "slot_taken"
  | "request_in_flight"
  | "state_conflict"
  | "not_admitted"
  | "visit_full"
  | "stale_epoch"
  | "token_refused"
  | "version_mismatch"
  | "rate_limited"
  | "unavailable"
  | (string & {});

export class ApiError extends Error {
  override readonly name = "ApiError";
  constructor(
    /** HTTP status, 0 when no answer came. */
    readonly status: number,
    readonly code: ProblemCode,
    title: string,
    readonly details: unknown = null,
    readonly requestId: string | null = null,
    /** Seconds the server asked to wait (`Retry-After`). */
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(title);
  }

  /** True if the same request, with the same Idempotency-Key, may succeed later. */
  get isPassing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500 || this.code === "request_in_flight";
  }
}

/** Reads an error answer; an answer that is no problem document becomes one with the code `http_<status>`. */
export async function problemFrom(response: Response): Promise<ApiError> {
  const retryAfter = Number(response.headers.get("Retry-After") ?? Number.NaN);
  const wait = Number.isFinite(retryAfter) ? retryAfter : null;
  let body: unknown = null;
  try {
    body = await response.json();
  } catch {
    // Not JSON: a proxy's page, say. The status alone decides.
  }
  if (typeof body !== "object" || body === null || !("code" in body) || typeof body.code !== "string") {
    return new ApiError(response.status, `http_${response.status}`, response.statusText || "Request failed", null, null, wait);
  }
  const problem = body as { code: string; title?: string; message?: string; details?: unknown; request_id?: string };
  return new ApiError(
    response.status,
    problem.code,
    problem.message ?? problem.title ?? problem.code,
    problem.details ?? null,
    problem.request_id ?? null,
    wait,
  );
}
