import { concurrency } from "./concurrency";
import { errors } from "./errors";
import { latency } from "./latency";
import { rateLimit } from "./rate-limit";
import { requests } from "./requests";
import { sizes } from "./sizes";
import { tokens } from "./tokens";

/** Panels that are not charts of lines, by the name they have in the page's address. */
export const HEAT_MAP = "heat-map";
export const HISTORY = "history";
export const TARGETS = "targets";

export { concurrency, errors, latency, rateLimit, requests, sizes, tokens };
