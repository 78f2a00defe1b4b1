/** How bad a value is; always shown as a word too, never by colour alone. */
export type Level = "ok" | "warning" | "critical";

interface Thresholds {
  readonly warning: number;
  readonly critical: number;
}

/** In % of requests. */
export const ERROR_RATE: Thresholds = { warning: 1, critical: 5 };
/** As a share of workers, 0-1. */
export const UTILIZATION: Thresholds = { warning: 0.7, critical: 0.9 };

/** The level of a value; from a threshold on it is passed. */
export function levelOf(value: number | null | undefined, thresholds: Thresholds): Level {
  if (value == null || value < thresholds.warning) return "ok";
  return value < thresholds.critical ? "warning" : "critical";
}
