import type { ChartSpec, Line } from "../chart/spec";
import type { PanelSpec } from "../panels/spec";
import { align, type Column, layOut, stack } from "./series";
import { dashOf, fade, type Theme } from "./theme";
import type { Span } from "./time";
import type { Timeline } from "./timeline";

/** Timelines of variants, with their places in the configuration: these decide on the dashes. */
export interface Source {
  readonly variant: string;
  readonly index: number;
  readonly timeline: Timeline;
  /** How far to move it in time: the window before lies over the one shown. */
  readonly shiftMs: number;
}

interface Options {
  readonly theme: Theme;
  readonly hidden: ReadonlySet<string>;
  readonly isLogarithmic: boolean;
}

/** A panel's chart: a line for each series and variant that is not hidden. */
export function chartOf(
  panel: PanelSpec,
  sources: readonly Source[],
  span: Span,
  { theme, hidden, isLogarithmic }: Options,
): ChartSpec {
  const series = panel
    .series(
      sources.map(({ timeline }) => timeline),
      theme,
    )
    .filter(({ id }) => !hidden.has(`${panel.id}:${id}`));
  const { x, rows } = align(
    sources.map(({ timeline }) => timeline),
    // With the row before it, a line comes in from the edge.
    span.start - Math.max(0, ...sources.map(({ timeline }) => timeline.stepMs)),
    sources.map(({ shiftMs }) => shiftMs),
  );
  const isLog = isLogarithmic && panel.canBeLogarithmic === true;
  const [lines, columns]: [Line[], Column[]] = [[], []];
  const front = Math.min(...sources.map(({ index }) => index));
  // Those of the window before lie beneath all others.
  const order = [...sources.keys()].sort(
    (a, b) => (sources[b]?.shiftMs ?? 0) - (sources[a]?.shiftMs ?? 0),
  );
  for (const i of order) {
    const source = sources[i];
    const places = rows[i];
    if (!source || !places) continue;
    const isBefore = source.shiftMs > 0;
    const wanted = isBefore
      ? series.filter(({ isCompared }) => isCompared)
      : series.filter(({ isOnlyCompared }) => !isOnlyCompared);
    const told = wanted.map(({ values }) => layOut(values(source.timeline), places));
    const stacked = wanted.some(({ isStacked }) => isStacked);
    const drawn = stacked ? stack(told) : told;
    const first = lines.length;
    wanted.forEach(({ colour, label, format, axis = "left", isFilled }, place) => {
      // Only the first variant has areas: two that lie over each other show neither.
      const isArea = source.index === front && !isBefore;
      lines.push({
        label,
        variant: source.variant,
        colour: isBefore ? fade(colour, 0.4) : colour,
        dash: dashOf(source.index),
        // The outline of an area would lie on those above it where there is nothing of its own.
        width: isArea && stacked ? 0 : isBefore ? 1 : 1.5,
        axis,
        fill: fillOf(colour, isArea && (stacked ? 0.85 : isFilled ? 0.12 : 0)),
        fillTo: stacked && place > 0 ? first + place - 1 : null,
        format,
        told: stacked ? (told[place] ?? []) : [],
        isBefore,
      });
      const column = drawn[place] ?? [];
      const outline = stacked && !isArea ? withoutZeros(column, told[place] ?? []) : column;
      columns.push(positive(outline, isLog));
    });
  }
  return {
    lines,
    data: [x, ...columns] as ChartSpec["data"],
    span,
    outages: placesOf(x, (place) => rows.every((row) => (row[place] ?? -1) < 0)),
    left: { ...panel.left, isLogarithmic: isLog },
    right: panel.right ?? null,
  };
}

function placesOf(x: readonly number[], isOne: (place: number) => boolean): ReadonlySet<number> {
  const places = new Set<number>();
  for (let place = 0; place < x.length; place += 1) if (isOne(place)) places.add(place);
  return places;
}

function fillOf(colour: string, alpha: number | false): string | null {
  return alpha ? fade(colour, alpha) : null;
}

/** The upper edge of a part of a stack, only where there is something of it. */
function withoutZeros(column: Column, part: Column): Column {
  return column.map((value, i) => (part[i] || part[i - 1] || part[i + 1] ? value : null));
}

/** A logarithmic axis has no place for zero. */
function positive(column: Column, isLogarithmic: boolean): Column {
  if (!isLogarithmic) return column;
  return column.map((value) => (value != null && value <= 0 ? null : value));
}
