import { memo, useMemo, useRef } from "react";
import type uPlot from "uplot";
import { downloadCsv, downloadPng } from "../chart/export";
import { bucketAxis, cellAt, heatPlugin } from "../chart/heat-plugin";
import { AXIS_PX, baseOptions } from "../chart/options";
import { Plot } from "../chart/Plot";
import { usePanelState, usePhase, useShownSpan, useVersions } from "../components/ChartPanel";
import { Current } from "../components/Current";
import { IconButton } from "../components/IconButton";
import { Panel } from "../components/Panel";
import { DashSwatch } from "../components/Swatch";
import { useIsSeen } from "../hooks/use-is-seen";
import { type Navigation, useNavigation } from "../hooks/use-navigation";
import { useBoard } from "../lib/board";
import { isoTime, toCsv } from "../lib/csv";
import { formatCount, formatMs, NOTHING } from "../lib/format";
import { boundsOf, bucketLabel, type Heat, heatOf, totalsOf } from "../lib/heat";
import type { Colours, Theme } from "../lib/theme";
import { lengthOf, type Span } from "../lib/time";
import type { Timeline } from "../lib/timeline";

export const HEAT_MAP = "heat-map";

const TITLE = "Latency distribution";
const UNIT = "requests by duration";

/** How many requests took how long: a map of time and bucket for each variant. */
export function HeatMapPanel({ turn }: { readonly turn: number }) {
  const { histories, variants, theme, colours, live, config } = useBoard();
  const history = histories.buckets;
  const navigation = useNavigation();
  const phaseMs = usePhase(history, turn);
  const span = useShownSpan(history, phaseMs);
  const timelines = [...history.timelines];
  const versions = useVersions([...history.timelines.values()], phaseMs);
  // What comes live is drawn where it is seen.
  const card = useRef<HTMLElement>(null);
  const isSeen = useIsSeen(card);
  const due = isSeen && `${versions} ${span.end}`;
  // biome-ignore lint/correctness/useExhaustiveDependencies: `due` stands for what comes live
  const drawn = useMemo(
    () => ({
      span,
      bounds: boundsOf([...history.timelines.values()]),
      hasRows: [...history.timelines.values()].some(({ times }) => times.length > 0),
    }),
    [history.timelines, due],
  );
  const charts = useRef(new Map<string, React.RefObject<uPlot | null>>());

  const saveCsv = () => {
    const bounds = boundsOf([...history.timelines.values()]);
    const rows = timelines.flatMap(([variant, timeline]) =>
      timeline.objects("latency_buckets").flatMap((counts, i) => {
        const time = timeline.times[i] ?? 0;
        const isShown = counts && time >= span.start && time <= span.end;
        return isShown ? [[isoTime(time), variant, ...bounds.map((b) => counts[b] ?? 0)]] : [];
      }),
    );
    downloadCsv(
      HEAT_MAP,
      toCsv(["time", "variant", ...bounds.map((b) => `le ${b}`)], rows),
      live.now(),
    );
  };
  const savePng = () => {
    const parts = variants.flatMap((label) => {
      const chart = charts.current.get(label)?.current;
      return chart ? [{ chart, label }] : [];
    });
    const [few = "", many = ""] = colours.heat;
    const legend = [
      { label: "few", colour: few, dash: null },
      { label: "many", colour: many, dash: null },
    ];
    downloadPng(
      HEAT_MAP,
      parts,
      { title: TITLE, unit: UNIT, span: drawn.span, legend },
      colours,
      live.now(),
    );
  };

  return (
    <Panel
      id={HEAT_MAP}
      title={TITLE}
      unit={UNIT}
      card={card}
      state={usePanelState(
        history,
        drawn.hasRows,
        drawn.bounds.length > 0 ? null : "No request finished in this range.",
      )}
      current={
        <Current tell={({ latency_p50 }) => `p50 ${formatMs(latency_p50)}`} isSeen={isSeen} />
      }
      actions={
        <>
          <IconButton
            icon="table"
            title="Save as CSV"
            label={`${TITLE}: save as CSV`}
            onClick={saveCsv}
          />
          <IconButton
            icon="image"
            title="Save as PNG"
            label={`${TITLE}: save as PNG`}
            isDisabled={history.question === null}
            onClick={savePng}
          />
        </>
      }
    >
      <div className="flex min-h-64 flex-1 flex-col gap-1">
        {timelines.map(([variant, timeline]) => {
          const chart = charts.current.get(variant) ?? { current: null };
          charts.current.set(variant, chart);
          return (
            <HeatMap
              key={variant}
              chart={chart}
              variant={variant}
              index={timelines.length > 1 ? config.variants.indexOf(variant) : null}
              timeline={timeline}
              drawn={drawn}
              isSeen={isSeen}
              {...{ theme, colours, navigation }}
            />
          );
        })}
      </div>
    </Panel>
  );
}

