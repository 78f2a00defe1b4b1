import type uPlot from "uplot";
import type { Span } from "../lib/time";
import type { ChartSpec } from "./spec";

/** What a chart was last asked to show. */
export interface Shown {
  /** All that uPlot takes only when a chart is made, as text. */
  readonly shape: string;
  readonly data: uPlot.AlignedData;
  readonly span: Span;
}

/** What it takes to show something else: nothing, new data, or a new chart. */
export type Decision = "keep" | "update" | "create";

export function decide(before: Shown | null, after: Shown): Decision {
  if (before === null || before.shape !== after.shape) return "create";
  const isSame =
    before.data === after.data &&
    before.span.start === after.span.start &&
    before.span.end === after.span.end;
  return isSame ? "keep" : "update";
}

/** The shape of a chart of lines, without its colours' theme. */
export function shapeOf({ lines, left, right, span }: ChartSpec): string {
  return JSON.stringify([
    lines.map(({ told, format, ...line }) => line),
    [left, right].map((axis) => axis && [axis.isLogarithmic ?? false, axis.atLeast ?? null]),
    // With it the labels of the time axis change.
    span.end - span.start,
  ]);
}
