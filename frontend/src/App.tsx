import { Fragment, useEffect, useMemo, useState, useSyncExternalStore } from "react";
import { fetchConfig, fetchReasons, fetchSummary, fetchTargets } from "./api/client";
import type { Config } from "./api/types";
import { Banners } from "./components/Banners";
import { Header } from "./components/Header";
import { Help } from "./components/Help";
import { Tiles } from "./components/Tiles";
import { keyOf, type Question, questionBefore, useHistory } from "./hooks/use-history";
import { useClock, useStream } from "./hooks/use-live";
import { useNavigation } from "./hooks/use-navigation";
import { usePoints } from "./hooks/use-points";
import { usePoll } from "./hooks/use-poll";
import { useShortcuts } from "./hooks/use-shortcuts";
import { useTheme } from "./hooks/use-theme";
import { useView } from "./hooks/use-view";
import { type Board, BoardProvider, useBoard } from "./lib/board";
import { Live } from "./lib/live";
import { planHistory } from "./lib/plan";
import { coloursOf } from "./lib/theme";
import { lengthOf, type Span } from "./lib/time";
import { spanOf } from "./lib/view";
import { PANELS } from "./panels";
import { FIELD_GROUPS } from "./panels/spec";

/** How often to ask for what is not pushed, ms. */
const TARGETS_EVERY_MS = 5_000;
const READINESS_EVERY_MS = 10_000;

/** The longer a window, the slower its totals change, and the more work they are. */
function summaryEveryMs(lengthMs: number): number {
  return Math.min(Math.max(lengthMs / 240, 10_000), 120_000);
}

/** The page: first the service's settings, without which nothing can be asked. */
export function App() {
  const theme = useTheme(useView().theme);
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
  const [first, setFirst] = useState<{ config: Config; aheadMs: number } | null>(null);
  const { data, error, refresh } = usePoll("config", fetchConfig, first ? 60_000 : 2_000);
  if (data && !first) setFirst(data);
  if (first) {
    const isOutdated =
      data !== null && JSON.stringify(data.config) !== JSON.stringify(first.config);
    return (
      <Dashboard
        config={first.config}
        aheadMs={data?.aheadMs ?? first.aheadMs}
        isOutdated={isOutdated}
      />
    );
  }
  return (
    <main className="grid min-h-dvh place-items-center p-4 text-center">
      {error === null ? (
        <p role="status">Loading …</p>
      ) : (
        <div role="alert">
          <h1 className="text-lg font-semibold">zaidash does not answer</h1>
          <p className="mb-3 text-muted">{error}. Trying again every 2 s.</p>
          <button type="button" className="button" onClick={refresh}>
            Try now
          </button>
        </div>
      )}
    </main>
  );
}

interface Props {
  readonly config: Config;
  readonly aheadMs: number;
  /** The service has been started anew with other settings, or another version of it. */
  readonly isOutdated: boolean;
}

function Dashboard({ config, aheadMs, isOutdated }: Props) {
  const [live] = useState(() => new Live(config, aheadMs));
  live.aheadMs = aheadMs;
  const view = useView();
  useSyncExternalStore(live.subscribe, () => live.tick);
  useStream(live, view.pausedAt !== null);
  useClock(live, config.scrape_interval);

  const theme = useTheme(view.theme);
  const now = live.now();
  const span = spanOf(view, now);
  // What an address names but there is not would leave the page empty.
  const panel = PANELS.some(({ id }) => id === view.panel) ? view.panel : null;
  const points = usePoints(panel !== null);
  const variant =
    view.variant !== null && config.variants.includes(view.variant) ? view.variant : null;
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
  const before = view.isComparing ? questionBefore(question, now) : null;
  const plan = (wanted: Span, isLive: boolean) =>
    planHistory(wanted, isLive, points, config, live.now());
  const planKey = String(points);
  const histories = {
    numbers: useHistory(live, FIELD_GROUPS.numbers, question, plan, planKey),
    codes: useHistory(live, FIELD_GROUPS.codes, question, plan, planKey),
    buckets: useHistory(live, FIELD_GROUPS.buckets, question, plan, planKey),
  };
  // In rows of the same width, though the window is a little longer.
  const planBefore = (wanted: Span) => {
    const rows = Math.ceil((points * lengthOf(wanted)) / question.lengthMs);
    return planHistory(wanted, false, rows, config, live.now());
  };
  const numbersBefore = useHistory(live, FIELD_GROUPS.numbers, before, planBefore, planKey);
  const codesBefore = useHistory(live, FIELD_GROUPS.codes, before, planBefore, planKey);
  const targets = usePoll("targets", fetchTargets, TARGETS_EVERY_MS);
  useEffect(() => live.check(targets.data ?? []), [live, targets.data]);
  // Why a variant's health has changed is known to its targets.
  const { healthChanges } = live;
  const { refresh } = targets;
  useEffect(() => {
    if (healthChanges > 0) refresh();
  }, [healthChanges, refresh]);
  const readiness = usePoll("readiness", fetchReasons, READINESS_EVERY_MS);
  // The charts first: a summary of a week is as much work as all of them.
  const isLoading = Object.values(histories).some((history) => history.isLoading);
  const summary = usePoll(
    isLoading ? null : keyOf(question),
    (signal) => fetchSummary(question, signal),
    span.isLive ? summaryEveryMs(question.lengthMs) : null,
  );
  const board: Board = {
    live,
    config,
    view: { ...view, variant, panel },
    theme,
    colours: coloursOf(theme),
    now,
    span,
    variants,
    points,
    histories,
    before: view.isComparing ? { numbers: numbersBefore, codes: codesBefore } : {},
    summaries: summary.data,
    targets,
    hasScraped: !(readiness.data ?? []).includes("no scrape yet"),
  };
  return (
    <BoardProvider value={board}>
      <Page>
        <Banners
          targets={targets.data}
          reasons={readiness.data}
          error={readiness.error}
          isOutdated={isOutdated}
        />
        <Panels />
      </Page>
    </BoardProvider>
  );
}

/** The figures and all panels, or the one panel that fills the screen. */
function Panels() {
  const { view } = useBoard();
  if (view.panel !== null) {
    const open = PANELS.find(({ id }) => id === view.panel);
    return <div className="grid flex-1">{open?.content}</div>;
  }
  return (
    <>
      <Tiles />
      <div className="grid grid-cols-1 gap-3 lg:grid-cols-2">
        {PANELS.map(({ id, content }) => (
          <Fragment key={id}>{content}</Fragment>
        ))}
      </div>
    </>
  );
}

function Page({ children }: { readonly children: React.ReactNode }) {
  const board = useBoard();
  const [isHelping, setIsHelping] = useState(false);
  const { onPan } = useNavigation();
  useShortcuts(board, { onPan, onHelp: () => setIsHelping(true) });
  return (
    <div className="flex min-h-dvh flex-col">
      <Header onHelp={() => setIsHelping(true)} />
      <main className="mx-auto flex w-full max-w-[3840px] flex-1 flex-col gap-3 p-3 lg:p-4">
        {children}
      </main>
      {isHelping && <Help onClose={() => setIsHelping(false)} />}
    </div>
  );
}