interface Props {
  readonly chart: React.RefObject<uPlot | null>;
  readonly variant: string;
  /** The place of the variant among all, null where its name need not be told. */
  readonly index: number | null;
  readonly timeline: Timeline;
  /** The window, and the rows of the map; another one where the timeline has changed. */
  readonly drawn: { readonly span: Span; readonly bounds: readonly string[] };
  readonly isSeen: boolean;
  readonly theme: Theme;
  readonly colours: Colours;
  readonly navigation: Navigation;
}

/** One variant's map. */
const HeatMap = memo(function HeatMap(props: Props) {
  const { chart, variant, index, timeline, drawn, theme, colours, navigation } = props;
  const { span, bounds } = drawn;
  const heat = useMemo(() => heatOf(timeline, drawn.span, drawn.bounds), [timeline, drawn]);
  const description = useMemo(() => describe(variant, heat), [variant, heat]);
  const latest = useRef<Heat>(heat);
  latest.current = heat;
  // uPlot draws axes and crosshair; of the data it has to know the times.
  const data = useMemo<uPlot.AlignedData>(() => {
    const times = Array.from(
      { length: heat.columns },
      (_, column) => (heat.start + column * heat.stepMs) / 1000,
    );
    return [times, new Array(heat.columns).fill(null)];
  }, [heat]);

  return (
    <div className="flex min-h-0 flex-1 flex-col">
      <div className="mt-1 flex items-center gap-x-3 text-xs text-muted">
        {index !== null && (
          <p className="name flex min-w-0 items-center gap-1.5">
            <DashSwatch index={index} />
            {variant}
          </p>
        )}
        <Scale most={heat.max} colours={colours} />
      </div>
      <div className="relative min-h-0 flex-1">
        <Plot
          chart={chart}
          isSeen={props.isSeen}
          shape={JSON.stringify([theme, bounds, lengthOf(span)])}
          data={data}
          span={span}
          options={(size, shown) => {
            const base = baseOptions(size, shown, colours, navigation);
            return {
              ...base,
              scales: { ...base.scales, left: { range: [0, bounds.length] } },
              axes: [...(base.axes ?? []), bucketAxis(bounds, colours.muted, AXIS_PX)],
              series: [{}, { scale: "left", points: { show: false } }],
              plugins: [heatPlugin(() => latest.current, theme)],
            };
          }}
          tip={(u) => {
            const cell = cellAt(u, latest.current);
            if (!cell) return null;
            const row = { label: cell.label, colour: null, values: [formatCount(cell.count)] };
            return { time: cell.time, columns: [`${variant}, requests`], rows: [row] };
          }}
          onPan={navigation.onPan}
          description={description}
        />
      </div>
    </div>
  );
});

interface ScaleProps {
  readonly most: number;
  readonly colours: Colours;
}

/** What the colours stand for: requests in a cell, on a logarithmic scale. */
const Scale = memo(function Scale({ most, colours }: ScaleProps) {
  return (
    <p
      className="ml-auto flex shrink-0 items-center gap-1.5"
      title="Requests in a cell, on a logarithmic scale"
    >
      <span className="sr-only">requests in a cell, from</span>1
      <span
        className="swatch h-2.5 w-20 rounded-xs"
        style={{ backgroundImage: `linear-gradient(to right, ${colours.heat.join(", ")})` }}
      />
      <span className="sr-only">to</span>
      <span className="min-w-[5ch] tabular-nums">{most > 0 ? formatCount(most) : NOTHING}</span>
    </p>
  );
});

/** The map in words: which bucket has the most requests. */
function describe(variant: string, heat: Heat): string {
  const totals = totalsOf(heat);
  const total = totals.reduce((sum, count) => sum + count, 0);
  if (total === 0) return `${TITLE}, ${variant}. No data.`;
  const most = Math.max(...totals);
  const share = Math.round((100 * most) / total);
  const label = bucketLabel(heat.bounds, totals.indexOf(most));
  return `${TITLE}, ${variant}: ${formatCount(total)} requests, ${share} % of them took ${label}.`;
}
