import { useCallback, useEffect, useState } from "react";
import { fetchColumns, snapshotsOf } from "../api/client";
import type { Columns, Config, Field, Snapshot } from "../api/types";
import { retryDelayMs } from "../lib/connection";
import type { Live } from "../lib/live";
import { completeUntil, type Plan, type Slice } from "../lib/plan";
import { HOUR_MS, type Span } from "../lib/time";
import { Timeline } from "../lib/timeline";

/** What history is wanted: a fixed window, or the last `lengthMs` and all that comes. */
export interface Question {
  readonly variant: string | null;
  readonly variants: readonly string[];
  readonly lengthMs: number;
  /** End of a fixed window, ms; null for a live one. */
  readonly end: number | null;
}

export interface History {
  /** By variant, in the order of `variants`. Empty until the first answer. */
  readonly timelines: ReadonlyMap<string, Timeline>;
  /** The question the timelines answer; null until the first answer. */
  readonly question: Question | null;
  readonly error: string | null;
  readonly isLoading: boolean;
  readonly retry: () => void;
}

interface Failure {
  /** The question that had no answer, with all that shapes it. */
  readonly asked: string;
  readonly error: string;
  /** How often it was asked again before. */
  readonly attempt: number;
}

interface Answer {
  readonly question: Question | null;
  readonly timelines: ReadonlyMap<string, Timeline>;
}

const NO_ANSWER: Answer = { question: null, timelines: new Map() };

/** The window before is asked for anew whenever a live one has moved on by such a share of it. */
const BEFORE_PARTS = 240;
const LEAST_PART_MS = 5000;

/** History is asked for again by itself no sooner than after so many of `retryDelayMs`'s steps. */
const FIRST_RETRY = 3;

/** The question for the equally long window before. */
export function questionBefore(question: Question, now: number): Question {
  const { lengthMs, end } = question;
  const start = (end ?? now) - lengthMs;
  if (end !== null) return { ...question, end: start };
  const part = Math.max(LEAST_PART_MS, lengthMs / BEFORE_PARTS);
  // It reaches from the end of the one to the other until the next is asked for; but a request of
  // more than an hour would be answered with minutes.
  const longer = lengthMs + part;
  return {
    ...question,
    lengthMs: lengthMs <= HOUR_MS ? Math.min(longer, HOUR_MS) : longer,
    end: (Math.floor(start / part) + 1) * part,
  };
}

/** The part of time a question is about, when asked at `now`. */
export function spanOfQuestion({ lengthMs, end }: Question, now: number): Span {
  return { start: (end ?? now) - lengthMs, end: end ?? now };
}

/** Whether there may be more to come: the window moves along, or its last snapshot is not there yet. */
export function isGrowing(
  { end }: Question,
  timing: Pick<Config, "scrape_interval">,
  now: number,
): boolean {
  return end === null || end > completeUntil(timing, now);
}

export function keyOf(question: Question): string {
  return [question.variant, question.variants, question.lengthMs, question.end].join(" ");
}

/**
 * The history of some fields, which goes on with live snapshots. The old picture stays until the
 * new one is there; an answer that comes too late is thrown away. Null asks for nothing (yet).
 */
