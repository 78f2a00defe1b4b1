import { formatPercent, formatPerMinute } from "../lib/format";
import { perMinute } from "../lib/series";
import { coloursOf } from "../lib/theme";
import type { PanelSpec } from "./spec";

export const errors: PanelSpec = {
  id: "errors",
  title: "Errors",
  unit: "% of requests, events/min on the right",
  group: "numbers",
  series: (_, theme) => {
    const { red, purple, blue } = coloursOf(theme);
    return [
      {
        id: "rate",
        label: "error rate (5xx)",
        colour: red,
        values: (timeline) => timeline.numbers("error_rate_pct"),
        format: formatPercent,
        isFilled: true,
        isCompared: true,
      },
      {
        id: "upstream",
        label: "upstream errors",
        colour: purple,
        values: (timeline) => perMinute(timeline, "upstream_error_rate"),
        format: formatPerMinute,
        axis: "right",
      },
      {
        id: "retries",
        label: "retries",
        colour: blue,
        values: (timeline) => perMinute(timeline, "retry_rate"),
        format: formatPerMinute,
        axis: "right",
      },
    ];
  },
  current: (snapshot) => formatPercent(snapshot.error_rate_pct),
  nothing: "No values in this range.",
  left: { format: formatPercent, atLeast: 1 },
  right: { format: formatPerMinute, atLeast: 1 },
};
