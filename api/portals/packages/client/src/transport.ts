/** One place where requests leave the portal: same origin, cookie session, CSRF header, problem errors, time limits. */
import { ApiError, problemFrom } from "./problem.ts";

/** Longer than any handler's own limit, shorter than a person's patience. */
const REQUEST_TIMEOUT_MS = 10_000;
/** The longest that a handler may take until its answer begins, and time for a slow line. */
const FILE_TIMEOUT_MS = 60_000;
/** Attempts of a request that may be repeated; an outage longer than that is the person's to decide about. */
const ATTEMPTS_MAX = 4;
const BACKOFF_BASE_MS = 250;

/** Of requests that no person caused. */
export const BACKGROUND = { "Medmesh-Background": "1" } as const;

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

export interface RequestOptions {
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
  /** Makes the request safe to repeat: passing failures are retried with the same key. */
  readonly idempotencyKey?: string;
  readonly ifMatch?: string;
  /** The request says where something shall be, not what shall be added: it may be repeated without a key. */
  readonly repeatable?: boolean;
  /** What it is for; the service then goes by the rules for that alone, and says so in the audit log. */
  readonly purpose?: "emergency";
  /** The page asks by itself: the session's idle time goes on. */
  readonly background?: boolean;
  readonly signal?: AbortSignal;
}

export interface Answer<T> {
  readonly data: T;
  readonly etag: string | null;
}

export class Transport {
  #csrf: string | null = null;
  /** Called once per request that was refused because the session has ended. */
  onSignedOut: (() => void) | null = null;
  /** Called when a request wants a proof that is only minutes old; answers whether one was given, and the request is sent again. */
  onStepUp: (() => Promise<boolean>) | null = null;
  #proof: Promise<boolean> | null = null;

  constructor(
    private readonly base: string = "",
    private readonly fetcher: typeof fetch = (input, init) => fetch(input, init),
    private readonly pause: (ms: number) => Promise<void> = (ms) => new Promise((done) => setTimeout(done, ms)),
  ) {}

  setCsrf(token: string | null): void {
    this.#csrf = token;
  }

  async request<T>(method: Method, path: string, options: RequestOptions = {}): Promise<Answer<T>> {
    return this.#proved(() => this.#persist<T>(method, path, options));
  }

  /** A file, whatever its type. Tried once: copies are large, and each is an entry in the audit log. */
  async file(path: string, query: RequestOptions["query"]): Promise<Blob> {
    return this.#proved(async () => {
      const signal = AbortSignal.timeout(FILE_TIMEOUT_MS);
      const response = await this.open(`${path}${queryText(query)}`, {}, signal);
      return response.blob();
    });
  }

  async #proved<T>(send: () => Promise<T>): Promise<T> {
    try {
      return await send();
    } catch (error) {
      const wantsProof = error instanceof ApiError && error.code === "step_up_required";
      if (!wantsProof || !(await this.#prove())) throw error;
      return send();
    }
  }

  /** One proof serves every request that waits for it. */
  #prove(): Promise<boolean> {
    if (this.onStepUp === null) return Promise.resolve(false);
    this.#proof ??= this.onStepUp().finally(() => { this.#proof = null; });
    return this.#proof;
  }

  async #persist<T>(method: Method, path: string, options: RequestOptions): Promise<Answer<T>> {
    const repeatable = method === "GET" || options.repeatable === true || options.idempotencyKey !== undefined;
    const attempts = repeatable ? ATTEMPTS_MAX : 1;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#once<T>(method, path, options);
      } catch (error) {
        const again = error instanceof ApiError && error.isPassing && attempt < attempts && !options.signal?.aborted;
        if (!again) throw error;
        const wait = (error.retryAfterSeconds ?? 0) * 1000 || BACKOFF_BASE_MS * 2 ** (attempt - 1);
        await this.pause(wait * (0.75 + Math.random() / 2));
      }
    }
  }

  /** The raw answer, for streams. Throws `ApiError` on anything but 2xx. */
  async open(path: string, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
    const response = await this.#send(`${this.base}${path}`, { method: "GET", headers, signal, cache: "no-store" });
    if (!response.ok) throw await this.#refusal(response);
    return response;
  }

  async #once<T>(method: Method, path: string, options: RequestOptions): Promise<Answer<T>> {
    const headers: Record<string, string> = { Accept: "application/json" };
    if (options.body !== undefined) headers["Content-Type"] = "application/json";
    if (options.idempotencyKey !== undefined) headers["Idempotency-Key"] = options.idempotencyKey;
    if (options.ifMatch !== undefined) headers["If-Match"] = options.ifMatch;
    if (options.purpose !== undefined) headers["X-Purpose-Of-Use"] = options.purpose;
    if (options.background === true) Object.assign(headers, BACKGROUND);
    if (method !== "GET" && this.#csrf !== null) headers["X-CSRF-Token"] = this.#csrf;
    const limit = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const init: RequestInit = {
      method,
      headers,
      credentials: "same-origin",
      cache: "no-store",
      signal: options.signal ? AbortSignal.any([options.signal, limit]) : limit,
    };
    if (options.body !== undefined) init.body = JSON.stringify(options.body);
    const response = await this.#send(`${this.base}${path}${queryText(options.query)}`, init);
    if (!response.ok) throw await this.#refusal(response);
    const text = await response.text();
    const data = (text === "" ? undefined : JSON.parse(text)) as T;
    return { data, etag: response.headers.get("ETag") };
  }

  async #send(url: string, init: RequestInit): Promise<Response> {
    try {
      return await this.fetcher(url, init);
    } catch (error) {
      if (error instanceof DOMException && error.name === "TimeoutError") throw new ApiError(0, "timeout", "No answer in time");
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new ApiError(0, "network", "The service cannot be reached");
    }
  }

  async #refusal(response: Response): Promise<ApiError> {
    const error = await problemFrom(response);
    if (error.code === "unauthenticated") this.onSignedOut?.();
    return error;
  }
}

function queryText(query: RequestOptions["query"]): string {
  const pairs = Object.entries(query ?? {}).filter((pair): pair is [string, string | number] => pair[1] !== undefined);
  if (pairs.length === 0) return "";
  return `?${new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString()}`;
}
