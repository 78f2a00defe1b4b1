import { expect, it } from "vitest";
import { ERROR_RATE, levelOf, UTILIZATION } from "./level";

it.each([
  ["no errors", 0, ERROR_RATE, "ok"],
  ["just below 1 % errors", 0.999, ERROR_RATE, "ok"],
  ["1 % errors", 1, ERROR_RATE, "warning"],
  ["just below 5 % errors", 4.999, ERROR_RATE, "warning"],
  ["5 % errors", 5, ERROR_RATE, "critical"],
  ["all errors", 100, ERROR_RATE, "critical"],
  ["69 % of the workers", 0.69, UTILIZATION, "ok"],
  ["70 % of the workers", 0.7, UTILIZATION, "warning"],
  ["90 % of the workers", 0.9, UTILIZATION, "critical"],
  ["an unknown rate", null, ERROR_RATE, "ok"],
  ["a rate that was not sent", undefined, ERROR_RATE, "ok"],
] as const)("%s", (_, value, thresholds, level) => {
  expect(levelOf(value, thresholds)).toBe(level);
});
