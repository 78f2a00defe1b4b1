import { formatMs } from "../lib/format";
import { coloursOf } from "../lib/theme";
import type { PanelSpec } from "./spec";

export const latency: PanelSpec = {
  id: "latency",
  title: "Latency",
  unit: "percentiles",
  group: "numbers",
  series: (_, theme) => {
    const { sky, orange, purple } = coloursOf(theme);
    return [
      { id: "p50", label: "p50", colour: sky, field: "latency_p50" } as const,
      { id: "p95", label: "p95", colour: orange, field: "latency_p95" } as const,
      { id: "p99", label: "p99", colour: purple, field: "latency_p99" } as const,
    ].map(({ field, ...series }) => ({
      ...series,
      values: (timeline) => timeline.numbers(field),
      format: formatMs,
      isCompared: true,
    }));
  },
  current: (snapshot) => `p95 ${formatMs(snapshot.latency_p95)}`,
  nothing: "No request finished in this range.",
  left: { format: formatMs },
  canBeLogarithmic: true,
};
