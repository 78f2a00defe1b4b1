import type { Field, Snapshot, Summary } from "../api/types";
import type { Axis } from "../chart/spec";
import type { Format } from "../lib/format";
import type { Theme } from "../lib/theme";
import type { Timeline, Value } from "../lib/timeline";

/**
 * Fields that are fetched together: a group that fails takes its panels along, and no others. Rates
 * are averaged by the time they cover, so that comes with them.
 */
export const FIELD_GROUPS = {
  numbers: [
    "elapsed_s",
    "req_rate",
    "token_rate_in",
    "token_rate_out",
    "token_rate_cache_read",
    "token_rate_cache_write",
    "rate_limit_rejection_rate",
    "rate_limit_adj_increase_rate",
    "rate_limit_adj_decrease_rate",
    "upstream_error_rate",
    "retry_rate",
    "error_rate_pct",
    "latency_p50",
    "latency_p95",
    "latency_p99",
    "concurrent_requests",
    "max_workers",
    "worker_utilization",
    "rate_limit_rps",
    "request_size_avg",
    "response_size_avg",
  ],
  codes: ["elapsed_s", "status_code_rates"],
  buckets: ["latency_buckets"],
} as const satisfies Record<string, readonly Field[]>;

export type FieldGroup = keyof typeof FIELD_GROUPS;

/** A line of a panel, drawn once for every variant. */
export interface SeriesSpec {
  readonly id: string;
  readonly label: string;
  readonly colour: string;
  readonly values: (timeline: Timeline) => readonly Value[];
  readonly format: Format;
  readonly axis?: "left" | "right";
  /** Lies on top of the series before it. */
  readonly isStacked?: boolean;
  /** Has a pale area below it. */
  readonly isFilled?: boolean;
  /** The window before is drawn too where the user compares. */
  readonly isCompared?: boolean;
  /** Is drawn of the window before only. */
  readonly isOnlyCompared?: boolean;
}

/** A chart of the page: what it shows, not how. */
export interface PanelSpec {
  readonly id: string;
  readonly title: string;
  /** The unit of the axis, beside the title. */
  readonly unit: string;
  readonly group: FieldGroup;
  readonly series: (timelines: readonly Timeline[], theme: Theme) => readonly SeriesSpec[];
  /** The value now, from a variant's newest snapshot. */
  readonly current: (snapshot: Snapshot) => string;
  /** What to say where no row has a value. */
  readonly nothing: string;
  readonly left: Axis;
  readonly right?: Axis;
  /** May be drawn on a logarithmic axis. */
  readonly canBeLogarithmic?: boolean;
  /** What there was in all in the window, by name: a table above the chart. */
  readonly totals?: Readonly<Record<string, (summary: Summary) => string>>;
}
