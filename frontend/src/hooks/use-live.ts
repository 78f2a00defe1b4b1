import { useEffect } from "react";
import { fetchColumns, snapshotsOf } from "../api/client";
import type { Config } from "../api/types";
import type { Live } from "../lib/live";
import { FIELD_GROUPS } from "../panels/spec";

/** In so many ticks there is a snapshot, or there is none of that time. */
const RECENT_TICKS = 4;

/** Keep the stream open, and closed while the page is paused. */
export function useStream(live: Live, isPaused: boolean): void {
  useEffect(() => {
    if (isPaused) return;
    live.open();
    return () => live.close();
  }, [live, isPaused]);
}

/** Where a page is opened paused, or has a newer snapshot than its pause: those of that time. */
export function usePausedSnapshots(live: Live, config: Config, pausedAt: number | null): void {
  useEffect(() => {
    const newest = live.newest();
    if (pausedAt === null || (newest !== null && newest <= pausedAt)) return;
    const abort = new AbortController();
    const start = Math.floor(pausedAt - RECENT_TICKS * config.scrape_interval * 1000);
    const slice = { start: Math.max(0, start), end: pausedAt, points: null };
    fetchColumns(slice, null, FIELD_GROUPS.numbers, abort.signal)
      .then((columns) =>
        live.seed(
          [...columns].flatMap(([variant, one]) =>
            [...snapshotsOf(variant, one, FIELD_GROUPS.numbers)].slice(-1),
          ),
        ),
      )
      // The charts ask too, and say what is wrong.
      .catch(() => undefined);
    return () => abort.abort();
  }, [live, config, pausedAt]);
}

/** Draw now and then where nothing comes: an outage grows, and so does the gap in the charts. */
export function useClock(live: Live, intervalS: number): void {
  useEffect(() => {
    let seen = live.tick;
    const look = () => {
      if (live.tick === seen) live.changed();
      seen = live.tick;
    };
    const timer = setInterval(look, Math.max(1000, intervalS * 1500));
    return () => clearInterval(timer);
  }, [live, intervalS]);
}
