import type { Line } from "../chart/spec";
import { NOTHING } from "./format";
import { type Column, extent } from "./series";

/** What a chart shows, in words: the last, least and greatest value of every line. */
export function describeChart(
  title: string,
  lines: readonly Line[],
  columns: readonly Column[],
): string {
  const parts = lines.flatMap((line, i) => {
    if (line.isBefore) return [];
    const found = extent(line.told.length > 0 ? line.told : (columns[i] ?? []));
    const { format, label, variant } = line;
    const values = found
      ? `${format(found.last)}, lowest ${format(found.min)}, highest ${format(found.max)}`
      : NOTHING;
    return [`${variant} ${label}: ${values}`];
  });
  return parts.length > 0 ? `${title}. ${parts.join(". ")}.` : `${title}. No data.`;
}
