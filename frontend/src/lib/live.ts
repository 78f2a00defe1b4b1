import { EventStream, type StreamState } from "../api/stream";
import type { Config, Snapshot, TargetReport } from "../api/types";
import { isFresh } from "./connection";
import { MINUTE_MS } from "./time";

/** How far back the first connection asks; history overlaps with it by as much. */
const OVERLAP_MS = MINUTE_MS;
/** The service keeps events for an hour; after a longer absence history is fetched anew. */
const LONGEST_ABSENCE_MS = 50 * MINUTE_MS;

/** What comes within this time is drawn at once. */
const TOGETHER_MS = 60;

/** What need not be drawn at once waits for a tick no longer than this, ms. */
const LONGEST_WAIT_MS = 1500;

/** A variant that is silent for longer than so many ticks is down, and not just late. */
const LATE_TICKS = 2;

type SnapshotListener = (snapshot: Snapshot) => void;

/**
 * What the service pushes, outside of React: components see it change at most once per frame, and
 * in a hidden tab not at all until it is shown again.
 */
export class Live {
  /** The newest snapshot of every variant. */
  readonly latest = new Map<string, Snapshot>();
  /** How often a variant's health has changed. */
  healthChanges = 0;
  /** Goes up when there is something new to draw. */
  tick = 0;
  /** The service's time at that tick, ms: what is drawn at one tick is drawn for one time. */
  drawnAt: number;
  /** Goes up when history has to be fetched again, since too much was missed. */
  epoch = 0;
  /** How often a connection was made. */
  openings = 0;

  private openedAt = 0; // on the `performance.now()` clock
  private readonly stream: EventStream;
  private readonly changeListeners = new Set<() => void>();
  private readonly snapshotListeners = new Set<SnapshotListener>();
  private isDue = false;
  private waiting: (() => void)[] = [];

  constructor(
    readonly config: Config,
    /** How far the service's clock is ahead of this machine's. */
    public aheadMs: number,
  ) {
    this.drawnAt = this.now();
    this.stream = new EventStream(
      this.position(),
      (event) => {
        if (event.type === "metrics") this.take(event.data);
        if (event.type === "connected") {
          this.openings += 1;
          this.openedAt = performance.now();
        }
        if (event.type === "status") this.healthChanges += 1;
        this.changed();
      },
      () => this.changed(),
      () => this.open(),
    );
  }

  /** The service's time, ms since the epoch; no earlier than what has come from it. */
  now(): number {
    return Math.max(Date.now() + this.aheadMs, this.newest() ?? 0);
  }

  get streamState(): StreamState {
    return this.stream.state;
  }

  /**
   * The time at which a page that pauses now stands still: that of the last tick which all variants
   * have told of. A tick that is on its way would be missing here, and there after a reload.
   */
  pauseAt(): number {
    const now = Math.round(this.now());
    const oldest = now - LATE_TICKS * this.config.scrape_interval * 1000;
    const told = [...this.latest.values()].map(({ timestamp }) => timestamp);
    return Math.min(now, ...told.filter((timestamp) => timestamp >= oldest));
  }

  /** Whether a pause of this moment stands at such a time, and all that has come is from before. */
  isPauseOfNow(at: number): boolean {
    const lateMs = LATE_TICKS * this.config.scrape_interval * 1000;
    return at >= (this.newest() ?? 0) && this.now() - at < lateMs + 1000;
  }

  /** How long ago the newest snapshot of any variant was taken, in ms. */
  ageMs(): number | null {
    const newest = this.newest();
    return newest === null ? null : this.now() - newest;
  }

  open(): void {
    const age = this.ageMs();
    if (age !== null && age > LONGEST_ABSENCE_MS) {
      this.epoch += 1;
      this.stream.restart(this.position());
    } else {
      this.stream.open();
    }
  }

  close(): void {
    this.stream.close();
  }

  /** Take snapshots for the newest that are not from the stream, which a paused page has not. */
  seed(snapshots: Iterable<Snapshot>): void {
    for (const snapshot of snapshots) this.latest.set(snapshot.variant, snapshot);
    this.changed();
  }

  /**
   * Told of targets that were scraped: open the stream again where it is silent all the same. A
   * connection that a sleeping laptop or a firewall has lost looks open for a long time.
   */
  check(targets: readonly TargetReport[]): void {
    const patienceMs = Math.max(5000, 5000 * this.config.scrape_interval);
    if (this.stream.state.kind !== "open" || performance.now() - this.openedAt < patienceMs) return;
    const isSilent = targets.some(
      ({ health, variant, last_scrape }) =>
        health === "up" &&
        Date.parse(last_scrape ?? "") - (this.latest.get(variant)?.timestamp ?? 0) > patienceMs,
    );
    if (isSilent) this.open();
  }

  /** Be told once per frame that something changed. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.changeListeners.add(listener);
    return () => this.changeListeners.delete(listener);
  };

  /** Be handed every snapshot as it comes. */
  onSnapshot(listener: SnapshotListener): () => void {
    this.snapshotListeners.add(listener);
    return () => this.snapshotListeners.delete(listener);
  }

  /** Draw again although nothing came: time has passed. */
  readonly changed = (): void => {
    if (this.isDue) return;
    this.isDue = true;
    // The variants' snapshots of a tick come one after the other: they are drawn together. A hidden
    // tab gets no frames: all that happens meanwhile is one frame when it is shown.
    setTimeout(() => requestAnimationFrame(this.draw), TOGETHER_MS);
  };

  /** Change something when the page is drawn next, so that it is not drawn for this alone. */
  readonly withTick = (change: () => void): void => {
    this.waiting.push(change);
    setTimeout(() => {
      if (this.waiting.includes(change)) this.changed();
    }, LONGEST_WAIT_MS);
  };

  private readonly draw = (): void => {
    this.isDue = false;
    const changes = this.waiting;
    this.waiting = [];
    for (const change of changes) change();
    this.tick += 1;
    this.drawnAt = this.now();
    for (const listener of this.changeListeners) listener();
  };

  /** The newest snapshot of a variant, where it tells of the time of a pause, or of the tick drawn. */
  fresh(variant: string, pausedAt: number | null): Snapshot | null {
    const snapshot = this.latest.get(variant);
    const at = pausedAt ?? this.drawnAt;
    return snapshot && isFresh(snapshot.timestamp, at, this.config.scrape_interval)
      ? snapshot
      : null;
  }

  /** Time of the newest snapshot of any variant, ms. */
  newest(): number | null {
    let newest: number | null = null;
    for (const { timestamp } of this.latest.values()) newest = Math.max(newest ?? 0, timestamp);
    return newest;
  }

  private take(snapshot: Snapshot): void {
    const known = this.latest.get(snapshot.variant);
    if (!known || known.timestamp < snapshot.timestamp) {
      this.latest.set(snapshot.variant, snapshot);
    }
    for (const listener of this.snapshotListeners) listener(snapshot);
  }

  private position(): string {
    const since = Math.floor(this.now() - OVERLAP_MS);
    return this.config.variants.map((variant) => `${variant}=${since}`).join(",");
  }
}
