// What the service sends, with the unit of every number. README.md describes each in full.

/** Fields of a snapshot that are one number, or null where there is none to give. */
export type NumberField =
  | "elapsed_s" // s the rates cover
  | "requests_2xx" // requests, counter total
  | "requests_4xx"
  | "requests_5xx"
  | "tokens_input" // tokens, counter total
  | "tokens_output"
  | "tokens_cache_read"
  | "tokens_cache_write"
  | "rate_limit_rejections" // events, counter total
  | "rate_limit_adj_increase"
  | "rate_limit_adj_decrease"
  | "upstream_errors"
  | "retry_attempts"
  | "concurrent_requests" // requests
  | "max_workers" // workers
  | "worker_utilization" // 0-1
  | "rate_limit_rps" // requests/s
  | "req_rate" // requests/s
  | "token_rate_in" // tokens/s
  | "token_rate_out"
  | "token_rate_cache_read"
  | "token_rate_cache_write"
  | "rate_limit_rejection_rate" // events/s
  | "rate_limit_adj_increase_rate"
  | "rate_limit_adj_decrease_rate"
  | "upstream_error_rate"
  | "retry_rate"
  | "error_rate_pct" // %
  | "latency_p50" // ms
  | "latency_p95"
  | "latency_p99"
  | "request_size_avg" // bytes
  | "response_size_avg";

/** Fields that are an object of numbers by key. */
export type ObjectField =
  | "status_code_rates" // requests/s by status code
  | "latency_buckets"; // requests by upper bound in s, "+Inf" among them

export type Field = NumberField | ObjectField;
export type ByKey = Readonly<Record<string, number>>;

/** One variant at one tick: `/api/metrics?format=json`, and `metrics` events. */
export type Snapshot = {
  readonly timestamp: number; // ms since the epoch
  readonly variant: string;
} & { readonly [name in NumberField]?: number | null } & {
  readonly [name in ObjectField]?: ByKey | null;
};

/** One variant of `/api/metrics?format=columns`; all arrays have the length of `timestamp`. */
export type Columns = { readonly timestamp: number[] } & {
  readonly [name in NumberField]?: (number | null)[];
} & { readonly [name in ObjectField]?: (ByKey | null)[] };

export interface Config {
  readonly scrape_interval: number; // s
  readonly targets: readonly string[];
  readonly variants: readonly string[];
  readonly retention_5s: number; // s
  readonly retention_1m: number; // s
  readonly version: string;
}

export interface TargetReport {
  readonly url: string;
  readonly variant: string;
  readonly health: "up" | "down" | "unknown";
  readonly last_error: string | null;
  readonly last_scrape: string | null; // RFC 3339
  readonly scrape_duration_ms: number | null;
  readonly samples: number | null;
  readonly warning: string | null;
}

/** Totals and averages of a window; all null where nothing is known of it. */
export interface Totals {
  readonly requests: number | null;
  readonly errors: number | null;
  readonly error_rate_pct: number | null;
  readonly tokens_input: number | null;
  readonly tokens_output: number | null;
  readonly tokens_cache_read: number | null;
  readonly tokens_cache_write: number | null;
  readonly cache_hit_ratio: number | null; // 0-1
  readonly latency_p50: number | null; // ms
  readonly latency_p95: number | null;
  readonly latency_p99: number | null;
  readonly req_rate: number | null; // requests/s
  readonly token_rate_in: number | null; // tokens/s
  readonly token_rate_out: number | null;
  readonly concurrent_requests: number | null;
  readonly max_workers: number | null;
  readonly worker_utilization: number | null; // 0-1
  readonly rate_limit_rps: number | null; // requests/s
}

/** One variant of `/api/summary`. */
export interface Summary extends Totals {
  readonly previous: Totals;
}

/** Whether the service has scraped and can store, and if not, why. */
export interface Health {
  readonly ready: boolean;
  readonly reasons: readonly string[];
}

/** What `/api/events` sends. */
export type LiveEvent =
  | {
      readonly type: "connected";
      readonly scrape_interval: number;
      readonly variants: readonly string[];
    }
  | { readonly type: "metrics"; readonly data: Snapshot }
  | {
      readonly type: "status";
      readonly data: {
        readonly variant: string;
        readonly healthy: boolean;
        readonly error: string | null;
      };
    };
