import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Config, LiveEvent } from "../api/types";
import { Live } from "./live";

const NOW = Date.UTC(2026, 10, 23, 14, 5, 9, 137);
const CONFIG: Config = {
  scrape_interval: 1,
  targets: [],
  variants: ["production"],
  retention_5s: 86_400,
  retention_1m: 604_800,
  version: "1",
};

/** The browser's side of a stream: what it was opened with, and a way to be told something. */
class Source {
  static readonly opened: Source[] = [];
  onmessage: ((message: { data: string; lastEventId: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  constructor(readonly url: string) {
    Source.opened.push(this);
  }
  close(): void {}
  tell(event: LiveEvent): void {
    this.onmessage?.({ data: JSON.stringify(event), lastEventId: "" });
  }
}

function openLive(aheadMs = 0): { live: Live; source: Source } {
  const live = new Live(CONFIG, aheadMs);
  live.open();
  const source = Source.opened.at(-1);
  if (!source) throw new Error("no stream was opened");
  source.tell({ type: "connected", scrape_interval: 1, variants: ["production"] });
  return { live, source };
}

const metrics = (timestamp: number): LiveEvent => ({
  type: "metrics",
  data: { timestamp, variant: "production", req_rate: 1 },
});

beforeEach(() => {
  Source.opened.length = 0;
  vi.useFakeTimers({ now: NOW });
  vi.stubGlobal("EventSource", Source);
  vi.stubGlobal("requestAnimationFrame", () => 1);
  // With a login: no request takes an address that has one.
  vi.stubGlobal("location", new URL("http://x:secret@example/zaidash/?range=1h"));
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("a pause", () => {
  const tell = (source: Source, variant: string, timestamp: number) =>
    source.tell({ type: "metrics", data: { timestamp, variant, req_rate: 1 } });

  it("stands at the last tick that all variants have told of", () => {
    const { live, source } = openLive();
    expect(live.pauseAt()).toBe(NOW);
    tell(source, "production", NOW - 1137);
    tell(source, "canary", NOW - 1137);
    expect(live.pauseAt()).toBe(NOW - 1137);
    tell(source, "production", NOW - 137);
    expect(live.pauseAt()).toBe(NOW - 1137);
    tell(source, "canary", NOW - 137);
    expect(live.pauseAt()).toBe(NOW - 137);
  });

  it("leaves the picture as it is, unless a variant has told of a newer tick", () => {
    const { live, source } = openLive();
    tell(source, "production", NOW - 1637);
    tell(source, "canary", NOW - 1637);
    expect(live.isPauseOfNow(live.pauseAt())).toBe(true);
    tell(source, "production", NOW - 137);
    expect(live.isPauseOfNow(live.pauseAt())).toBe(false);
    expect(live.isPauseOfNow(NOW - 10_000)).toBe(false);
  });

  it("does not wait for a variant that is down", () => {
    const { live, source } = openLive();
    tell(source, "canary", NOW - 5137);
    tell(source, "production", NOW - 137);
    expect(live.pauseAt()).toBe(NOW - 137);
  });
});

describe("the service's time", () => {
  it("is this machine's, moved by how far the service's clock is ahead", () => {
    expect(openLive().live.now()).toBe(NOW);
    expect(openLive(90_000).live.now()).toBe(NOW + 90_000);
  });

  it("is never before the newest snapshot, so that a new range does not lose what came just now", () => {
    // A clock that is up to 1.5 s slow counts as right; a new range asks for history up to now.
    const { live, source } = openLive();
    source.tell(metrics(NOW + 1200));
    expect(live.now()).toBeGreaterThanOrEqual(NOW + 1200);
  });
});

describe("the newest snapshot", () => {
  it("stays the newest when the stream repeats older ones", () => {
    const { live, source } = openLive();
    for (const ago of [2000, 1000, 3000]) source.tell(metrics(NOW - ago));
    expect(live.latest.get("production")?.timestamp).toBe(NOW - 1000);
    expect(live.ageMs()).toBe(1000);
  });

  it("is handed on, every one of them, also those repeated", () => {
    const { live, source } = openLive();
    const told: number[] = [];
    const stop = live.onSnapshot(({ timestamp }) => told.push(timestamp));
    for (const ago of [2000, 1000, 2000]) source.tell(metrics(NOW - ago));
    stop();
    source.tell(metrics(NOW));
    expect(told).toEqual([NOW - 2000, NOW - 1000, NOW - 2000]);
  });
});

describe("the snapshot that tells of a time", () => {
  /** A page whose newest snapshot is as old as this, in ms. */
  const openWith = (ageMs: number): Live => {
    const { live, source } = openLive();
    source.tell(metrics(NOW - ageMs));
    return live;
  };

  it("is the newest one", () => {
    expect(openWith(1000).fresh("production", null)?.timestamp).toBe(NOW - 1000);
  });

  it("is none of another variant", () => {
    expect(openWith(1000).fresh("canary", null)).toBeNull();
  });

  it("is none that is too old at the tick drawn", () => {
    expect(openWith(60_000).fresh("production", null)).toBeNull();
  });

  it("is that of the pause, however long it lasts", () => {
    expect(openWith(60_000).fresh("production", NOW - 59_000)?.timestamp).toBe(NOW - 60_000);
  });
});

describe("what can wait for a tick", () => {
  const frames = () => vi.stubGlobal("requestAnimationFrame", (draw: () => void) => draw());

  it("is changed in the tick's own drawing, so that the page is drawn once for both", () => {
    frames();
    const { live, source } = openLive();
    vi.advanceTimersByTime(100);
    const seen: string[] = [];
    live.subscribe(() => seen.push("drawn"));
    live.withTick(() => seen.push("changed"));
    expect(seen).toEqual([]);
    source.tell(metrics(NOW));
    vi.advanceTimersByTime(10_000);
    expect(seen).toEqual(["changed", "drawn"]);
  });

  it("is changed soon all the same where no tick comes", () => {
    frames();
    const { live } = openLive();
    const seen: string[] = [];
    vi.advanceTimersByTime(100);
    live.withTick(() => seen.push("changed"));
    vi.advanceTimersByTime(2000);
    expect(seen).toEqual(["changed"]);
  });
});

describe("the stream", () => {
  it("begins a minute before the page was opened, so that it overlaps with history", () => {
    openLive();
    const url = new URL(Source.opened[0]?.url ?? "", "http://localhost/");
    expect(url.searchParams.get("last_event_id")).toBe(`production=${NOW - 60_000}`);
    expect(`${url.origin}${url.pathname}`).toBe("http://example/zaidash/api/events");
    expect(url.username + url.password).toBe("");
  });

  it("begins anew after an absence the service does not remember, and history with it", () => {
    const { live, source } = openLive();
    source.tell(metrics(NOW));
    live.close();
    vi.setSystemTime(NOW + 55 * 60_000);
    live.open();
    expect(live.epoch).toBe(1);
    expect(decodeURIComponent(Source.opened.at(-1)?.url ?? "")).toContain(
      `production=${NOW + 54 * 60_000}`,
    );
  });

  it("begins anew where the service itself was away for so long", () => {
    const { live, source } = openLive();
    source.tell(metrics(NOW));
    source.onerror?.();
    vi.setSystemTime(NOW + 55 * 60_000);
    vi.advanceTimersByTime(60_000);
    expect(live.epoch).toBe(1);
    expect(Source.opened).toHaveLength(2);
    expect(decodeURIComponent(Source.opened.at(-1)?.url ?? "")).toContain("production=");
  });

  it("goes on where it was after a short absence, with the history there is", () => {
    const { live, source } = openLive();
    source.tell(metrics(NOW));
    live.close();
    vi.setSystemTime(NOW + 5 * 60_000);
    live.open();
    expect(live.epoch).toBe(0);
  });
});
