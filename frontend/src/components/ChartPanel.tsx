import { memo, type RefObject, useMemo, useRef } from "react";
import type uPlot from "uplot";
import { chartCsv, downloadCsv, downloadPng, legendOf } from "../chart/export";
import { lineOptions } from "../chart/options";
import { Plot } from "../chart/Plot";
import type { ChartSpec } from "../chart/spec";
import type { Tip } from "../chart/tooltip";
import { shapeOf } from "../chart/update";
import type { History } from "../hooks/use-history";
import { useIsSeen } from "../hooks/use-is-seen";
import { type Navigation, useNavigation } from "../hooks/use-navigation";
import { useLive } from "../hooks/use-tick";
import { changeView } from "../hooks/use-view";
import { type Board, useBoard, useChoices } from "../lib/board";
import { chartOf, type Source } from "../lib/chart-data";
import { describeChart } from "../lib/describe";
import { NOTHING } from "../lib/format";
import type { Live } from "../lib/live";
import type { Column } from "../lib/series";
import { coloursOf, type Theme } from "../lib/theme";
import type { Span } from "../lib/time";
import type { Timeline } from "../lib/timeline";
import type { PanelSpec, SeriesSpec } from "../panels/spec";
import { Current } from "./Current";
import { IconButton } from "./IconButton";
import { Legend } from "./Legend";
import { Panel, type PanelState } from "./Panel";

/** A panel with a chart of lines, made from its description; `turn` as in `usePhase`. */
export function ChartPanel({ panel, turn }: { readonly panel: PanelSpec; readonly turn: number }) {
  const board = useBoard();
  const { view, theme, summaries, variants, live, question } = board;
  const history = board.histories[panel.group];
  const phaseMs = usePhase(history, turn);
  const span = useShownSpan(history, phaseMs);
  const navigation = useNavigation();
  const chart = useRef<uPlot | null>(null);

  const before = board.before[panel.group];
  const sources = useSources(history, before, question.lengthMs);
  const versions = useVersions(
    sources.map(({ timeline }) => timeline),
    phaseMs,
  );
  const isLogarithmic = view.isLogarithmic && panel.canBeLogarithmic === true;
  const make = () => chartOf(panel, sources, span, { theme, hidden: view.hidden, isLogarithmic });
  const latestMake = useRef(make);
  latestMake.current = make;
  // What comes live is drawn where it is seen.
  const card = useRef<HTMLElement>(null);
  const isSeen = useIsSeen(card);
  const due = isSeen && `${versions} ${span.end}`;
  // biome-ignore lint/correctness/useExhaustiveDependencies: timelines and `due` stand for the sources
  const { spec, series, shape, description } = useMemo(() => {
    const made = make();
    const timelines = sources.map(({ timeline }) => timeline);
    return {
      spec: made,
      series: panel.series(timelines, theme).filter(({ isOnlyCompared }) => !isOnlyCompared),
      shape: `${theme} ${shapeOf(made)}`,
      description: describeChart(panel.title, made),
    };
  }, [panel, history.timelines, before?.timelines, due, theme, view.hidden, isLogarithmic]);
  const isHiding = [...view.hidden].some((name) => name.startsWith(`${panel.id}:`));
  const why = isHiding ? "No values of the series that are shown." : panel.nothing;
  const nothing = hasValues(spec) ? null : why;
  const state = usePanelState(history, spec.data[0].length > 0, nothing, before);
  return (
    <ChartCard
      {...{ panel, spec, series, shape, description, state, isLogarithmic, latestMake }}
      {...{ card, isSeen, isAnswered: history.question !== null }}
      summaries={panel.totals ? summaries : null}
      {...{ theme, variants, navigation, live, chart }}
    />
  );
}

interface CardProps {
  readonly panel: PanelSpec;
  readonly spec: ChartSpec;
  readonly series: readonly SeriesSpec[];
  readonly shape: string;
  readonly description: string;
  /** Makes the chart as it is now, though it may be out of sight. */
  readonly latestMake: RefObject<() => ChartSpec>;
  readonly card: RefObject<HTMLElement | null>;
  readonly isSeen: boolean;
  /** There has been an answer: a chart without one would have to be made again. */
  readonly isAnswered: boolean;
  readonly state: PanelState;
  readonly summaries: Board["summaries"];
  readonly isLogarithmic: boolean;
  readonly theme: Theme;
  readonly variants: readonly string[];
  readonly navigation: Navigation;
  readonly live: Live;
  readonly chart: RefObject<uPlot | null>;
}

