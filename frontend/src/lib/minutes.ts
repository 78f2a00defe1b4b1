import type { Timeline } from "./timeline";

/** A line of the request history: one variant in one minute. */
export interface MinuteRow {
  readonly time: number; // begin, ms
  readonly variant: string;
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

export type MinuteKey = keyof MinuteRow;
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
  const errorRates = timeline.numbers("error_rate_pct");
  const p95 = timeline.numbers("latency_p95");
  const [inputs, outputs] = [timeline.numbers("token_rate_in"), timeline.numbers("token_rate_out")];
  return timeline.times.map((time, i) => {
    const covered = seconds[i] ?? null;
    const total = (rate: number | null | undefined) =>
      rate == null || covered === null ? null : Math.round(rate * covered);
    const ofClass = (digit: string) => {
      const rateByCode = codes[i];
      if (!rateByCode) return null;
      let sum = 0;
      for (const code in rateByCode) if (code.startsWith(digit)) sum += rateByCode[code] ?? 0;
      return total(sum);
    };
    return {
      time,
      variant,
      requests: total(rates[i]),
      ok: ofClass("2"),
      redirects: ofClass("3"),
      clientErrors: ofClass("4"),
      serverErrors: ofClass("5"),
      errorRate: errorRates[i] ?? null,
      p95: p95[i] ?? null,
      tokensIn: total(inputs[i]),
      tokensOut: total(outputs[i]),
    };
  });
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
