import { formatCount, formatRatio } from "../lib/format";
import { coloursOf } from "../lib/theme";
import type { PanelSpec } from "./spec";

export const concurrency: PanelSpec = {
  id: "concurrency",
  title: "Concurrency",
  unit: "requests under way",
  group: "numbers",
  series: (_, theme) => {
    const { blue, grey, orange } = coloursOf(theme);
    return [
      {
        id: "concurrent",
        label: "under way",
        colour: blue,
        values: (timeline) => timeline.numbers("concurrent_requests"),
        format: formatCount,
        isFilled: true,
        isCompared: true,
      },
      {
        id: "workers",
        label: "max workers",
        colour: grey,
        values: (timeline) => timeline.numbers("max_workers"),
        format: formatCount,
      },
      {
        id: "utilization",
        label: "utilisation",
        colour: orange,
        values: (timeline) => timeline.numbers("worker_utilization"),
        format: formatRatio,
        axis: "right",
      },
    ];
  },
  current: (snapshot) =>
    `${formatCount(snapshot.concurrent_requests)} of ${formatCount(snapshot.max_workers)}`,
  nothing: "No values in this range.",
  left: { format: formatCount },
  right: { format: formatRatio, atLeast: 1 },
};