/** What a panel looks like; at most ticks nothing of it changes but the values beside the title. */
const ChartCard = memo(function ChartCard(props: CardProps) {
  const { panel, spec, series, shape, description, state, isLogarithmic, latestMake } = props;
  const { theme, variants, summaries, navigation, live, chart, card, isSeen, isAnswered } = props;
  const colours = coloursOf(theme);
  return (
    <Panel
      id={panel.id}
      title={panel.title}
      unit={panel.unit}
      card={card}
      state={state}
      current={<Current tell={panel.current} isSeen={isSeen} />}
      actions={
        <>
          {panel.canBeLogarithmic && (
            <IconButton
              icon="scale"
              title="Logarithmic axis"
              label={`${panel.title}: logarithmic axis`}
              isPressed={isLogarithmic}
              onClick={() => changeView({ isLogarithmic: !isLogarithmic })}
            />
          )}
          <IconButton
            icon="table"
            title="Save as CSV"
            label={`${panel.title}: save as CSV`}
            onClick={() => downloadCsv(panel.id, chartCsv(latestMake.current()), live.now())}
          />
          <IconButton
            icon="image"
            title="Save as PNG"
            label={`${panel.title}: save as PNG`}
            isDisabled={!isAnswered}
            onClick={() => {
              const { title, unit } = panel;
              const legend = legendOf(spec.lines, colours.ink, colours.muted);
              const parts = chart.current ? [{ chart: chart.current, label: null }] : [];
              downloadPng(
                panel.id,
                parts,
                { title, unit, span: spec.span, legend },
                colours,
                live.now(),
              );
            }}
          />
        </>
      }
      below={<Legend panel={panel.id} series={series} />}
    >
      {panel.totals && <Totals variants={variants} totals={panel.totals} summaries={summaries} />}
      <div className="relative min-h-56 flex-1 2xl:min-h-72">
        {isAnswered && (
          <Plot
            chart={chart}
            isSeen={isSeen}
            shape={shape}
            data={spec.data}
            span={spec.span}
            options={(size, shown) => lineOptions(spec, shown, size, colours, navigation)}
            tip={(u) => tipOf(u, spec)}
            onPan={navigation.onPan}
            description={description}
          />
        )}
      </div>
    </Panel>
  );
});

interface TotalsProps {
  readonly variants: readonly string[];
  readonly totals: NonNullable<PanelSpec["totals"]>;
  readonly summaries: Board["summaries"];
}

