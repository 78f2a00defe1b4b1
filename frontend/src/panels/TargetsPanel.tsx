import { memo, type RefObject, useMemo, useRef } from "react";
import type { TargetReport } from "../api/types";
import { Panel, type PanelState } from "../components/Panel";
import { useIsSeen } from "../hooks/use-is-seen";
import type { Polled } from "../hooks/use-poll";
import { useChoices, useTargets } from "../lib/board";
import { formatCount, formatMs, NOTHING } from "../lib/format";
import { formatDuration } from "../lib/time";

export const TARGETS = "targets";

const MARKS = { up: "✓ up", down: "✗ down", unknown: "? unknown" } as const;
const COLOURS = { up: "text-good", down: "text-critical-ink", unknown: "text-muted" } as const;

/** Every target, and how its last scrape went. */
export function TargetsPanel() {
  const { live, variants } = useChoices();
  const polled = useTargets();
  const card = useRef<HTMLElement>(null);
  const isSeen = useIsSeen(card);
  // Times ago are those of the answer: counted on at every tick, they would have it laid out anew.
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  const now = useMemo(() => live.drawnAt, [live, polled.data]);
  // Out of sight, only another state is news: new times would have the page laid out for nobody.
  const told = useRef({ ...polled, now });
  if (isSeen || stateIn(polled) !== stateIn(told.current)) told.current = { ...polled, now };
  return <TargetsCard {...told.current} variants={variants} card={card} />;
}

/** How targets are, without when they were asked. */
function stateIn({ data, error }: Polled<readonly TargetReport[]>): string {
  const states = data?.map((t) => [t.url, t.variant, t.health, t.last_error, t.warning]);
  return JSON.stringify([states ?? null, error]);
}

interface Props extends Polled<readonly TargetReport[]> {
  readonly variants: readonly string[];
  readonly card: RefObject<HTMLElement | null>;
  readonly now: number;
}

const TargetsCard = memo(function TargetsCard(props: Props) {
  const { data, error, refresh, variants, card, now } = props;
  const shown = (data ?? []).filter(({ variant }) => variants.includes(variant));
  return (
    <Panel
      id={TARGETS}
      title="Targets"
      unit={
        data ? `${shown.filter(({ health }) => health === "up").length} of ${shown.length} up` : ""
      }
      card={card}
      isWide
      state={stateOf(data, error, refresh)}
    >
      <section
        className="scrolls min-h-16"
        aria-label="Targets, scrollable"
        tabIndex={0}
        data-scrolls
      >
        <table className="w-full min-w-[46rem] border-collapse text-left">
          <thead className="text-muted">
            <tr>
              {["address", "variant", "health", "last scrape", "took", "series", "remarks"].map(
                (title) => (
                  <th key={title} scope="col" className="px-2 py-1 font-medium">
                    {title}
                  </th>
                ),
              )}
            </tr>
          </thead>
          <tbody>
            {shown.map((target) => (
              <tr
                key={`${target.variant} ${target.url}`}
                className="border-t border-line align-top"
              >
                <td className="min-w-56 px-2 py-1 break-all">{target.url}</td>
                <td className="name min-w-24 px-2 py-1">{target.variant}</td>
                <td
                  className={`px-2 py-1 font-semibold whitespace-nowrap ${COLOURS[target.health]}`}
                >
                  {MARKS[target.health]}
                </td>
                <td className="px-2 py-1 whitespace-nowrap">{ago(target.last_scrape, now)}</td>
                <td className="px-2 py-1 whitespace-nowrap">
                  {formatMs(target.scrape_duration_ms)}
                </td>
                <td className="px-2 py-1">{formatCount(target.samples)}</td>
                <td className="px-2 py-1">
                  {[target.last_error, target.warning].filter(Boolean).join("; ") || NOTHING}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </Panel>
  );
});

function stateOf(data: unknown, error: string | null, refresh: () => void): PanelState {
  if (error !== null) return { kind: "failed", error, retry: refresh };
  return data === null ? { kind: "loading" } : { kind: "ready" };
}

function ago(time: string | null, now: number): string {
  return time === null ? "never" : `${formatDuration(now - Date.parse(time))} ago`;
}
