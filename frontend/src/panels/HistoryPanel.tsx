import { memo, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { downloadCsv } from "../chart/export";
import { usePanelState, useShownSpan, useVersions } from "../components/ChartPanel";
import { IconButton } from "../components/IconButton";
import { Panel } from "../components/Panel";
import { useHistory } from "../hooks/use-history";
import { useIsSeen } from "../hooks/use-is-seen";
import { changeView } from "../hooks/use-view";
import { useBoard } from "../lib/board";
import { isoTime, toCsv } from "../lib/csv";
import { type Format, formatCount, formatMs, formatPercent } from "../lib/format";
import {
  isPartial,
  type MinuteKey,
  type MinuteRow,
  minuteRows,
  type Sorting,
  sortRows,
} from "../lib/minutes";
import { firstMinute, planMinutes } from "../lib/plan";
import { formatClock, formatDate, formatDuration } from "../lib/time";
import { keptOf } from "../lib/view";

export const HISTORY = "history";

const TITLE = "Request history";
const FIELDS = [
  "elapsed_s",
  "req_rate",
  "status_code_rates",
  "latency_p95",
  "token_rate_in",
  "token_rate_out",
] as const;

interface Column {
  readonly key: Exclude<MinuteKey, "time" | "variant">;
  readonly title: string;
  readonly format: Format;
  /** Name in the CSV file, with the unit. */
  readonly name: string;
}

const COLUMNS: readonly Column[] = [
  { key: "requests", title: "requests", format: formatCount, name: "requests" },
  { key: "ok", title: "2xx", format: formatCount, name: "2xx" },
  { key: "redirects", title: "3xx", format: formatCount, name: "3xx" },
  { key: "clientErrors", title: "4xx", format: formatCount, name: "4xx" },
  { key: "serverErrors", title: "5xx", format: formatCount, name: "5xx" },
  { key: "errorRate", title: "error rate", format: formatPercent, name: "error_rate_pct" },
  { key: "p95", title: "p95", format: formatMs, name: "latency_p95_ms" },
  { key: "tokensIn", title: "tokens in", format: formatCount, name: "tokens_input" },
  { key: "tokensOut", title: "tokens out", format: formatCount, name: "tokens_output" },
];

/** Height of a row in px: with it the rows out of sight need not be there. */
const ROW_PX = 28;
/** Rows drawn beyond the visible ones, so that scrolling shows no holes. */
const MARGIN_ROWS = 8;

/** A line per minute and variant. Only the rows in sight are in the page. */
export function HistoryPanel() {
  const board = useBoard();
  const { live, config, question, view } = board;
  const sight = useRef<HTMLDivElement>(null);
  const isSeen = useIsSeen(sight, false);
  const [wasSeen, setWasSeen] = useState(false);
  if (isSeen && !wasSeen) setWasSeen(true);
  const keptMs = Math.max(config.retention_1m, config.retention_5s) * 1000;
  const history = useHistory(
    live,
    FIELDS,
    wasSeen ? question : null,
    (wanted, isLive) => {
      const kept = keptOf(wanted, live.now(), keptMs);
      return planMinutes(kept, isLive, config, live.now(), view.pausedAt);
    },
    "minutes",
  );
  const start = firstMinute(useShownSpan(history));
  const versions = useVersions([...history.timelines.values()]);
  const { sorting } = view;
  const makeRows = () =>
    sortRows(
      [...history.timelines]
        .flatMap(([variant, timeline]) => minuteRows(variant, timeline))
        .filter(({ time }) => time >= start),
      sorting,
    );
  // What comes live is drawn where it is seen.
  const due = isSeen && `${versions} ${start}`;
  // biome-ignore lint/correctness/useExhaustiveDependencies: `due` stands for what comes live
  const rows = useMemo(makeRows, [history.timelines, due, sorting]);
  const saveCsv = () => {
    const lines = makeRows().map((row) => [
      isoTime(row.time),
      row.variant,
      ...COLUMNS.map(({ key }) => row[key]),
      row.covered === null ? null : Number(row.covered.toFixed(3)),
    ]);
    const header = ["minute", "variant", ...COLUMNS.map(({ name }) => name), "covered_s"];
    downloadCsv(HISTORY, toCsv(header, lines), live.now());
  };
  const sortBy = useCallback(
    (key: MinuteKey) =>
      changeView({
        sorting: { key, isDescending: sorting.key === key ? !sorting.isDescending : true },
      }),
    [sorting],
  );

  return (
    <Panel
      id={HISTORY}
      title={TITLE}
      unit={`per minute, ${rows.length} rows`}
      isWide
      state={usePanelState(history, rows.length > 0)}
      actions={
        <IconButton
          icon="table"
          title="Save as CSV"
          label={`${TITLE}: save as CSV`}
          onClick={saveCsv}
        />
      }
    >
      <div ref={sight} className={view.panel === HISTORY ? "min-h-96 flex-1 basis-0" : "h-96"}>
        <VirtualTable
          rows={rows}
          intervalS={config.scrape_interval}
          sorting={sorting}
          onSort={sortBy}
        />
      </div>
    </Panel>
  );
}

interface TableProps {
  readonly rows: readonly MinuteRow[];
  readonly intervalS: number;
  readonly sorting: Sorting;
  readonly onSort: (key: MinuteKey) => void;
}

const VirtualTable = memo(function VirtualTable(props: TableProps) {
  const { rows, intervalS, sorting, onSort } = props;
  const box = useRef<HTMLDivElement>(null);
  const [{ top, height }, setSight] = useState({ top: 0, height: 400 });
  const look = useCallback(() => {
    const element = box.current;
    if (element) setSight({ top: element.scrollTop, height: element.clientHeight });
  }, []);
  useEffect(() => {
    const observer = new ResizeObserver(look);
    if (box.current) observer.observe(box.current);
    return () => observer.disconnect();
  }, [look]);

  const first = Math.max(0, Math.floor(top / ROW_PX) - MARGIN_ROWS);
  const last = Math.min(rows.length, Math.ceil((top + height) / ROW_PX) + MARGIN_ROWS);
  return (
    <section
      ref={box}
      aria-label={`${TITLE}, scrollable`}
      tabIndex={0}
      data-scrolls
      className="scrolls h-full rounded border border-line -outline-offset-2"
      onScroll={look}
    >
      <table
        className="w-full min-w-[52rem] border-collapse text-right"
        aria-rowcount={rows.length + 1}
      >
        <thead className="sticky top-0 z-10 bg-raised">
          <tr aria-rowindex={1}>
            <SortHeader name="time" title="minute" {...{ sorting, onSort }} />
            <SortHeader name="variant" title="variant" {...{ sorting, onSort }} />
            {COLUMNS.map(({ key, title }) => (
              <SortHeader key={key} name={key} title={title} {...{ sorting, onSort }} />
            ))}
          </tr>
        </thead>
        <tbody>
          {first > 0 && (
            <tr>
              <td style={{ height: first * ROW_PX }} />
            </tr>
          )}
          {rows.slice(first, last).map((row, i) => (
            <tr
              key={`${row.variant} ${row.time}`}
              aria-rowindex={first + i + 2}
              className="border-t border-line"
              style={{ height: ROW_PX }}
            >
              <td className="px-2 text-left whitespace-nowrap">
                {formatDate(row.time)} {formatClock(row.time)}
                <span className="inline-block w-4">
                  {isPartial(row, intervalS) && <Partial covered={row.covered ?? 0} />}
                </span>
              </td>
              <td className="px-2 text-left">{row.variant}</td>
              {COLUMNS.map(({ key, format }) => (
                <td key={key} className="px-2 whitespace-nowrap">
                  {format(row[key])}
                </td>
              ))}
            </tr>
          ))}
          {last < rows.length && (
            <tr>
              <td style={{ height: (rows.length - last) * ROW_PX }} />
            </tr>
          )}
        </tbody>
      </table>
    </section>
  );
});

/** Marks a minute whose counts are not those of sixty seconds. */
function Partial({ covered }: { readonly covered: number }) {
  const words = `not a whole minute: it covers ${formatDuration(Math.round(covered) * 1000)}`;
  return (
    <span role="img" aria-label={words} title={words} className="cursor-help pl-1 text-muted">
      …
    </span>
  );
}

function SortHeader(props: {
  readonly name: MinuteKey;
  readonly title: string;
  readonly sorting: Sorting;
  readonly onSort: (key: MinuteKey) => void;
}) {
  const { name, title, sorting, onSort } = props;
  const isSorted = sorting.key === name;
  const isText = name === "time" || name === "variant";
  // On the side where it does not move the title away from what stands below it.
  const arrow = (
    <span aria-hidden="true" className="inline-block w-3">
      {isSorted ? (sorting.isDescending ? "↓" : "↑") : ""}
    </span>
  );
  return (
    <th
      scope="col"
      aria-sort={isSorted ? (sorting.isDescending ? "descending" : "ascending") : "none"}
      className={`px-2 py-1 font-medium ${isText ? "text-left" : ""}`}
    >
      <button
        type="button"
        className="whitespace-nowrap -outline-offset-2"
        onClick={() => onSort(name)}
      >
        {!isText && arrow}
        {title}
        {isText && arrow}
      </button>
    </th>
  );
}
