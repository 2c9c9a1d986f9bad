import type { Page } from "@medmesh/client";
import { useCallback, useState } from "react";
import { useResource } from "./resource.ts";

export interface Pages<T> {
  readonly items: readonly T[];
  readonly error: unknown;
  readonly loading: boolean;
  /** Everything has been asked for and there is nothing. */
  readonly isEmpty: boolean;
  /** Loads the next page; absent at the end. */
  readonly more: (() => void) | null;
  /** Begins again from the first page. */
  reload(): Promise<void>;
}

/** Looks for something to show on this many pages at once: a page may hold nothing though there is a next one. */
const EMPTY_PAGES_MAX = 5;

/** A list that comes by pages. Another key is another list. */
export function usePages<T>(key: string, load: (cursor: string | undefined) => Promise<Page<T>>): Pages<T> {
  const filled = async (from: string | undefined): Promise<Page<T>> => {
    let page = await load(from);
    for (let turn = 1; page.items.length === 0 && page.next_cursor && turn < EMPTY_PAGES_MAX; turn += 1) page = await load(page.next_cursor);
    return page;
  };
  const first = useResource(key, () => filled(undefined));
  const [rest, setRest] = useState<{ key: string; items: readonly T[]; cursor: string | null; error: unknown }>({ key, items: [], cursor: null, error: null });
  const [loading, setLoading] = useState(false);
  const mine = rest.key === key && rest.items.length > 0 ? rest : null;
  const cursor = mine === null ? first.data?.next_cursor ?? null : mine.cursor;
  const items = [...(first.data?.items ?? []), ...(mine?.items ?? [])];

  const more = async (from: string) => {
    setLoading(true);
    try {
      const page = await filled(from);
      setRest({ key, items: [...(mine?.items ?? []), ...page.items], cursor: page.next_cursor ?? null, error: null });
    } catch (error) {
      setRest({ key, items: mine?.items ?? [], cursor: from, error });
    } finally {
      setLoading(false);
    }
  };
  const { reload: again } = first;
  const reload = useCallback(async () => {
    setRest({ key, items: [], cursor: null, error: null });
    await again();
  }, [key, again]);
  return {
    items, error: first.error ?? (rest.key === key ? rest.error : null), loading: first.loading || loading,
    isEmpty: first.data !== null && items.length === 0, more: cursor === null || loading ? null : () => void more(cursor), reload,
  };
}
