import { useCallback, useState } from "react";

export interface Attempt {
  readonly busy: boolean;
  readonly error: unknown;
  /** Runs the work; what it throws becomes `error`. Answers whether it went well. */
  attempt(work: () => Promise<void>): Promise<boolean>;
  clear(): void;
}

/** One thing at a time that somebody asked for, and how it went. */
export function useAttempt(): Attempt {
  const [state, setState] = useState<{ busy: boolean; error: unknown }>({ busy: false, error: null });
  const attempt = useCallback(async (work: () => Promise<void>) => {
    setState({ busy: true, error: null });
    try {
      await work();
      setState({ busy: false, error: null });
      return true;
    } catch (error) {
      setState({ busy: false, error });
      return false;
    }
  }, []);
  const clear = useCallback(() => setState({ busy: false, error: null }), []);
  return { ...state, attempt, clear };
}
