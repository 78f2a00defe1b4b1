import { useEffect, useState } from "react";
import { useBoard } from "../lib/board";
import { connectionOf } from "../lib/connection";
import { formatDuration } from "../lib/time";

/** How the page stands to the service. It counts by itself, whatever else happens. */
export function ConnectionBadge() {
  const { live, config } = useBoard();
  const [, count] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => count((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  const connection = connectionOf(
    live.streamState,
    live.ageMs(),
    config.scrape_interval,
    performance.now(),
  );
  const isTrouble = connection.kind === "stale" || connection.kind === "reconnecting";
  return (
    <div
      data-connection={connection.kind}
      className={`flex items-center gap-2 rounded-full px-2.5 py-0.5 text-[13px] ${isTrouble ? "bg-warning text-warning-ink" : "text-muted"}`}
    >
      {connection.kind === "live" && (
        // A new key for every tick starts the animation again.
        <span
          key={Math.max(...[...live.latest.values()].map(({ timestamp }) => timestamp))}
          aria-hidden="true"
          className="pulse size-2 rounded-full bg-good"
        />
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
      case "reconnecting":
        return `reconnecting in ${connection.inSeconds} s`;
      case "stale":
        return `stale: last data ${formatDuration(connection.ageMs)} ago`;
    }
  }
}
