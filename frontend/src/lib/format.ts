/** Writes a number for people; a dash where there is none. */
export type Format = (value: number | null | undefined) => string;

/** What stands where there is no value. */
export const NOTHING = "–";

/** Three significant digits, but never fewer than all before the point: 0.0123, 1.23, 12.3, 1,234. */
export function significant(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 999.5) return String(Math.round(value));
  const rounded = Number(value.toPrecision(3));
  // Crumbs such as 1.2e-9 say nothing a reader could use; one event in a day is 0.0000116/s.
  if (Math.abs(rounded) < 0.000005) return value < 0 ? "−0" : "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(rounded))));
  return rounded.toFixed(Math.min(digits, 7)).replace("-", "−");
}

function scaled(value: number, step: number, units: readonly string[], gap: string): string {
  let [rest, unit] = [value, 0];
  // 999.9 would be written as 1000: it belongs to the next unit already.
  while (Math.abs(rest) >= step - 0.5 && unit < units.length - 1) {
    rest /= step;
    unit += 1;
  }
  const name = units[unit] ?? "";
  return significant(rest) + (name ? gap + name : "");
}

/** A format that writes a dash for everything that is no number. */
function formatter(write: (value: number) => string): Format {
  return (value) => (value == null || !Number.isFinite(value) ? NOTHING : write(value));
}

const short = (value: number) => scaled(value, 1000, ["", "k", "M", "G", "T"], "");

/** 7, 950, 1.23k, 45.6M, 7.89G; an average of counts as 6.67. */
export const formatCount = formatter((value) =>
  Number.isInteger(value) && Math.abs(value) < 1000
    ? String(value).replace("-", "−")
    : short(value),
);

export const formatPerSecond = formatter((value) => `${short(value)}/s`);
export const formatPerMinute = formatter((value) => `${short(value)}/min`);

/** 0.25 %. */
export const formatPercent = formatter((value) => `${significant(value)} %`);

/** The same of a share from 0 to 1. */
export const formatRatio = formatter((value) => formatPercent(value * 100));

/** 12.3 ms, and 1.23 s from 1,000 ms on. */
export const formatMs = formatter((value) => scaled(value, 1000, ["ms", "s"], " "));

/** 512 B, 1.5 KiB, 3.2 MiB. */
export const formatBytes = formatter((value) =>
  scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"], " "),
);

/** How a value stands to the one before: `+12 %`, `×2.5` from a doubling on, `±0 %` below half of one. */
export function formatChange(now: number | null, before: number | null): string | null {
  if (now == null || before == null || before === 0) return null;
  const ratio = now / before;
  if (ratio >= 2) return `×${significant(ratio)}`;
  const percent = Math.round((ratio - 1) * 100);
  if (percent === 0) return "±0 %";
  return `${percent > 0 ? "+" : "−"}${Math.abs(percent)} %`;
}

/** How a share in % stands to the one before, in points: `+0.2 pt`. */
export function formatPoints(now: number | null, before: number | null): string | null {
  if (now == null || before == null) return null;
  const points = now - before;
  if (Math.abs(points) < 0.005) return "±0 pt";
  return `${points > 0 ? "+" : "−"}${Math.abs(points).toFixed(Math.abs(points) < 10 ? 2 : 1)} pt`;
}

/** The same text without zeros that say nothing: labels of an axis are round numbers. */
export function trimZeros(text: string): string {
  return text.replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "");
}
