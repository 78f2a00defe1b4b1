import { describe, expect, it } from "vitest";
import {
  type Format,
  formatBytes,
  formatChange,
  formatCount,
  formatMs,
  formatPercent,
  formatPerMinute,
  formatPerSecond,
  formatPoints,
  formatRatio,
  NOTHING,
  significant,
  trimZeros,
} from "./format";

/** Every format, with the largest value it may meet and how many digits it then has. */
const FORMATS: readonly (readonly [string, Format, { most: number; digits: number }])[] = [
  ["a count", formatCount, { most: 1e14, digits: 3 }],
  ["a rate per second", formatPerSecond, { most: 1e14, digits: 3 }],
  ["a rate per minute", formatPerMinute, { most: 1e14, digits: 3 }],
  ["a percentage", formatPercent, { most: 100, digits: 3 }],
  ["a share", formatRatio, { most: 1, digits: 3 }],
  ["a duration", formatMs, { most: 900_000, digits: 3 }],
  ["a size", formatBytes, { most: 1e14, digits: 4 }], // 1,000 to 1,023 of a unit
];

describe("three significant digits", () => {
  it.each([
    [0, "0"],
    [1, "1.00"],
    [1.005, "1.00"],
    [1.234, "1.23"],
    [9.995, "9.99"],
    [9.999, "10.0"],
    [12.34, "12.3"],
    [99.95, "100"],
    [123.4, "123"],
    [999.4, "999"],
    [999.5, "1000"],
    [0.1, "0.100"],
    [0.5, "0.500"],
    [0.0123, "0.0123"],
    [0.01, "0.0100"],
    [0.001, "0.00100"],
    [0.001234, "0.00123"],
    [-1.234, "−1.23"],
    [-0.5, "−0.500"],
  ])("%d reads %s", (value, text) => {
    expect(significant(value)).toBe(text);
  });

  it("stay true to the value within half of the last of them", () => {
    for (let exponent = -5; exponent < 3; exponent += 0.01) {
      const value = 10 ** exponent;
      const text = significant(value);
      expect(Math.abs(Number(text) / value - 1)).toBeLessThan(0.00501);
      if (value < 999.5) expect(text.replace(/^0\.0*|\./, "")).toHaveLength(3);
    }
  });

  it("do not blow up crumbs of an addition into numbers", () => {
    expect(significant(0.1 + 0.2 - 0.3)).toBe("0");
  });
});

describe.each(FORMATS)("%s", (_, format, { most, digits }) => {
  it.each([
    ["null", null],
    ["nothing at all", undefined],
    ["NaN", Number.NaN],
    ["infinity", Number.POSITIVE_INFINITY],
  ])("is a dash for %s, never a zero", (__, value) => {
    expect(format(value)).toBe(NOTHING);
  });

  it("is a zero for zero, never a dash", () => {
    expect(format(0)).toMatch(/^0(\D|$)/);
  });

  it("has three significant digits and one unit, however large", () => {
    for (let value = 0.01; value < most; value *= 1.09) {
      const [, number = "", unit = ""] = /^([\d.]+)(\D*)$/.exec(format(value)) ?? [];
      expect(number.replace(/^0\.0*|\./, "").length, format(value)).toBeLessThanOrEqual(digits);
      expect(number.replace(/^0\.0*|\./, "").length, format(value)).toBeGreaterThanOrEqual(3);
      expect(unit.trim().split(" ").length).toBe(1);
    }
  });
});

