import type { Snapshot } from "../api/types";
import { useBoard } from "../lib/board";
import { isFresh } from "../lib/connection";
import { NOTHING } from "../lib/format";
import { DashSwatch } from "./Swatch";

/** The values of a panel now, one per variant; a dash where the newest snapshot is too old. */
export function Current({ tell }: { readonly tell: (snapshot: Snapshot) => string }) {
  const { variants, live, config, view, span } = useBoard();
  if (view.window) return null;
  return (
    <p className="flex min-h-5 flex-wrap gap-x-4 text-muted">
      {variants.map((variant) => {
        const snapshot = live.latest.get(variant);
        const text =
          snapshot && isFresh(snapshot.timestamp, span.end, config.scrape_interval)
            ? tell(snapshot)
            : NOTHING;
        return (
          <span key={variant} className="flex items-center gap-1.5">
            {variants.length > 1 && <DashSwatch index={config.variants.indexOf(variant)} />}
            <span className="sr-only">{variant}: </span>
            <span className="font-semibold text-ink">{text}</span>
          </span>
        );
      })}
    </p>
  );
}
