import { useCallback, useEffect, useRef, useState } from "react";

export interface Polled<T> {
  readonly data: T | null;
  /** Why the last request failed; the data before stay. */
  readonly error: string | null;
  readonly refresh: () => void;
}

/**
 * Ask again and again while the page is seen. `key` names the question: when it changes, the
 * answer to the old one is thrown away when it comes, and shown until the new one is there. Null
 * asks for nothing (yet).
 */
export function usePoll<T>(
  key: string | null,
  ask: (signal: AbortSignal) => Promise<T>,
  everyMs: number | null,
): Polled<T> {
  const [state, setState] = useState<{ data: T | null; error: string | null }>({
    data: null,
    error: null,
  });
  const [round, setRound] = useState(0);
  const latest = useRef(ask);
  latest.current = ask;

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new key or round asks anew
  useEffect(() => {
    if (key === null) return;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const run = async () => {
      try {
        const data = await latest.current(abort.signal);
        if (!abort.signal.aborted)
          setState((before) => (tellsSame(before, data) ? before : { data, error: null }));
      } catch (error) {
        if (abort.signal.aborted) return;
        setState(({ data }) => ({ data, error: String((error as Error).message) }));
      }
      if (everyMs !== null && !abort.signal.aborted) timer = setTimeout(next, everyMs);
    };
    const next = () => {
      if (document.visibilityState === "visible") void run();
      else document.addEventListener("visibilitychange", next, { once: true });
    };
    void run();
    return () => {
      abort.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", next);
    };
  }, [key, everyMs, round]);

  return { ...state, refresh: useCallback(() => setRound((count) => count + 1), []) };
}

/** Whether an answer leaves everything as it is: then nothing need be drawn. */
function tellsSame<T>(before: { data: T | null; error: string | null }, data: T): boolean {
  return before.error === null && JSON.stringify(before.data) === JSON.stringify(data);
}