const WRITTEN: readonly (readonly [string, Format, number, string])[] = [
  ["a single request", formatCount, 1, "1"],
  ["hundreds as they are", formatCount, 950, "950"],
  ["an average of counts", formatCount, 6.6667, "6.67"],
  ["a thousand", formatCount, 1000, "1.00k"],
  ["what rounds to a thousand", formatCount, 999.7, "1.00k"],
  ["thousands", formatCount, 1234, "1.23k"],
  ["what rounds to a million", formatCount, 999_600, "1.00M"],
  ["millions", formatCount, 45_600_000, "45.6M"],
  ["billions", formatCount, 7.894e9, "7.89G"],
  ["a negative count", formatCount, -12, "−12"],
  ["a rate", formatPerSecond, 12.34, "12.3/s"],
  ["a large rate", formatPerSecond, 45_678, "45.7k/s"],
  ["events per minute", formatPerMinute, 12, "12.0/min"],
  ["a percentage", formatPercent, 0.25, "0.250 %"],
  ["the whole", formatPercent, 100, "100 %"],
  ["a share", formatRatio, 0.876, "87.6 %"],
  ["a full house", formatRatio, 1, "100 %"],
  ["milliseconds", formatMs, 12.34, "12.3 ms"],
  ["999 ms", formatMs, 999, "999 ms"],
  ["a second", formatMs, 1000, "1.00 s"],
  ["what rounds to a second", formatMs, 999.7, "1.00 s"],
  ["seconds", formatMs, 1234, "1.23 s"],
  ["five minutes", formatMs, 300_000, "300 s"],
  ["bytes", formatBytes, 512, "512 B"],
  ["1,000 bytes, which are no KiB yet", formatBytes, 1000, "1000 B"],
  ["a KiB", formatBytes, 1024, "1.00 KiB"],
  ["what rounds to a KiB", formatBytes, 1023.9, "1.00 KiB"],
  ["KiB", formatBytes, 1536, "1.50 KiB"],
  ["512 KiB", formatBytes, 512 * 1024, "512 KiB"],
  ["a MiB", formatBytes, 1024 ** 2, "1.00 MiB"],
  ["MiB", formatBytes, 3.2 * 1024 ** 2, "3.20 MiB"],
  ["a GiB", formatBytes, 1024 ** 3, "1.00 GiB"],
];

describe("a value with its unit", () => {
  it.each(WRITTEN)("%s", (_, format, value, text) => {
    expect(format(value)).toBe(text);
  });
});

describe("the change against before", () => {
  it.each([
    ["a little more", 112, 100, "+12 %"],
    ["a little less", 88, 100, "−12 %"],
    ["the same", 100, 100, "±0 %"],
    ["less than half a percent", 100.4, 100, "±0 %"],
    ["nearly twice", 199, 100, "+99 %"],
    ["twice", 200, 100, "×2.00"],
    ["two and a half times", 250, 100, "×2.50"],
    ["nothing any more", 0, 100, "−100 %"],
  ])("%s", (_, now, before, text) => {
    expect(formatChange(now, before)).toBe(text);
  });

  it.each([
    ["now is not known", null, 1],
    ["before is not known", 1, null],
    ["there was nothing before", 1, 0],
  ])("is not told where %s", (_, now, before) => {
    expect(formatChange(now, before)).toBeNull();
  });

  it.each([
    ["up by a fifth of a point", 1.2, 1, "+0.20 pt"],
    ["down", 0.5, 1, "−0.50 pt"],
    ["the same", 1, 1, "±0 pt"],
    ["a crumb", 1.001, 1, "±0 pt"],
    ["far up", 62.5, 12.25, "+50.3 pt"],
  ])("of a percentage is in points: %s", (_, now, before, text) => {
    expect(formatPoints(now, before)).toBe(text);
  });

  it("of a percentage is told from zero on, but not from the unknown", () => {
    expect(formatPoints(2, 0)).toBe("+2.00 pt");
    expect(formatPoints(null, 0)).toBeNull();
    expect(formatPoints(2, null)).toBeNull();
  });
});

describe("labels of an axis", () => {
  it.each([
    ["1.00k", "1k"],
    ["1.50k", "1.5k"],
    ["1.05k", "1.05k"],
    ["2.00 KiB", "2 KiB"],
    ["0.500/s", "0.5/s"],
    ["0.0500/s", "0.05/s"],
    ["20.0 %", "20 %"],
    ["100 %", "100 %"],
    ["1000 B", "1000 B"],
    ["0", "0"],
    ["10.0/min", "10/min"],
  ])("%s is shortened to %s", (text, short) => {
    expect(trimZeros(text)).toBe(short);
  });

  it("are whole units on powers of two, up to the next unit", () => {
    const labels = [512, 1024, 512 * 1024, 1024 ** 2, 2 * 1024 ** 2].map((bytes) =>
      trimZeros(formatBytes(bytes)),
    );
    expect(labels).toEqual(["512 B", "1 KiB", "512 KiB", "1 MiB", "2 MiB"]);
  });
});
