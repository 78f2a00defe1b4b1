import type { ByKey } from "../api/types";
import { formatPerSecond } from "../lib/format";
import { keysOf, pick } from "../lib/series";
import { coloursOf, statusColours } from "../lib/theme";
import type { Timeline } from "../lib/timeline";
import type { PanelSpec } from "./spec";

export const requests: PanelSpec = {
  id: "requests",
  title: "Requests",
  unit: "req/s by status code",
  group: "codes",
  series: (timelines, theme) => {
    const codes = keysOf(timelines.map((timeline) => timeline.objects("status_code_rates")));
    const colours = statusColours(codes, theme);
    return [
      ...codes.map((code) => ({
        id: code,
        label: code,
        colour: colours.get(code) ?? "",
        values: (timeline: Timeline) => pick(timeline.objects("status_code_rates"), code),
        format: formatPerSecond,
        isStacked: true,
      })),
      {
        id: "all",
        label: "all",
        colour: coloursOf(theme).ink,
        values: (timeline) => timeline.objects("status_code_rates").map(total),
        format: formatPerSecond,
        isCompared: true,
        isOnlyCompared: true,
      },
    ];
  },
  current: (snapshot) => formatPerSecond(snapshot.req_rate),
  nothing: "No requests in this range.",
  left: { format: formatPerSecond },
};

function total(rates: ByKey | null): number | null {
  return rates && Object.values(rates).reduce((sum, rate) => sum + rate, 0);
}
