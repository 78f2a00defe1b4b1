import type { ByKey } from "../api/types";
import type { Timeline } from "./timeline";

/** A line of the request history: one variant in one minute. */
export interface MinuteRow {
  readonly time: number; // begin, ms
  readonly variant: string;
  readonly covered: number | null; // s that the counts are about
  readonly requests: number | null;
  readonly ok: number | null; // 2xx
  readonly redirects: number | null; // 3xx
  readonly clientErrors: number | null; // 4xx
  readonly serverErrors: number | null; // 5xx
  readonly errorRate: number | null; // %
  readonly p95: number | null; // ms
  readonly tokensIn: number | null;
  readonly tokensOut: number | null;
}

/** The columns to sort by. */
export const MINUTE_KEYS = [
  "time",
  "variant",
  "requests",
  "ok",
  "redirects",
  "clientErrors",
  "serverErrors",
  "errorRate",
  "p95",
  "tokensIn",
  "tokensOut",
] as const satisfies readonly (keyof MinuteRow)[];

export type MinuteKey = (typeof MINUTE_KEYS)[number];
export interface Sorting {
  readonly key: MinuteKey;
  readonly isDescending: boolean;
}

export const NEWEST_FIRST: Sorting = { key: "time", isDescending: true };

/** The lines of a timeline whose rows are minutes: rates times the seconds they cover. */
export function minuteRows(variant: string, timeline: Timeline): MinuteRow[] {
  const seconds = timeline.numbers("elapsed_s");
  const codes = timeline.objects("status_code_rates");
  const rates = timeline.numbers("req_rate");
  const p95 = timeline.numbers("latency_p95");
  const [inputs, outputs] = [timeline.numbers("token_rate_in"), timeline.numbers("token_rate_out")];
  return timeline.times.map((time, i) => {
    const covered = seconds[i] ?? null;
    const total = (rate: number | null | undefined) =>
      rate == null || covered === null ? null : Math.round(rate * covered);
    const rateByClass = classRates(codes[i] ?? null);
    return {
      time,
      variant,
      covered,
      requests: total(rates[i]),
      ok: total(rateByClass?.["2"]),
      redirects: total(rateByClass?.["3"]),
      clientErrors: total(rateByClass?.["4"]),
      serverErrors: total(rateByClass?.["5"]),
      errorRate: errorRate(rateByClass),
      p95: p95[i] ?? null,
      tokensIn: total(inputs[i]),
      tokensOut: total(outputs[i]),
    };
  });
}

/**
 * Whether the counts of a minute are about more or less than it by a tick: it is not over yet, or the
 * scraping began or stopped in it, or went on after an outage.
 */
export function isPartial({ covered }: MinuteRow, intervalS: number): boolean {
  return covered !== null && Math.abs(covered - 60) > 0.75 * Math.max(intervalS, 1);
}

type Rates = Readonly<Record<string, number>>;

/** Rates by the first digit of the status code, with 0 for each class there is. */
function classRates(rateByCode: ByKey | null): Rates | null {
  if (!rateByCode) return null;
  const rates: Record<string, number> = { 2: 0, 3: 0, 4: 0, 5: 0 };
  for (const code in rateByCode) {
    const digit = code[0] ?? "";
    rates[digit] = (rates[digit] ?? 0) + (rateByCode[code] ?? 0);
  }
  return rates;
}

/** Share of 5xx in %, of this minute alone; 0 where there were no requests. */
function errorRate(rates: Rates | null): number | null {
  if (!rates) return null;
  const all = Object.values(rates).reduce((sum, rate) => sum + rate, 0);
  return all > 0 ? (100 * (rates["5"] ?? 0)) / all : 0;
}

/** Sorted by one column; where that is equal, newest first. Unknown values come last. */
export function sortRows(rows: readonly MinuteRow[], sorting: Sorting): MinuteRow[] {
  const sign = sorting.isDescending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [left, right] = [a[sorting.key], b[sorting.key]];
    if (left !== right) {
      if (left === null) return 1;
      if (right === null) return -1;
      return left < right ? -sign : sign;
    }
    return b.time - a.time || (a.variant < b.variant ? -1 : 1);
  });
}
