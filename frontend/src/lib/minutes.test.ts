import { describe, expect, it } from "vitest";
import type { Columns } from "../api/types";
import {
  isPartial,
  type MinuteKey,
  type MinuteRow,
  minuteRows,
  NEWEST_FIRST,
  sortRows,
} from "./minutes";
import { Timeline } from "./timeline";

const FIELDS = [
  "elapsed_s",
  "req_rate",
  "status_code_rates",
  "error_rate_pct",
  "latency_p95",
  "token_rate_in",
  "token_rate_out",
] as const;

function rowsOf(columns: Omit<Columns, "timestamp">): MinuteRow[] {
  const timeline = new Timeline(FIELDS, 60_000, 60_000, 90_000);
  const { length } = Object.values(columns)[0] as unknown[];
  timeline.load({ timestamp: Array.from({ length }, (_, i) => i * 60_000), ...columns } as Columns);
  return minuteRows("canary", timeline);
}

describe("a line of the request history", () => {
  it("counts requests and tokens: rates times the seconds they cover", () => {
    const [row] = rowsOf({
      elapsed_s: [60],
      req_rate: [2.5],
      status_code_rates: [{ 200: 1, 204: 0.5, 302: 0.25, 404: 0.5, 429: 0.05, 500: 0.1, 503: 0.1 }],
      latency_p95: [123.4],
      token_rate_in: [1000.5],
      token_rate_out: [20],
    });
    expect(row).toEqual({
      time: 0,
      variant: "canary",
      covered: 60,
      requests: 150,
      ok: 90,
      redirects: 15,
      clientErrors: 33,
      serverErrors: 12,
      errorRate: 8,
      p95: 123.4,
      tokensIn: 60_030,
      tokensOut: 1200,
    });
  });

  it("counts what a minute with lost scrapes really covers", () => {
    const [row] = rowsOf({ elapsed_s: [45], req_rate: [2] });
    expect(row?.requests).toBe(90);
  });

  it.each([
    ["a whole one", 60, 5, false],
    ["a whole one whose scrapes came a little late", 60.7, 5, false],
    ["one that is not over", 55, 5, true],
    ["one that is not over, of scrapes every second", 59, 1, true],
    ["one in which scraping began", 12.5, 5, true],
    ["one that ended an outage, with all that was counted in it", 95, 5, true],
    ["one as long as a tick of two minutes", 120, 120, false],
    ["one of which it is not known", null, 5, false],
  ])("is marked where it is not a whole minute: %s", (_, covered, intervalS, isMarked) => {
    const [row] = rowsOf({ elapsed_s: [covered], req_rate: [2] });
    expect(row && isPartial(row, intervalS)).toBe(isMarked);
  });

  it("has the error rate of this minute alone, and zero where there were no requests", () => {
    const rows = rowsOf({
      elapsed_s: [60, 60],
      status_code_rates: [{ 200: 3, 500: 1 }, {}],
      error_rate_pct: [99, 99], // of the rate window, which reaches back into the minute before
    });
    expect(rows.map((row) => row.errorRate)).toEqual([25, 0]);
  });

  it.each(["requests", "ok", "serverErrors", "tokensIn"] as const)(
    "knows no %s in a variant's first snapshot, and says so instead of zero",
    (key) => {
      const nothing = { req_rate: [null], status_code_rates: [null], token_rate_in: [null] };
      expect(rowsOf({ elapsed_s: [null], ...nothing })[0]?.[key]).toBeNull();
      expect(rowsOf({ elapsed_s: [60], ...nothing })[0]?.[key]).toBeNull();
    },
  );

  it("has no line for a minute without a snapshot", () => {
    const timeline = new Timeline(FIELDS, 60_000, 60_000, 90_000);
    timeline.load({ timestamp: [0, 180_000], elapsed_s: [60, 60], req_rate: [1, 1] });
    expect(minuteRows("canary", timeline).map(({ time }) => time)).toEqual([0, 180_000]);
  });

  it("grows with the snapshots of its minute", () => {
    const timeline = new Timeline(FIELDS, 60_000, 60_000, 90_000);
    const counts = [5, 10, 15].map((second) => {
      timeline.append([
        {
          timestamp: second * 1000,
          variant: "canary",
          elapsed_s: 5,
          req_rate: 2,
          token_rate_in: 1,
        },
      ]);
      return minuteRows("canary", timeline).map(({ requests, tokensIn }) => [requests, tokensIn]);
    });
    expect(counts).toEqual([[[10, 5]], [[20, 10]], [[30, 15]]]);
  });
});

describe("the order of lines", () => {
  const line = (time: number, variant: string, requests: number | null): MinuteRow => ({
    time,
    variant,
    covered: 60,
    requests,
    ok: null,
    redirects: null,
    clientErrors: null,
    serverErrors: null,
    errorRate: null,
    p95: null,
    tokensIn: null,
    tokensOut: null,
  });
  const lines = [
    line(1, "production", 5),
    line(2, "production", null),
    line(3, "production", 0),
    line(1, "canary", 70),
    line(2, "canary", 5),
    line(3, "canary", null),
  ];
  const sorted = (key: MinuteKey, isDescending: boolean) =>
    sortRows(lines, { key, isDescending }).map((row) => `${row.time}${row.variant[0]}`);

  it.each([
    ["newest first, variants beside each other", "time", true, "3c 3p 2c 2p 1c 1p"],
    ["oldest first", "time", false, "1c 1p 2c 2p 3c 3p"],
    ["most requests first, unknown ones last", "requests", true, "1c 2c 1p 3p 3c 2p"],
    ["fewest requests first, unknown ones last", "requests", false, "3p 2c 1p 1c 3c 2p"],
    ["by variant, newest first within", "variant", false, "3c 2c 1c 3p 2p 1p"],
    ["by variant backwards, newest first within", "variant", true, "3p 2p 1p 3c 2c 1c"],
  ] as const)("is %s", (_, key, isDescending, order) => {
    expect(sorted(key, isDescending).join(" ")).toBe(order);
  });

  it("is newest first to begin with", () => {
    expect(sortRows(lines, NEWEST_FIRST)[0]?.time).toBe(3);
  });

  it("compares numbers as numbers", () => {
    const many = [line(1, "a", 100), line(2, "a", 20), line(3, "a", 3)];
    const order = sortRows(many, { key: "requests", isDescending: false });
    expect(order.map(({ requests }) => requests)).toEqual([3, 20, 100]);
  });

  it("leaves the rows it was given alone", () => {
    const before = [...lines];
    sortRows(lines, { key: "requests", isDescending: true });
    expect(lines).toEqual(before);
  });
});
