import { useCallback, useEffect, useRef, useState } from "react";

export interface Resource<T> {
  readonly data: T | null;
  readonly error: unknown;
  readonly loading: boolean;
  /** Loads again; the present data stays until the new is there. */
  reload(): Promise<void>;
  /** Takes a newer value that came another way. */
  replace(data: T): void;
}

/** Whoever comes back to a page after this long looks at it anew; who only glanced elsewhere reads no record twice. */
const STALE_MS = 60_000;

/** Loads once per `key`, then every `everyMs` while the page is visible, and when it becomes visible and is not fresh. */
export function useResource<T>(key: string, load: () => Promise<T>, everyMs = 0): Resource<T> {
  const [state, setState] = useState<{ key: string; data: T | null; error: unknown; loading: boolean }>({ key, data: null, error: null, loading: true });
  const loader = useRef(load);
  loader.current = load;
  const latest = useRef(0);
  const loadedAt = useRef(0);

  const reload = useCallback(async () => {
    const turn = (latest.current += 1);
    loadedAt.current = Date.now();
    try {
      const data = await loader.current();
      if (turn === latest.current) setState({ key, data, error: null, loading: false });
    } catch (error) {
      if (turn === latest.current) setState((before) => ({ key, data: before.key === key ? before.data : null, error, loading: false }));
    }
  }, [key]);

  useEffect(() => {
    setState((before) => (before.key === key ? before : { key, data: null, error: null, loading: true }));
    void reload();
    const again = () => { if (document.visibilityState === "visible") void reload(); };
    const back = () => { if (everyMs > 0 || Date.now() - loadedAt.current >= STALE_MS) again(); };
    const timer = everyMs > 0 ? setInterval(again, everyMs) : undefined;
    document.addEventListener("visibilitychange", back);
    return () => {
      latest.current += 1;
      clearInterval(timer);
      document.removeEventListener("visibilitychange", back);
    };
  }, [key, everyMs, reload]);

  const replace = useCallback((data: T) => {
    latest.current += 1;
    setState({ key, data, error: null, loading: false });
  }, [key]);

  const current = state.key === key ? state : { data: null, error: null, loading: true };
  return { data: current.data, error: current.error, loading: current.loading, reload, replace };
}
