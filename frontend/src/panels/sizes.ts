import { formatBytes } from "../lib/format";
import { coloursOf } from "../lib/theme";
import type { PanelSpec } from "./spec";

export const sizes: PanelSpec = {
  id: "sizes",
  title: "Sizes",
  unit: "average bytes",
  group: "numbers",
  series: (_, theme) => {
    const { blue, orange } = coloursOf(theme);
    return [
      {
        id: "request",
        label: "request",
        colour: blue,
        values: (timeline) => timeline.numbers("request_size_avg"),
        format: formatBytes,
        isCompared: true,
      },
      {
        id: "response",
        label: "response",
        colour: orange,
        values: (timeline) => timeline.numbers("response_size_avg"),
        format: formatBytes,
        isCompared: true,
      },
    ];
  },
  current: (snapshot) =>
    `${formatBytes(snapshot.request_size_avg)} in, ${formatBytes(snapshot.response_size_avg)} out`,
  nothing: "No requests in this range.",
  left: { format: formatBytes, isBinary: true },
};
