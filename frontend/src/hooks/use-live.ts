import { useEffect } from "react";
import type { Live } from "../lib/live";

/** Keep the stream open, and closed while the page is paused. */
export function useStream(live: Live, isPaused: boolean): void {
  useEffect(() => {
    if (isPaused) return;
    live.open();
    return () => live.close();
  }, [live, isPaused]);
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
