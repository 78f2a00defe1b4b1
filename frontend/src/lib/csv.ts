/**
 * A field as RFC 4180 wants it; empty for null. Numbers have the twelve digits of the service's: those
 * after them depend on the order in which parts were added up.
 */
function field(value: string | number | null | undefined): string {
  if (value === null || value === undefined) return "";
  const text = String(typeof value === "number" ? Number(value.toPrecision(12)) : value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A CSV file: a header, then a line per row. */
export function toCsv(
  header: readonly string[],
  rows: Iterable<readonly (string | number | null | undefined)[]>,
): string {
  const lines = [header.map(field).join(",")];
  for (const row of rows) lines.push(row.map(field).join(","));
  return `${lines.join("\r\n")}\r\n`;
}

/** A time for programs: RFC 3339 in UTC, without milliseconds where there are none. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString().replace(".000Z", "Z");
}

/** A name for a download: `zaidash-latency-20261123T140509Z.csv`. */
export function fileName(what: string, ms: number, extension: string): string {
  return `zaidash-${what}-${isoTime(ms).replaceAll(/[-:]|\.\d+/g, "")}.${extension}`;
}

/** Hand a file to the user. */
export function download(name: string, content: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  // The browser has taken hold of it by the time the click has been dealt with.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
