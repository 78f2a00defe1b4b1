import type { ChartSpec } from "../chart/spec";
import { NOTHING } from "./format";
import { extent } from "./series";

/** What a chart shows, in words: the last, least and greatest value of every line. */
export function describeChart(title: string, { lines, data, span }: ChartSpec): string {
  const [times, ...columns] = data;
  // The row before the window is only there for the line to come in from the edge.
  const first = times.findLastIndex((s) => s * 1000 < span.start) + 1;
  const end = times.findLastIndex((s) => s * 1000 <= span.end) + 1;
  const parts = lines.flatMap((line, i) => {
    if (line.isBefore) return [];
    const found = extent(line.told.length > 0 ? line.told : (columns[i] ?? []), first, end);
    const { format, label, variant } = line;
    const values = found
      ? `${format(found.last)}, lowest ${format(found.min)}, highest ${format(found.max)}`
      : NOTHING;
    return [`${variant} ${label}: ${values}`];
  });
  return parts.length > 0 ? `${title}. ${parts.join(". ")}.` : `${title}. No data.`;
}