export function useHistory(
  live: Live,
  fields: readonly Field[],
  question: Question | null,
  plan: (span: Span, isLive: boolean) => Plan,
  planKey: string,
): History {
  const [answer, setAnswer] = useState(NO_ANSWER);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [round, setRound] = useState(0);
  const asked = question && `${keyOf(question)} ${planKey} ${live.epoch}`;
  const key = asked && `${asked} ${round}`;
  const [answeredKey, setAnsweredKey] = useState<string | null>(null);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the key stands for all of them
  useEffect(() => {
    if (question === null || key === null) {
      setAnswer(NO_ANSWER);
      return;
    }
    const isLive = isGrowing(question, live.config, live.now());
    if (isPauseOf(answer.question, question, live)) {
      for (const timeline of answer.timelines.values()) timeline.show();
      setAnswer({ ...answer, question });
      setAnsweredKey(key);
      return;
    }
    const abort = new AbortController();
    let waiting: Snapshot[] | null = [];
    let leadMs = 0; // what is told per minute looks back before the window
    let timelines: ReadonlyMap<string, Timeline> = new Map();
    const stop = live.onSnapshot((snapshot) => {
      if (!isLive) return;
      if (waiting) waiting.push(snapshot);
      else add(snapshot);
    });
    const add = (snapshot: Snapshot) => {
      const timeline = timelines.get(snapshot.variant);
      const end = question.end ?? snapshot.timestamp;
      if (snapshot.timestamp > end) return;
      timeline?.append([snapshot]);
      // Rows that have left the window go, so a page left open holds no more than one just opened.
      timeline?.trim(end - question.lengthMs - leadMs);
    };
    const load = async () => {
      const span = spanOfQuestion(question, live.now());
      const planned = plan(span, isLive);
      if (planned.lead) leadMs = planned.from - planned.lead.start;
      timelines = await fetchTimelines(question, fields, planned, abort.signal);
      for (const snapshot of waiting ?? []) add(snapshot);
      waiting = null;
      setAnswer({ question, timelines });
      setAnsweredKey(key);
      setFailure(null);
    };
    load().catch((error: Error) => {
      stop();
      if (abort.signal.aborted) return;
      setFailure((before) => ({
        asked: asked ?? "",
        error: error.message,
        attempt: before?.asked === asked ? before.attempt + 1 : 0,
      }));
    });
    return () => {
      abort.abort();
      stop();
    };
  }, [key]);

  // A service that is back answers what it could not before.
  const { openings } = live;
  // biome-ignore lint/correctness/useExhaustiveDependencies: only a new connection is a reason
  useEffect(() => {
    if (failure !== null) setRound((count) => count + 1);
  }, [openings]);

  // Nobody may be there to press a button. What failed is shown as failed until it no longer does.
  useEffect(() => {
    if (failure === null) return;
    const delayMs = retryDelayMs(FIRST_RETRY + failure.attempt, Math.random());
    const timer = setTimeout(() => setRound((count) => count + 1), delayMs);
    return () => clearTimeout(timer);
  }, [failure]);

  const hasFailed = failure !== null && failure.asked === asked;
  return {
    ...answer,
    error: hasFailed ? failure.error : null,
    isLoading: key !== null && answeredKey !== key && !hasFailed,
    retry: useCallback(() => {
      setFailure(null);
      setRound((count) => count + 1);
    }, []),
  };
}

/** Whether a question is about what is on the screen at this moment, only standing still. */
function isPauseOf(shown: Question | null, asked: Question, live: Live): boolean {
  return (
    shown !== null &&
    shown.end === null &&
    asked.end !== null &&
    live.isPauseOfNow(asked.end) &&
    keyOf({ ...shown, end: asked.end }) === keyOf(asked)
  );
}

async function fetchTimelines(
  { variant, variants }: Question,
  fields: readonly Field[],
  plan: Plan,
  signal: AbortSignal,
): Promise<Map<string, Timeline>> {
  const fetchSlice = (slice: Slice | null): Promise<ReadonlyMap<string, Columns>> =>
    slice && slice.end >= slice.start
      ? fetchColumns(slice, variant, fields, signal)
      : Promise.resolve(new Map());
  const [lead, complete, ...growing] = await Promise.all(
    [plan.lead, plan.rows, plan.minutes, plan.tail].map(fetchSlice),
  );
  signal.throwIfAborted();
  return new Map(
    variants.map((name) => {
      const timeline = new Timeline(fields, plan.stepMs, plan.baseMs, plan.gapMs);
      timeline.load(lead?.get(name) ?? { timestamp: [] });
      timeline.load(complete?.get(name) ?? { timestamp: [] }, plan.from);
      for (const part of growing) {
        const snapshots = part.get(name);
        if (snapshots) timeline.append(snapshotsOf(name, snapshots, fields));
      }
      return [name, timeline];
    }),
  );
}
