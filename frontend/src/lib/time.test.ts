import { describe, expect, it } from "vitest";
import {
  DAY_MS,
  formatClock,
  formatDate,
  formatDuration,
  formatMoment,
  fromLocalInput,
  HOUR_MS,
  lengthOf,
  MINUTE_MS,
  pan,
  RANGES,
  rangeHolding,
  rangeMs,
  toLocalInput,
} from "./time";

/** Moments all over a year, and every ten minutes around each change of the local clock. */
function moments(): number[] {
  const found: number[] = [];
  const first = Date.UTC(2026, 0, 1, 0, 0, 7);
  for (let ms = first; ms < first + 366 * DAY_MS; ms += HOUR_MS) {
    if ((ms - first) % (11 * HOUR_MS) === 0) found.push(ms);
    const [here, next] = [new Date(ms), new Date(ms + HOUR_MS)];
    if (here.getTimezoneOffset() === next.getTimezoneOffset()) continue;
    for (let near = ms - 3 * HOUR_MS; near < ms + 4 * HOUR_MS; near += 10 * MINUTE_MS) {
      found.push(near);
    }
  }
  return found;
}

/** The machine's own words for a local time: 2026-11-23 14:05:09. */
const WORDS = new Intl.DateTimeFormat("sv-SE", {
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});

describe("the ranges on offer", () => {
  it("are those of the service, in the order of the keys 1 to 6", () => {
    expect(RANGES.map(({ key }) => key)).toEqual(["5m", "15m", "1h", "6h", "24h", "7d"]);
  });

  it.each([
    ["5m", 300_000],
    ["15m", 900_000],
    ["1h", 3_600_000],
    ["6h", 21_600_000],
    ["24h", 86_400_000],
    ["7d", 604_800_000],
  ] as const)("%s lasts %i ms", (key, ms) => {
    expect(rangeMs(key)).toBe(ms);
  });
});

describe("a window that has come to the present", () => {
  it.each([
    ["the range it was panned from", 3_600_000, "1h"],
    ["the shortest range that holds it", 180_000, "5m"],
    ["the next one where it is a little longer", 300_001, "15m"],
    ["the longest where it is longer than any", 9 * 86_400_000, "7d"],
  ])("goes on in %s", (_, lengthMs, range) => {
    expect(rangeHolding(lengthMs)).toBe(range);
  });
});

describe("local time", () => {
  it("is what the machine's own calendar says, over changes of the clock too", () => {
    for (const ms of moments()) {
      expect(`${formatDate(ms)} ${formatClock(ms, true)}`).toBe(WORDS.format(ms));
    }
  });

  it("has two digits for everything but the year", () => {
    const ms = new Date(2026, 2, 4, 5, 6, 7).getTime();
    expect(formatDate(ms)).toBe("2026-03-04");
    expect(formatClock(ms)).toBe("05:06");
    expect(formatClock(ms, true)).toBe("05:06:07");
  });

  it.each([
    ["only the clock in a view of 6 h", 6 * HOUR_MS, "05:06"],
    ["only the clock a millisecond short of 24 h", DAY_MS - 1, "05:06"],
    ["the date too from 24 h on", DAY_MS, "2026-03-04 05:06"],
    ["the date too in a view of a week", 7 * DAY_MS, "2026-03-04 05:06"],
  ])("shows %s", (_, spanMs, text) => {
    expect(formatMoment(new Date(2026, 2, 4, 5, 6, 7).getTime(), spanMs)).toBe(text);
    expect(formatMoment(new Date(2026, 2, 4, 5, 6, 7).getTime(), spanMs, true)).toBe(`${text}:07`);
  });
});

describe("the date-time fields", () => {
  it("are read as they are written", () => {
    const ms = new Date(2026, 10, 23, 14, 5, 9).getTime();
    expect(toLocalInput(ms)).toBe("2026-11-23T14:05:09");
    expect(fromLocalInput("2026-11-23T14:05:09")).toBe(ms);
    // Browsers leave out seconds that are zero.
    expect(fromLocalInput("2026-11-23T14:05")).toBe(ms - 9_000);
  });

  it("give back the time they were filled with; in the hour that comes twice, one of the two", () => {
    for (const ms of moments()) {
      const text = toLocalInput(ms);
      const read = fromLocalInput(text) ?? Number.NaN;
      expect(toLocalInput(read)).toBe(text);
      const isTwice = [ms - HOUR_MS, ms + HOUR_MS, ms - HOUR_MS / 2, ms + HOUR_MS / 2].some(
        (other) => toLocalInput(other) === text,
      );
      if (!isTwice) expect(read).toBe(ms);
    }
  });

  it.each([
    ["nothing", ""],
    ["a word", "yesterday"],
    ["a month that is none", "2026-13-01T00:00"],
    ["half a time", "2026-11-23T"],
  ])("hold no time where the user entered %s", (_, text) => {
    expect(fromLocalInput(text)).toBeNull();
  });
});

describe("a duration", () => {
  it.each([
    [-5, "0 s"],
    [0, "0 s"],
    [999, "0 s"],
    [45_000, "45 s"],
    [59_999, "59 s"],
    [60_000, "1 min"],
    [185_000, "3 min 5 s"],
    [HOUR_MS, "1 h"],
    [HOUR_MS + 5_000, "1 h"],
    [2 * HOUR_MS + 10 * MINUTE_MS + 59_000, "2 h 10 min"],
    [DAY_MS, "1 d"],
    [3 * DAY_MS + 4 * HOUR_MS + 59 * MINUTE_MS, "3 d 4 h"],
  ])("of %i ms reads %s", (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});

describe("panning", () => {
  const [first, last] = [0, 1000];
  it.each([
    ["to the past by a quarter", { start: 400, end: 600 }, -0.25, { start: 350, end: 550 }],
    ["to the future by a quarter", { start: 400, end: 600 }, 0.25, { start: 450, end: 650 }],
    ["no further than the oldest row", { start: 10, end: 210 }, -1, { start: 0, end: 200 }],
    ["no further than now", { start: 790, end: 990 }, 1, { start: 800, end: 1000 }],
    ["nowhere from the newest", { start: 800, end: 1000 }, 0.25, { start: 800, end: 1000 }],
    ["nowhere from the oldest", { start: 0, end: 200 }, -0.25, { start: 0, end: 200 }],
  ])("goes %s", (_, span, share, moved) => {
    expect(pan(span, share, first, last)).toEqual(moved);
  });

  it("keeps the length to the millisecond, whatever the share", () => {
    let span = { start: 1_000_003, end: 1_010_020 };
    for (let i = 0; i < 500; i += 1) {
      span = pan(span, Math.sin(i) / 3, 0, 2_000_000);
      expect(lengthOf(span)).toBe(10_017);
      expect(Number.isInteger(span.start)).toBe(true);
    }
  });
});
