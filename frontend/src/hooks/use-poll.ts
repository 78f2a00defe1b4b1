import { useCallback, useEffect, useRef, useState } from "react";
import { retryDelayMs } from "../lib/connection";

export interface Polled<T> {
  readonly data: T | null;
  /** Why the last request failed; the data before stay. */
  readonly error: string | null;
  readonly refresh: () => void;
}

/**
 * Ask again and again while the page is seen, and after a failure sooner or later in any case. `key`
 * names the question: when it changes, the answer to the old one is thrown away when it comes, and
 * shown until the new one is there or has failed. Null asks for nothing (yet). An answer that is
 * not the first to its question can wait to be drawn: `later` says until when.
 */
export function usePoll<T>(
  key: string | null,
  ask: (signal: AbortSignal) => Promise<T>,
  everyMs: number | null,
  later: (change: () => void) => void = atOnce,
): Polled<T> {
  const [state, setState] = useState<Answer<T>>({ key: null, data: null, error: null });
  const [round, setRound] = useState(0);
  // Another pace holds from the next answer on.
  const latest = useRef({ ask, everyMs });
  latest.current = { ask, everyMs };

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new key or round asks anew
  useEffect(() => {
    if (key === null) return;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let failures = 0;
    let isFirst = true;
    const run = async () => {
      let waitMs: number | null;
      try {
        const data = await latest.current.ask(abort.signal);
        waitMs = latest.current.everyMs;
        failures = 0;
        const show = () => {
          if (!abort.signal.aborted)
            setState((before) => answered(before, { key, data, error: null }));
        };
        if (isFirst) show();
        else later(show);
        isFirst = false;
      } catch (error) {
        if (abort.signal.aborted) return;
        isFirst = true; // what follows a failure is awaited
        const retryMs = retryDelayMs(failures, Math.random());
        waitMs = Math.min(latest.current.everyMs ?? retryMs, retryMs);
        failures += 1;
        setState((before) => ({
          key,
          data: before.key === key ? before.data : null,
          error: String((error as Error).message),
        }));
      }
      if (waitMs !== null && !abort.signal.aborted) timer = setTimeout(next, waitMs);
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
  }, [key, round, later]);

  const { data, error } = state;
  return { data, error, refresh: useCallback(() => setRound((count) => count + 1), []) };
}

function atOnce(change: () => void): void {
  change();
}

interface Answer<T> {
  readonly key: string | null;
  readonly data: T | null;
  readonly error: string | null;
}

/** The newer of two answers, unless it leaves everything as it is: then nothing need be drawn. */
function answered<T>(before: Answer<T>, after: Answer<T>): Answer<T> {
  const isSame = before.key === after.key && before.error === null;
  return isSame && JSON.stringify(before.data) === JSON.stringify(after.data) ? before : after;
}