/** What there was in all in the window; as high before it is known as afterwards. */
function Totals({ variants, totals, summaries }: TotalsProps) {
  return (
    <table className="mt-1 w-full table-fixed text-xs text-muted">
      <caption className="sr-only">in all</caption>
      <thead>
        <tr>
          <th scope="col" className="w-[26%] text-left font-normal">
            in all
          </th>
          {Object.keys(totals).map((name) => (
            <th key={name} scope="col" className="text-left font-normal">
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {variants.map((variant) => {
          const summary = summaries?.get(variant);
          return (
            <tr key={variant}>
              <th scope="row" className="truncate pr-1 text-left font-normal">
                {variant}
              </th>
              {Object.entries(totals).map(([name, tell]) => (
                <td key={name}>{summary ? tell(summary) : NOTHING}</td>
              ))}
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

/**
 * When within a rest a panel draws what has come live, ms. Panels take turns, one at a tick as far
 * as they can: all of them at the same tick would keep the page from answering for too long.
 */
export function usePhase(history: History, turn: number): number {
  const { config } = useChoices();
  return (turn * config.scrape_interval * 1000) % restOf(history);
}

function restOf({ timelines }: History): number {
  const [timeline] = timelines.values();
  return timeline?.restMs ?? 1;
}

/**
 * The time the answered question is about: while another is asked, the old picture stays. A live
 * window moves on once in a rest, when its panel draws.
 */
export function useShownSpan(history: History, phaseMs = 0): Span {
  const board = useBoard();
  const { lengthMs, end: fixedEnd } = history.question ?? board.question;
  const restMs = restOf(history);
  const end = useLive(
    ({ drawnAt }) => fixedEnd ?? Math.ceil((drawnAt - phaseMs) / restMs) * restMs + phaseMs,
  );
  return useMemo(() => ({ start: end - lengthMs, end }), [end, lengthMs]);
}

/** The versions of timelines as one: with it, something of them is to be drawn. */
export function useVersions(timelines: readonly Timeline[], phaseMs = 0): string {
  return useLive(() => timelines.map((timeline) => timeline.version(phaseMs)).join(" "));
}

/** The timelines to draw, with those of the window before where the user compares. */
function useSources(history: History, before: History | undefined, lengthMs: number): Source[] {
  const { config } = useChoices();
  const sourcesOf = ({ timelines }: History, shift: (stepMs: number) => number): Source[] =>
    [...timelines].map(([variant, timeline]) => ({
      variant,
      index: config.variants.indexOf(variant),
      timeline,
      shiftMs: shift(timeline.stepMs),
    }));
  return [
    ...sourcesOf(history, () => 0),
    // A whole number of steps, so that both windows' rows meet at the same times.
    ...(before ? sourcesOf(before, (step) => Math.round(lengthMs / step) * step) : []),
  ];
}

function hasValues({ data }: ChartSpec): boolean {
  const [, ...columns] = data;
  return columns.some((column) => Array.prototype.some.call(column, (value) => value != null));
}

/**
 * Which of its states a panel is in. `nothing` says why there is nothing to draw of the rows there
 * are; `before` is the window before, where there is to be one.
 */
export function usePanelState(
  history: History,
  hasRows: boolean,
  nothing: string | null = null,
  before?: History,
): PanelState {
  const { readiness, question: asked } = useBoard();
  const { error, retry, isLoading, question } = history;
  // A live window before is asked for again and again, which is nobody's doing.
  const isOld = isLoading || (before?.isLoading === true && before.question === null);
  const isYoung = asked.end === null && (readiness.data ?? []).includes("no scrape yet");
  const isAnswered = question !== null;
  return useMemo(() => {
    if (error !== null) return { kind: "failed", error, retry };
    if (!isAnswered || (isLoading && !hasRows)) return { kind: "loading" };
    if (hasRows)
      return nothing === null ? { kind: "ready", isOld } : { kind: "empty", text: nothing };
    return isYoung
      ? { kind: "empty", text: "No data yet: the first snapshot is still to come." }
      : { kind: "empty", text: "No data in this range." };
  }, [error, retry, isAnswered, isLoading, isOld, hasRows, nothing, isYoung]);
}

/** All lines at the place of the pointer, a column per variant. */
function tipOf(u: uPlot, { lines, data }: ChartSpec): Tip | null {
  const index = u.cursor.idx;
  const time = index == null ? undefined : data[0][index];
  if (index == null || time === undefined) return null;
  const inOrder = [...lines].sort((a, b) => Number(a.isBefore) - Number(b.isBefore));
  const columns = [...new Set(inOrder.map(columnName))];
  const labels = [...new Set(inOrder.map(({ label }) => label))];
  const rows = labels.map((label) => ({
    label,
    colour: lines.find((line) => line.label === label && !line.isBefore)?.colour ?? null,
    values: columns.map((column) => {
      const at = lines.findIndex((one) => one.label === label && columnName(one) === column);
      const line = lines[at];
      if (!line) return "";
      return line.format(valueAt((line.told.length > 0 ? line.told : data[at + 1]) ?? [], index));
    }),
  }));
  return { time: time * 1000, columns: columns.length > 1 ? columns : [""], rows };
}

/** The value of the row that holds a place, which may be wider than those of other lines. */
function valueAt(column: ArrayLike<number | null | undefined>, index: number): Column[number] {
  let at = index;
  while (at > 0 && column[at] === undefined) at -= 1;
  return column[at];
}

function columnName({ variant, isBefore }: ChartSpec["lines"][number]): string {
  return isBefore ? `${variant} before` : variant;
}
