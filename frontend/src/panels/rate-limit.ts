import { formatPerMinute, formatPerSecond } from "../lib/format";
import { perMinute } from "../lib/series";
import { coloursOf } from "../lib/theme";
import type { PanelSpec } from "./spec";

export const rateLimit: PanelSpec = {
  id: "rate-limit",
  title: "Rate limiter",
  unit: "req/s, events/min on the right",
  group: "numbers",
  series: (_, theme) => {
    const { grey, blue, red, green, amber } = coloursOf(theme);
    return [
      {
        id: "limit",
        label: "limit",
        colour: grey,
        values: (timeline) => timeline.numbers("rate_limit_rps"),
        format: formatPerSecond,
      },
      {
        id: "requests",
        label: "requests",
        colour: blue,
        values: (timeline) => timeline.numbers("req_rate"),
        format: formatPerSecond,
        isCompared: true,
      },
      {
        id: "rejections",
        label: "rejections",
        colour: red,
        values: (timeline) => perMinute(timeline, "rate_limit_rejection_rate"),
        format: formatPerMinute,
        axis: "right",
      },
      {
        id: "raised",
        label: "limit raised",
        colour: green,
        values: (timeline) => perMinute(timeline, "rate_limit_adj_increase_rate"),
        format: formatPerMinute,
        axis: "right",
      },
      {
        id: "lowered",
        label: "limit lowered",
        colour: amber,
        values: (timeline) => perMinute(timeline, "rate_limit_adj_decrease_rate"),
        format: formatPerMinute,
        axis: "right",
      },
    ];
  },
  current: (snapshot) => `limit ${formatPerSecond(snapshot.rate_limit_rps)}`,
  nothing: "No values in this range.",
  left: { format: formatPerSecond },
  right: { format: formatPerMinute, atLeast: 1 },
};
