import { Fragment, useMemo } from "react";
import type { Summary } from "../api/types";
import { useLive } from "../hooks/use-tick";
import { type Board, useBoard, useChoices } from "../lib/board";
import type { Level } from "../lib/level";
import {
  compareTotals,
  type Reading,
  readingOf,
  sparkPath,
  sparkStep,
  TILES,
  type TileSpec,
  thin,
} from "../lib/tiles";
import { lengthOf } from "../lib/time";
import { usePhase, useShownSpan } from "./ChartPanel";
import { ErrorBoundary } from "./ErrorBoundary";
import { LiveText } from "./LiveText";
import { DashSwatch } from "./Swatch";

/** The numbers that matter, each for every variant. */
export function Tiles() {
  const { variants } = useChoices();
  return (
    <section aria-label="Key figures">
      <div className="tiles">
        {TILES.map((tile) => (
          <ErrorBoundary key={tile.id} name={tile.title}>
            <Tile tile={tile} />
          </ErrorBoundary>
        ))}
        {variants.length > 1 && <Comparison />}
      </div>
    </section>
  );
}

function Tile({ tile }: { readonly tile: TileSpec }) {
  const { variants } = useChoices();
  return (
    <article data-tile={tile.id} aria-label={tile.title} className="min-w-0 card px-3 py-2">
      <h2 className="text-xs font-medium text-muted">{tile.title}</h2>
      {variants.map((variant) => (
        <TileRow key={variant} tile={tile} variant={variant} />
      ))}
    </article>
  );
}

/** What a variant's tiles tell of: now, or when it was paused, or the whole of a window. */
function readingFor(board: Board, variant: string): Reading | null {
  if (board.view.window) return board.summaries?.get(variant) ?? null;
  const snapshot = board.live.fresh(variant, board.view.pausedAt);
  return snapshot && readingOf(snapshot);
}

function TileRow({ tile, variant }: { readonly tile: TileSpec; readonly variant: string }) {
  const board = useBoard();
  const { variants, config, summaries } = board;
  const index = config.variants.indexOf(variant);
  const [first, ...others] = tile.values;
  const level = useLive(() => {
    const reading = tile.level && readingFor(board, variant);
    return (reading && tile.level?.(reading)) ?? "ok";
  });
  const figure = ({ of, format }: TileSpec["values"][number]) => (
    <LiveText
      tell={() => {
        const reading = readingFor(board, variant);
        return format(reading && of(reading));
      }}
    />
  );
  return (
    <div className="relative mt-1" data-variant={variant}>
      {variants.length > 1 && (
        <p className="name flex items-center gap-1.5 text-[11px] text-muted">
          <DashSwatch index={index} />
          {variant}
        </p>
      )}
      <div className="flex min-h-7 items-baseline gap-x-2">
        {first && (
          <span className="text-xl font-semibold whitespace-nowrap">
            {first.label && (
              <span className="text-[11px] font-normal text-muted">{first.label} </span>
            )}
            {figure(first)}
          </span>
        )}
        {others.map((value) => (
          <span key={value.label} className="text-[13px] whitespace-nowrap">
            <span className="text-[11px] text-muted">{value.label} </span>
            {figure(value)}
          </span>
        ))}
        {/* Where nothing has to make room for it: beside the variant's name, or the tile's. */}
        <LevelBadge level={level} className={variants.length > 1 ? "top-0" : "-top-5"} />
      </div>
      <div className="flex items-center justify-between gap-2">
        <Change tile={tile} summary={summaries?.get(variant)} />
        <Spark tile={tile} variant={variant} />
      </div>
    </div>
  );
}

const LEVELS = {
  ok: { words: "", look: "" },
  warning: { words: "▲ high", look: "bg-warning text-warning-ink" },
  critical: { words: "‼ critical", look: "bg-critical text-critical-ink" },
} as const;

/** A place for a word, which is there without one too: it may come and go with every tick. */
function LevelBadge({ level, className }: { readonly level: Level; readonly className: string }) {
  const { words, look } = LEVELS[level];
  return (
    <span
      className={`absolute right-0 ${className} live-box h-4 w-[4.5rem] rounded text-center text-[11px]/4 font-semibold ${look}`}
    >
      {words}
    </span>
  );
}

function Change({
  tile,
  summary,
}: {
  readonly tile: TileSpec;
  readonly summary: Summary | undefined;
}) {
  const change = summary && tile.change(summary, summary.previous);
  return (
    <span
      className="text-[11px] whitespace-nowrap text-muted"
      title="This window against the equally long one before"
    >
      {change ? `${change} vs before` : " "}
    </span>
  );
}

const [SPARK_WIDTH, SPARK_HEIGHT] = [96, 20];

function Spark({ tile, variant }: { readonly tile: TileSpec; readonly variant: string }) {
  const { histories, colours, config, question } = useBoard();
  const timeline = histories.numbers.timelines.get(variant);
  const phaseMs = usePhase(histories.numbers, TILES.indexOf(tile));
  const shown = useShownSpan(histories.numbers, phaseMs);
  const lengthMs = lengthOf(shown);
  const stepMs = sparkStep(lengthMs, timeline?.stepMs ?? 1);
  const version = useLive(() => timeline?.version(phaseMs, stepMs) ?? null);
  // What comes live is drawn when there is another point of it, not before.
  const last = (shown.end - phaseMs) / stepMs;
  const end = question.end === null ? Math.floor(last) * stepMs + phaseMs : shown.end;
  // biome-ignore lint/correctness/useExhaustiveDependencies: values change with the version only
  const path = useMemo(() => {
    if (!timeline) return "";
    const window = { start: end - lengthMs, end };
    const seconds = tile.isRate ? timeline.numbers("elapsed_s") : null;
    const points = thin(timeline.times, tile.spark(timeline), seconds, window, stepMs);
    return sparkPath(points, SPARK_WIDTH, SPARK_HEIGHT);
  }, [timeline, version, tile, end, lengthMs, stepMs]);
  const isDashed = config.variants.indexOf(variant) > 0;
  return (
    // A picture that is an item of a flex box itself has all of the page laid out when it changes.
    <div className="h-5 w-24 shrink">
      <svg
        aria-hidden="true"
        className="block size-full overflow-visible"
        viewBox={`0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`}
        preserveAspectRatio="none"
      >
        <path
          d={path}
          fill="none"
          stroke={colours.blue}
          strokeWidth="1.3"
          strokeLinecap="round"
          strokeDasharray={isDashed ? "3 2" : undefined}
          vectorEffect="non-scaling-stroke"
        />
      </svg>
    </div>
  );
}

/** The other variants beside the first one, over the whole window. */
function Comparison() {
  const { summaries, variants } = useBoard();
  const [first, ...others] = variants;
  if (first === undefined) return null;
  return (
    <aside aria-label="Comparison of variants" className="card px-3 py-2 min-[140rem]:col-span-7">
      {others.map((variant) => {
        const parts = compareTotals(summaries?.get(variant), summaries?.get(first));
        return (
          <section key={variant} className="mb-1">
            <h2 className="name text-xs font-medium text-muted">
              {variant} against {first}
            </h2>
            <dl className="mt-1 grid grid-cols-[auto_1fr] gap-x-3 min-[140rem]:flex min-[140rem]:gap-x-2">
              {parts.map(({ what, change }) => (
                <Fragment key={what}>
                  <dt className="text-muted">{what}</dt>
                  <dd className="font-semibold min-[140rem]:mr-6">{change}</dd>
                </Fragment>
              ))}
            </dl>
          </section>
        );
      })}
    </aside>
  );
}
