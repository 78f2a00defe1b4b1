/** The time ranges the page offers; the keys 1 to 6 choose them in this order. */
export const RANGES = [
  { key: "5m", ms: 5 * 60_000, words: "5 minutes" },
  { key: "15m", ms: 15 * 60_000, words: "15 minutes" },
  { key: "1h", ms: 3_600_000, words: "hour" },
  { key: "6h", ms: 6 * 3_600_000, words: "6 hours" },
  { key: "24h", ms: 24 * 3_600_000, words: "24 hours" },
  { key: "7d", ms: 7 * 24 * 3_600_000, words: "7 days" },
] as const;

export type RangeKey = (typeof RANGES)[number]["key"];

export const MINUTE_MS = 60_000;
export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

/** From `start` to `end`, both in ms since the epoch. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export function rangeMs(key: RangeKey): number {
  return RANGES.find((range) => range.key === key)?.ms ?? HOUR_MS;
}

/** The range that shows as much as a window so long, or only a little more. */
export function rangeHolding(lengthMs: number): RangeKey {
  return RANGES.find(({ ms }) => ms >= lengthMs)?.key ?? "7d";
}

export function lengthOf(span: Span): number {
  return span.end - span.start;
}

/** The span moved by a share of its length; it neither begins before `first` nor ends after `last`. */
export function pan(span: Span, share: number, first: number, last: number): Span {
  const wanted = lengthOf(span) * share;
  const moved = Math.min(Math.max(wanted, first - span.start), last - span.end);
  return { start: Math.round(span.start + moved), end: Math.round(span.end + moved) };
}

const pad = (number: number, width = 2) => String(number).padStart(width, "0");

/** Local date as 2026-11-23. */
export function formatDate(ms: number): string {
  const at = new Date(ms);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
}

/** Local time as 14:05, or 14:05:09 with seconds. */
export function formatClock(ms: number, withSeconds = false): string {
  const at = new Date(ms);
  const minutes = `${pad(at.getHours())}:${pad(at.getMinutes())}`;
  return withSeconds ? `${minutes}:${pad(at.getSeconds())}` : minutes;
}

/** Local time as wide as a view of `spanMs` needs it: with the date from 24 h up. */
export function formatMoment(ms: number, spanMs: number, withSeconds = false): string {
  const clock = formatClock(ms, withSeconds);
  return spanMs >= DAY_MS ? `${formatDate(ms)} ${clock}` : clock;
}

/** What a datetime-local field holds: local time to the second. */
export function toLocalInput(ms: number): string {
  return `${formatDate(ms)}T${formatClock(ms, true)}`;
}

/** The time in a datetime-local field, or null where it holds none. */
export function fromLocalInput(text: string): number | null {
  const ms = new Date(text).getTime();
  return text && Number.isFinite(ms) ? ms : null;
}

/** How long, in the two largest units: 45 s, 3 min 5 s, 2 h 10 min, 3 d 4 h. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [days, hours] = [Math.floor(seconds / 86_400), Math.floor((seconds % 86_400) / 3600)];
  const [minutes, rest] = [Math.floor((seconds % 3600) / 60), seconds % 60];
  const parts = [
    [days, "d"],
    [hours, "h"],
    [minutes, "min"],
    [rest, "s"],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  if (first === -1) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([count], index) => index === 0 || count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}
