import { useLayoutEffect, useRef, useSyncExternalStore } from "react";
import { useChoices } from "../lib/board";
import type { Live } from "../lib/live";

/**
 * What `select` makes of a tick. React draws anew only at the ticks that make something else of it, so
 * it has to be a value that is compared as such: text, a number, a truth.
 */
export function useLive<T extends string | number | boolean | null>(select: (live: Live) => T): T {
  const { live } = useChoices();
  return useSyncExternalStore(live.subscribe, () => select(live));
}

/** Do something at every tick without React, and whenever React draws. */
export function useEachTick(act: (live: Live) => void): void {
  const { live } = useChoices();
  const latest = useRef(act);
  useLayoutEffect(() => {
    latest.current = act;
    act(live);
  });
  useLayoutEffect(() => live.subscribe(() => latest.current(live)), [live]);
}
