import { useEffect, useState } from "react";
import { useBoard } from "../lib/board";
import { connectionOf } from "../lib/connection";
import { formatDuration } from "../lib/time";

/** How the page stands to the service. It counts by itself, whatever else happens. */
export function ConnectionBadge() {
  const { live, config } = useBoard();
  const connection = connectionOf(
    live.streamState,
    live.ageMs(),
    config.scrape_interval,
    performance.now(),
  );
  // A live page is drawn at every tick; else the seconds have to be counted here.
  const [, count] = useState(0);
  const isLive = connection.kind === "live";
  useEffect(() => {
    if (isLive) return;
    const timer = setInterval(() => count((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [isLive]);
  const isTrouble = connection.kind === "stale" || connection.kind === "reconnecting";
  return (
    <div
      data-connection={connection.kind}
      className={`flex items-center gap-2 rounded-full px-2.5 py-0.5 text-[13px] ${isTrouble ? "bg-warning text-warning-ink" : "text-muted"}`}
    >
      {connection.kind === "live" && (
        <Pulse newest={live.newest()} tickMs={config.scrape_interval * 1000} />
      )}
      {isTrouble && <span aria-hidden="true">▲</span>}
      <span className="whitespace-nowrap">{words()}</span>
      {connection.kind === "reconnecting" && (
        <button type="button" className="underline" onClick={() => live.open()}>
          retry now
        </button>
      )}
    </div>
  );

  function words(): string {
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
}

/** A dot that gets a ring with one tick, and loses it with the next. */
function Pulse({ newest, tickMs }: { readonly newest: number | null; readonly tickMs: number }) {
  const isOdd = Math.round((newest ?? 0) / tickMs) % 2 === 1;
  return (
    <span aria-hidden="true" className={`size-2 rounded-full bg-good ${isOdd ? "pulse" : ""}`} />
  );
}
