import { useEffect, useMemo, useState, useSyncExternalStore } from "react";
import { fetchReasons, fetchSummary, fetchTargets } from "../api/client";
import type { Config } from "../api/types";
import type { Board, Targets } from "../lib/board";
import { Live } from "../lib/live";
import { planHistory } from "../lib/plan";
import { coloursOf } from "../lib/theme";
import { lengthOf, type Span } from "../lib/time";
import { keptOf, spanOf } from "../lib/view";
import { PANELS } from "../panels";
import { FIELD_GROUPS } from "../panels/spec";
import { isGrowing, keyOf, type Question, questionBefore, useHistory } from "./use-history";
import { useClock, usePausedSnapshots, useStream } from "./use-live";
import { usePoints } from "./use-points";
import { usePoll } from "./use-poll";
import { useTheme } from "./use-theme";
import { changeView, useView } from "./use-view";

/** How often to ask for what is not pushed, ms; a variant that goes down is, and its targets with it. */
const POLL_EVERY_MS = 10_000;

/** The longer a window, the slower its totals change, and the more work they are. */
function summaryEveryMs(lengthMs: number): number {
  return Math.min(Math.max(lengthMs / 240, 10_000), 120_000);
}

/** All that the page draws from: the view, the history it asks for, and what is pushed. */
export function useDashboard(config: Config, aheadMs: number): Board {
  const [live] = useState(() => new Live(config, aheadMs));
  live.aheadMs = aheadMs;
  const view = useView();
  // Of what is pushed, all that what is asked depends on; the numbers are for those who show them.
  useSyncExternalStore(live.subscribe, () => `${live.epoch} ${live.openings}`);
  useStream(live, view.pausedAt !== null);
  usePausedSnapshots(live, config, view.pausedAt);
  useClock(live, config.scrape_interval);

  const keptMs = Math.max(config.retention_1m, config.retention_5s) * 1000;
  const theme = useTheme(view.theme);
  const span = spanOf(view, live.drawnAt);
  // What an address names but there is not would leave the page empty.
  const panel = PANELS.some(({ id }) => id === view.panel) ? view.panel : null;
  const points = usePoints(panel !== null);
  const variant =
    view.variant !== null && config.variants.includes(view.variant) ? view.variant : null;
  // It goes from the address too, or that would say something else than the page shows.
  // biome-ignore lint/correctness/useExhaustiveDependencies: only what the page was opened with
  useEffect(() => {
    const isKnown = (name: string) => PANELS.some(({ id }) => name.startsWith(`${id}:`));
    changeView({ variant, panel, hidden: new Set([...view.hidden].filter(isKnown)) }, true);
  }, []);
  const variants = useMemo(
    () => (variant === null ? config.variants : [variant]),
    [variant, config.variants],
  );
  const question: Question = {
    variant,
    variants,
    lengthMs: lengthOf(span),
    end: span.isLive ? null : span.end,
  };
  const questionBeforeNow = () =>
    view.isComparing ? questionBefore(question, live.drawnAt) : null;
  useSyncExternalStore(live.subscribe, () => questionBeforeNow()?.end);
  const before = questionBeforeNow();
  const plan = (wanted: Span, isLive: boolean) =>
    planHistory(keptOf(wanted, live.now(), keptMs), isLive, points, config, live.now());
  // Only of numbers there is anything per minute.
  const planShown = (wanted: Span, isLive: boolean) => ({ ...plan(wanted, isLive), lead: null });
  const planKey = String(points);
  const histories = {
    numbers: useHistory(live, FIELD_GROUPS.numbers, question, plan, planKey),
    codes: useHistory(live, FIELD_GROUPS.codes, question, planShown, planKey),
    buckets: useHistory(live, FIELD_GROUPS.buckets, question, planShown, planKey),
  };
  // In rows of the same width, though the window is a little longer.
  const planBefore = (wanted: Span) => {
    const rows = Math.ceil((points * lengthOf(wanted)) / question.lengthMs);
    return planHistory(keptOf(wanted, live.now(), keptMs), false, rows, config, live.now());
  };
  const numbersBefore = useHistory(live, FIELD_GROUPS.numbers, before, planBefore, planKey);
  const codesBefore = useHistory(live, FIELD_GROUPS.codes, before, planBefore, planKey);
  const readiness = usePoll("readiness", fetchReasons, POLL_EVERY_MS, live.withTick);
  // Nothing is kept of it, so there is nothing to ask.
  const isGone = useSyncExternalStore(
    live.subscribe,
    () => spanOf(view, live.drawnAt).end < live.drawnAt - keptMs,
  );
  // The charts first: a summary of a week is as much work as all of them.
  const isLoading = Object.values(histories).some((history) => history.isLoading);
  const summary = usePoll(
    isLoading || isGone ? null : keyOf(question),
    (signal) => fetchSummary(question, signal),
    isGrowing(question, config, live.drawnAt) ? summaryEveryMs(question.lengthMs) : null,
    live.withTick,
  );
  // A map: a variant may be named like a property that every object has.
  const summaries = useMemo(
    () => summary.data && new Map(Object.entries(summary.data)),
    [summary.data],
  );
  const choices = useMemo(
    () => ({ live, config, view: { ...view, variant, panel }, variants }),
    [live, config, view, variant, panel, variants],
  );
  return {
    ...choices,
    choices,
    theme,
    colours: coloursOf(theme),
    question,
    histories,
    before: view.isComparing ? { numbers: numbersBefore, codes: codesBefore } : {},
    summaries: isGone ? null : summaries,
    summaryError: isGone ? null : summary.error,
    readiness,
  };
}

/** How every target does, asked for again and again and when the health of a variant changes. */
export function usePolledTargets(live: Live): Targets {
  const targets = usePoll("targets", fetchTargets, POLL_EVERY_MS, live.withTick);
  const { data, refresh } = targets;
  useEffect(() => live.check(data ?? []), [live, data]);
  // Why a variant's health has changed is known to its targets.
  const healthChanges = useSyncExternalStore(live.subscribe, () => live.healthChanges);
  useEffect(() => {
    if (healthChanges > 0) refresh();
  }, [healthChanges, refresh]);
  return targets;
}
