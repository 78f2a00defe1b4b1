import { memo } from "react";
import { changeView } from "../hooks/use-view";
import { useChoices } from "../lib/board";
import { toggleSeries } from "../lib/view";
import { DashSwatch } from "./Swatch";

interface Props {
  readonly panel: string;
  readonly series: readonly {
    readonly id: string;
    readonly label: string;
    readonly colour: string;
  }[];
}

/** The series of a panel, to be switched off and on, and the line patterns of the variants. */
export const Legend = memo(function Legend({ panel, series }: Props) {
  const { view, variants, config } = useChoices();
  const ids = series.map(({ id }) => id);
  return (
    <ul
      className="mt-1 flex min-h-6 flex-wrap items-center gap-x-1 gap-y-0.5 text-xs"
      aria-label="Series"
    >
      {series.map(({ id, label, colour }) => {
        const isHidden = view.hidden.has(`${panel}:${id}`);
        return (
          <li key={id}>
            <button
              type="button"
              aria-pressed={!isHidden}
              title="Click to hide or show, Shift-click to show this one alone"
              className={`flex h-6 items-center gap-1.5 rounded px-1.5 hover:bg-raised ${isHidden ? "text-muted line-through" : ""}`}
              onClick={(event) =>
                changeView({
                  hidden: toggleSeries(view.hidden, panel, ids, id, event.shiftKey),
                })
              }
            >
              <span
                className={`swatch size-2.5 rounded-xs border ${isHidden ? "opacity-40" : ""}`}
                style={{
                  borderColor: colour,
                  backgroundColor: isHidden ? "transparent" : colour,
                }}
              />
              {label}
            </button>
          </li>
        );
      })}
      {variants.length > 1 &&
        variants.map((variant) => (
          <li key={variant} className="name ml-2 flex items-center gap-1.5 text-muted">
            <DashSwatch index={config.variants.indexOf(variant)} />
            {variant}
          </li>
        ))}
    </ul>
  );
});
