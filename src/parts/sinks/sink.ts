/** Where a run's numbers go besides metrics.jsonl. */
import type { RolloutRecord } from '../rollout/record.ts';
import type { MetricRecord } from '../trainer/trainer.ts';

export interface Sink {
  /** Takes a record. Returns at once: what is slow is done in the background. */
  log(record: MetricRecord): void;
  /** Takes the completions of an iteration. Left out by sinks that keep none. */
  rollouts?(records: readonly RolloutRecord[]): void;
  /** Resolves when everything that was logged is written or sent. */
  close(outcome: 'done' | 'interrupted' | 'failed'): Promise<void>;
}

export interface SinkContext {
  /** Folder of the run. */
  readonly folder: string;
  /** Name of the run for those who see many: that of its folder. */
  readonly name: string;
  /** The resolved configuration as YAML. */
  readonly configText: string;
  /** Bytes of rollouts to keep; none when left out. */
  readonly rolloutBytes?: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Tells what went wrong with a sink; a run does not stop for it. */
  readonly warn: (message: string) => void;
}

/** The record's step, and its other numbers by name. */
export function splitRecord(record: MetricRecord): { step: number; values: [string, number][] } {
  const { step = 0, ...rest } = record;
  return {
    step,
    values: Object.entries(rest).filter((entry): entry is [string, number] => typeof entry[1] === 'number'),
  };
}
