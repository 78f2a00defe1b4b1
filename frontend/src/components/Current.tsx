import type { Snapshot } from "../api/types";
import { useChoices } from "../lib/board";
import { NOTHING } from "../lib/format";
import { LiveText } from "./LiveText";
import { DashSwatch } from "./Swatch";

interface Props {
  readonly tell: (snapshot: Snapshot) => string;
  /** Whether the panel is in sight. */
  readonly isSeen: boolean;
}

/** The values of a panel now, one per variant; a dash where the newest snapshot is too old. */
export function Current({ tell, isSeen }: Props) {
  const { variants, config, view } = useChoices();
  if (view.window) return null;
  return (
    <p className="flex min-h-5 flex-wrap gap-x-4 text-muted">
      {variants.map((variant) => (
        <span key={variant} className="flex items-center gap-1.5">
          {variants.length > 1 && <DashSwatch index={config.variants.indexOf(variant)} />}
          <span className="sr-only">{variant}: </span>
          <span className="font-semibold text-ink">
            <LiveText
              isSeen={isSeen}
              tell={(live) => {
                const snapshot = live.fresh(variant, view.pausedAt);
                return snapshot ? tell(snapshot) : NOTHING;
              }}
            />
          </span>
        </span>
      ))}
    </p>
  );
}
