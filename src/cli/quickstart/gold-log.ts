/** What PPO's own completions are worth on gold, iteration by iteration: looked at, never learned from. */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { mean } from '../../core/statistics.ts';
import type { Trace } from '../../parts/rollout/rollout.ts';
import type { Score } from '../../parts/scorer/scorer.ts';
import type { Testbed } from './testbed.ts';

export interface GoldRecord {
  /** 0-based. */
  readonly iteration: number;
  /** Mean score of the learned reward model. */
  readonly learned: number;
  /** Mean gold utility of the same completions. */
  readonly gold: number;
}

export interface GoldLog {
  /** Judges the completions of an iteration and appends a line. */
  readonly record: (iteration: number, traces: readonly Trace[], scores: readonly Score[]) => void;
}

export function openGoldLog(path: string, testbed: Testbed): GoldLog {
  return {
    record(iteration, traces, scores) {
      const gold = mean(
        traces.map(
          ({ prompt, text }) =>
            testbed.judge(testbed.request(String(prompt.row!.columns.requestId)), text).utility,
        ),
      );
      const learned = mean(scores.filter((score) => score !== undefined));
      appendFileSync(path, `${JSON.stringify({ iteration, learned, gold } satisfies GoldRecord)}\n`);
    },
  };
}

/** The records by iteration. A run that was resumed did some iterations again: the last line of each counts. */
export function readGoldLog(path: string): GoldRecord[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
  const records = lines.map((line) => JSON.parse(line) as GoldRecord);
  return [...new Map(records.map((record) => [record.iteration, record])).values()];
}
