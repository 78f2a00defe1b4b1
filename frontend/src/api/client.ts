import { hasInEach, parseAnswer } from "../lib/answer";
import type { Slice } from "../lib/plan";
import { RANGES, rangeMs } from "../lib/time";
import type { Columns, Config, Field, Health, Snapshot, Summary, TargetReport } from "./types";

/** How long an answer may take. */
const TIMEOUT_MS = 30_000;

/** A request that did not go well, in words for the user. */
export class ApiError extends Error {
  override readonly name = "ApiError";
}

type Parameters = Readonly<Record<string, string | number>>;

/**
 * An address relative to the page, which may lie below any path of a reverse proxy. Without the
 * login that the page's own address may have: no request takes one there.
 */
export function addressOf(path: string): string {
  return new URL(path, `${location.origin}${location.pathname}`).href;
}

async function get(path: string, parameters: Parameters, signal?: AbortSignal): Promise<Response> {
  const query = new URLSearchParams(Object.entries(parameters).map(([k, v]) => [k, String(v)]));
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  try {
    return await fetch(addressOf(query.size > 0 ? `${path}?${query}` : path), {
      cache: "no-store",
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw new ApiError(
      timeout.aborted ? `no answer within ${TIMEOUT_MS / 1000} s` : "zaidash cannot be reached",
      { cause: error },
    );
  }
}

/** Whether an answer is what it should be, as far as the page would break without. */
type Check<T> = (answer: Partial<T> | null) => boolean;

async function read<T>(response: Response, isWanted: Check<T>): Promise<T> {
  const path = new URL(response.url).pathname;
  const text = await response.text().catch((error: unknown) => {
    throw new ApiError(`the answer of ${path} broke off`, { cause: error });
  });
  return parseAnswer(path, text, isWanted as (answer: unknown) => boolean) as T;
}

async function getJson<T>(
  path: string,
  parameters: Parameters,
  isWanted: Check<T>,
  signal?: AbortSignal,
): Promise<T> {
  const response = await get(path, parameters, signal);
  if (!response.ok) throw new ApiError(await reasonOf(response));
  return read(response, isWanted);
}

async function reasonOf(response: Response): Promise<string> {
  const text = await response.text().catch(() => "");
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    if (typeof error === "string") return error;
  } catch {
    // Not from zaidash: a proxy in between, perhaps.
  }
  return `${response.status} ${response.statusText}`.trim();
}

/** The service's settings, and how far its clock is ahead of this machine's, in ms. */
export async function fetchConfig(
  signal?: AbortSignal,
): Promise<{ config: Config; aheadMs: number }> {
  const response = await get("api/config", {}, signal);
  if (!response.ok) throw new ApiError(await reasonOf(response));
  const date = Date.parse(response.headers.get("Date") ?? "");
  const config = await read<Config>(response, (answer) => Array.isArray(answer?.variants));
  // The header counts in whole seconds; a difference below that is none.
  const aheadMs = date + 500 - Date.now();
  return { config, aheadMs: Math.abs(aheadMs) > 1500 ? aheadMs : 0 };
}

export function fetchTargets(signal?: AbortSignal): Promise<TargetReport[]> {
  return getJson("api/targets", {}, Array.isArray, signal);
}

/** Why the service is not ready, an empty list where it is. */
export async function fetchReasons(signal?: AbortSignal): Promise<readonly string[]> {
  const { reasons } = await getJson<Health>(
    "api/health",
    {},
    (answer) => Array.isArray(answer?.reasons),
    signal,
  );
  return reasons;
}

/** Totals by variant: of a fixed window, or where `end` is null of the time up to now. */
export function fetchSummary(
  window: { variant: string | null; lengthMs: number; end: number | null },
  signal?: AbortSignal,
): Promise<Readonly<Record<string, Summary>>> {
  const { variant, lengthMs, end } = window;
  // By its name a range is answered even where nothing is kept for so long.
  const range = RANGES.find(({ key }) => rangeMs(key) === lengthMs)?.key ?? `${lengthMs / 1000}s`;
  const time = end === null ? { range } : { start: end - lengthMs + 1, end };
  return getJson(
    "api/summary",
    { variant: variant ?? "all", ...time },
    (answer) => hasInEach(answer, "previous"),
    signal,
  );
}

/** History by variant. */
export async function fetchColumns(
  slice: Slice,
  variant: string | null,
  fields: readonly Field[],
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, Columns>> {
  const { start, end, points } = slice;
  const answer = await getJson<Record<string, Columns>>(
    "api/metrics",
    {
      format: "columns",
      start,
      end,
      variant: variant ?? "all",
      fields: fields.join(","),
      ...(points === null ? {} : { points }),
    },
    (answer) => hasInEach(answer, "timestamp"),
    signal,
  );
  return new Map(Object.entries(answer));
}

/** Columns as snapshots, to be added to a timeline. */
export function* snapshotsOf(
  variant: string,
  columns: Columns,
  fields: readonly Field[],
): Generator<Snapshot> {
  for (let i = 0; i < columns.timestamp.length; i += 1) {
    const snapshot: Record<string, unknown> = { timestamp: columns.timestamp[i], variant };
    for (const field of fields) snapshot[field] = columns[field]?.[i] ?? null;
    yield snapshot as unknown as Snapshot;
  }
}
