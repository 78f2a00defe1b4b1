import type { ReactElement } from "react";
import { ChartPanel } from "../components/ChartPanel";
import { concurrency } from "./concurrency";
import { errors } from "./errors";
import { HEAT_MAP, HeatMapPanel } from "./HeatMapPanel";
import { HISTORY, HistoryPanel } from "./HistoryPanel";
import { latency } from "./latency";
import { rateLimit } from "./rate-limit";
import { requests } from "./requests";
import { sizes } from "./sizes";
import type { PanelSpec } from "./spec";
import { TARGETS, TargetsPanel } from "./TargetsPanel";
import { tokens } from "./tokens";

interface Entry {
  /** Its name in the page's address. */
  readonly id: string;
  readonly content: ReactElement;
}

/** All panels, in the order of the page. */
export const PANELS: readonly Entry[] = [
  chart(requests, 0),
  chart(latency, 1),
  { id: HEAT_MAP, content: <HeatMapPanel turn={2} /> },
  chart(tokens, 3),
  chart(concurrency, 4),
  chart(rateLimit, 5),
  chart(errors, 6),
  chart(sizes, 7),
  { id: HISTORY, content: <HistoryPanel /> },
  { id: TARGETS, content: <TargetsPanel /> },
];

function chart(panel: PanelSpec, turn: number): Entry {
  return { id: panel.id, content: <ChartPanel panel={panel} turn={turn} /> };
}
