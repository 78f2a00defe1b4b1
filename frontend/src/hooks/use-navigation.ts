import { useMemo, useRef } from "react";
import { useChoices } from "../lib/board";
import { lengthOf, MINUTE_MS, pan, rangeHolding, type Span } from "../lib/time";
import { spanOf, zoomTo } from "../lib/view";
import { changeView } from "./use-view";

/** Where there are only minutes left, less than this would be a chart of a dot or two. */
const SHORTEST_OLD_MS = 5 * MINUTE_MS;

/** A move by less than this share of the window is none. */
const LEAST_MOVE = 0.005;

export interface Navigation {
  readonly onZoom: (span: Span) => void;
  readonly onReset: () => void;
  /**
   * Move the window by a share of its length: to the past where it is negative. Where it comes to the
   * present, it goes on with it.
   */
  readonly onPan: (share: number) => void;
}

/** Ways to another window. */
export function useNavigation(): Navigation {
  const choices = useChoices();
  const latest = useRef(choices);
  latest.current = choices;
  const panned = useRef<Span | null>(null);
  return useMemo(
    () => ({
      onZoom: ({ start, end }) => {
        const { config, live } = latest.current;
        const isOld = start < live.now() - config.retention_5s * 1000;
        changeView({ window: zoomTo(start, end, isOld ? SHORTEST_OLD_MS : undefined) });
      },
      onReset: () => {
        if (latest.current.view.window) changeView({ window: null });
      },
      onPan: (share) => {
        const { view, config, live } = latest.current;
        const now = live.now();
        const span = spanOf(view, live.drawnAt);
        const oldest = now - Math.max(config.retention_1m, config.retention_5s) * 1000;
        const moved = pan(span, share, oldest, now);
        if (share > 0 && moved.end >= Math.floor(now)) {
          const range = rangeHolding(lengthOf(span));
          if (!span.isLive) changeView({ range, window: null, pausedAt: null });
          return;
        }
        // At the other end there is nowhere to go, but for the time that has passed meanwhile.
        if (Math.abs(moved.start - span.start) < LEAST_MOVE * lengthOf(span)) return;
        // Moving on and on is one step, but not one with what was looked at before.
        changeView({ window: moved }, view.window !== null && view.window === panned.current);
        panned.current = moved;
      },
    }),
    [],
  );
}
