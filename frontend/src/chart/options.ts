import type uPlot from "uplot";
import { trimZeros } from "../lib/format";
import { isolated } from "../lib/series";
import type { Colours } from "../lib/theme";
import { DAY_MS, formatClock, formatDate, type Span } from "../lib/time";
import { linePaths } from "./paths";
import type { Axis, ChartSpec, Line } from "./spec";

export const FAMILY = 'ui-sans-serif, system-ui, "Segoe UI", Roboto, sans-serif';
export const FONT = `11px ${FAMILY}`;

/** Width of a value axis in px: the same on all charts, so that their times stand in line. */
export const AXIS_PX = 58;

/** Width of a letter in the labels of an axis, px, or a little more. */
const LETTER_PX = 7;

/** The charts with this key have one crosshair. */
const SYNC_KEY = "zaidash";

/** What the user does to a chart. */
export interface Handlers {
  readonly onZoom: (span: Span) => void;
  readonly onReset: () => void;
}

/** Options common to all charts: time axis, crosshair, dragging to zoom. `span` is asked anew. */
export function baseOptions(
  size: { width: number; height: number },
  span: () => Span,
  colours: Colours,
  handlers: Handlers,
): uPlot.Options {
  return {
    ...size,
    legend: { show: false },
    padding: [10, 12, 0, 0],
    cursor: {
      y: false,
      points: { size: 7 },
      drag: { x: true, y: false, setScale: false, dist: 4 },
      // Others follow the pointer, but only this chart is dragged over.
      sync: {
        key: SYNC_KEY,
        setSeries: false,
        filters: { pub: (type) => type === "mousemove" || type === "mouseleave" },
      },
      bind: {
        dblclick: () => () => {
          handlers.onReset();
          return null;
        },
      },
    },
    hooks: {
      setSelect: [
        (u) => {
          const { left, width } = u.select;
          if (width < 4) return;
          const [start, end] = [u.posToVal(left, "x"), u.posToVal(left + width, "x")];
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          handlers.onZoom({ start: start * 1000, end: end * 1000 });
        },
      ],
    },
    // Not what the data span: the window, which moves on without them.
    scales: { x: { time: true, range: () => [span().start / 1000, span().end / 1000] } },
    axes: [timeAxis(span(), colours)],
    series: [{}],
  };
}

/** Options of a chart of lines and areas. */
export function lineOptions(
  spec: ChartSpec,
  span: () => Span,
  size: { width: number; height: number },
  colours: Colours,
  handlers: Handlers,
): uPlot.Options {
  const base = baseOptions(size, span, colours, handlers);
  return {
    ...base,
    scales: {
      ...base.scales,
      left: valueScale(spec.left),
      ...(spec.right ? { right: valueScale(spec.right) } : {}),
    },
    axes: [
      ...(base.axes ?? []),
      valueAxis("left", spec.left, colours),
      ...(spec.right ? [valueAxis("right", spec.right, colours)] : []),
    ],
    series: [{}, ...spec.lines.map(lineSeries)],
  };
}

function lineSeries(line: Line): uPlot.Series {
  return {
    label: line.label,
    scale: line.axis,
    stroke: line.colour,
    width: widthOnScreen(line.width),
    dash: [...line.dash],
    ...(line.fill !== null ? { fill: line.fill } : {}),
    paths: linePaths(line),
    spanGaps: false,
    points: {
      size: 4,
      width: 0,
      fill: line.colour,
      // A value between two outages is no line, but it is a value.
      filter: (u, index) => isolated(u.data[index] ?? []),
    },
  };
}

/**
 * The width of a line, px. Without a GPU, a line wider than one pixel of the screen takes forty times
 * as long to draw, and most of a tick; where pixels are small, one of them is too thin to see.
 */
function widthOnScreen(width: number): number {
  const ratio = globalThis.devicePixelRatio ?? 1;
  return ratio < 1.5 ? Math.min(width, 1 / ratio) : width;
}

function valueScale({ isLogarithmic, atLeast = 0 }: Axis): uPlot.Scale {
  if (isLogarithmic) return { distr: 3, range: logRange };
  return {
    range: (_, __, max) => {
      const top = Math.max(max ?? 0, atLeast);
      return [0, top > 0 ? top * 1.08 : 1];
    },
  };
}

/** Whole decades, so that the axis has at least two labels. */
function logRange(_: uPlot, min: number | null, max: number | null): uPlot.Range.MinMax {
  if (min == null || max == null || !(min > 0)) return [1, 10];
  const [low, high] = [Math.floor(Math.log10(min)), Math.ceil(Math.log10(max))];
  return [10 ** low, 10 ** (high > low ? high : low + 1)];
}

function valueAxis(scale: "left" | "right", axis: Axis, colours: Colours): uPlot.Axis {
  return {
    scale,
    side: scale === "left" ? 3 : 1,
    size: AXIS_PX,
    font: FONT,
    stroke: colours.muted,
    gap: 6,
    ticks: { show: false },
    grid: { show: scale === "left", stroke: colours.grid, width: 1 },
    // On a logarithmic axis uPlot hands over null for lines that get no label.
    values: (_, splits) =>
      splits.map((value) => (value === null ? "" : trimZeros(axis.format(value)))),
    ...(axis.isLogarithmic
      ? { filter: (_: uPlot, splits: number[]) => splits.map((v) => (isDecade(v) ? v : null)) }
      : { space: 34 }),
    ...(axis.isBinary ? { incrs: POWERS_OF_TWO } : {}),
  };
}

const POWERS_OF_TWO = Array.from({ length: 50 }, (_, power) => 2 ** power);

function isDecade(value: number): boolean {
  const decade = Math.log10(value);
  return Math.abs(decade - Math.round(decade)) < 1e-9;
}

function timeAxis(span: Span, colours: Colours): uPlot.Axis {
  const isLong = span.end - span.start >= DAY_MS;
  return {
    size: 28,
    font: FONT,
    stroke: colours.muted,
    gap: 6,
    space: isLong ? 96 : 64,
    ticks: { show: false },
    grid: { show: false },
    values: (u, splits, _, __, incrementS) =>
      splits.map((s) => {
        const label = timeLabel(s * 1000, incrementS, isLong);
        // Half of a label would lie beyond the edge: rather none.
        return u.valToPos(s, "x") + (label.length * LETTER_PX) / 2 > u.width - AXIS_PX ? "" : label;
      }),
  };
}

/** A label of the time axis: as exact as the labels are apart, with the date in long views. */
export function timeLabel(ms: number, incrementS: number, isLong: boolean): string {
  if (incrementS >= 86_400) return formatDate(ms).slice(5);
  const clock = formatClock(ms, incrementS < 60);
  return isLong ? `${formatDate(ms).slice(5)} ${clock}` : clock;
}
