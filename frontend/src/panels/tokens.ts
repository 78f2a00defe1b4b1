import { formatCount, formatPerSecond } from "../lib/format";
import { coloursOf } from "../lib/theme";
import type { PanelSpec } from "./spec";

export const tokens: PanelSpec = {
  id: "tokens",
  title: "Tokens",
  unit: "tokens/s",
  group: "numbers",
  series: (_, theme) => {
    const { blue, orange, green, purple } = coloursOf(theme);
    return [
      { id: "input", label: "input", colour: blue, field: "token_rate_in" } as const,
      { id: "output", label: "output", colour: orange, field: "token_rate_out" } as const,
      {
        id: "cache_read",
        label: "cache read",
        colour: green,
        field: "token_rate_cache_read",
      } as const,
      {
        id: "cache_write",
        label: "cache write",
        colour: purple,
        field: "token_rate_cache_write",
      } as const,
    ].map(({ field, ...series }) => ({
      ...series,
      values: (timeline) => timeline.numbers(field),
      format: formatPerSecond,
      isCompared: true,
    }));
  },
  current: (snapshot) =>
    `${formatPerSecond(snapshot.token_rate_in)} in, ${formatPerSecond(snapshot.token_rate_out)} out`,
  nothing: "No values in this range.",
  left: { format: formatPerSecond },
  totals: {
    input: (summary) => formatCount(summary.tokens_input),
    output: (summary) => formatCount(summary.tokens_output),
    "cache read": (summary) => formatCount(summary.tokens_cache_read),
    "cache write": (summary) => formatCount(summary.tokens_cache_write),
  },
};
