import { DayOfVisits, type Visit } from "@medmesh/client";
import { useMemo } from "react";
import { useAccount } from "../account/Gate.tsx";
import { type Resource, useResource } from "./resource.ts";

/** The visits of a day (`YYYY-MM-DD`; today without), looked at every `everyMs` and read where they changed. */
export function useDay(day: string | undefined, key: string, everyMs: number): Resource<readonly Visit[]> {
  const { api } = useAccount();
  // Another key is another list, which is read from the start.
  const visits = useMemo(() => ({ key, list: new DayOfVisits(api, day) }), [api, day, key]);
  return useResource(key, () => visits.list.look(), everyMs);
}
