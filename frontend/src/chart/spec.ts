import type { AlignedData } from "uplot";
import type { Format } from "../lib/format";
import type { Column } from "../lib/series";
import type { Span } from "../lib/time";

/** A line of a chart. */
export interface Line {
  /** What it shows, as the legend and the tooltip name it. */
  readonly label: string;
  readonly variant: string;
  readonly colour: string;
  readonly dash: readonly number[];
  /** In px; 0 for an area without an outline. */
  readonly width: number;
  readonly axis: "left" | "right";
  /** Colour of the area below it: down to zero, or to the line `fillTo`. */
  readonly fill: string | null;
  readonly fillTo: number | null;
  readonly format: Format;
  /** What the tooltip says where that is not what is drawn: the parts of a stack. */
  readonly told: Column;
  /** Belongs to the window before: drawn faintly. */
  readonly isBefore: boolean;
}

export interface Axis {
  readonly format: Format;
  readonly isLogarithmic?: boolean;
  /** Labels lie on powers of two: KiB are not round in tens. */
  readonly isBinary?: boolean;
  /** The axis reaches at least this far. */
  readonly atLeast?: number;
}

/** All that makes up a chart, as plain data. */
export interface ChartSpec {
  readonly lines: readonly Line[];
  /** Times in s, then a column per line. */
  readonly data: AlignedData;
  readonly span: Span;
  /** Places that only mark an outage: there is no row of any variant. */
  readonly outages: ReadonlySet<number>;
  readonly left: Axis;
  readonly right: Axis | null;
}
