import { useEffect, useRef, useState } from "react";
import { useEachTick, useLive } from "../hooks/use-tick";
import { useChoices } from "../lib/board";
import { type Connection, connectionOf } from "../lib/connection";
import { formatDuration } from "../lib/time";

/** How the page stands to the service. It counts by itself, whatever else happens. */
export function ConnectionBadge() {
  const { live, config } = useChoices();
  const look = () =>
    connectionOf(live.streamState, live.ageMs(), config.scrape_interval, performance.now());
  const kind = useLive(() => look().kind);
  const words = useLive(() => wordsOf(look()));
  // The words of a live page stay as they are; else the seconds have to be counted here.
  const [, count] = useState(0);
  const isLive = kind === "live";
  useEffect(() => {
    if (isLive) return;
    const timer = setInterval(() => count((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [isLive]);
  const isTrouble = kind === "stale" || kind === "reconnecting";
  return (
    <div
      data-connection={kind}
      className={`flex items-center gap-2 rounded-full px-2.5 py-0.5 text-[13px] ${isTrouble ? "bg-warning text-warning-ink" : "text-muted"}`}
    >
      {isLive && <Pulse tickMs={config.scrape_interval * 1000} />}
      {isTrouble && <span aria-hidden="true">▲</span>}
      <span className="whitespace-nowrap">{words}</span>
      {kind === "reconnecting" && (
        <button type="button" className="underline" onClick={() => live.open()}>
          retry now
        </button>
      )}
    </div>
  );
}

function wordsOf(connection: Connection): string {
  switch (connection.kind) {
    case "live":
      return "live";
    case "paused":
      return "paused";
    case "connecting":
      return "connecting …";
    case "waiting":
      return "connected, no data yet";
    case "reconnecting":
      return `reconnecting in ${connection.inSeconds} s`;
    case "stale":
      return `stale: last data ${formatDuration(connection.ageMs)} ago`;
  }
}

/** A dot that gets a ring with one tick, and loses it with the next. */
function Pulse({ tickMs }: { readonly tickMs: number }) {
  const dot = useRef<HTMLSpanElement>(null);
  useEachTick((live) => {
    const isOdd = Math.round((live.newest() ?? 0) / tickMs) % 2 === 1;
    dot.current?.classList.toggle("pulse", isOdd);
  });
  return <span ref={dot} aria-hidden="true" className="size-2 rounded-full bg-good" />;
}
