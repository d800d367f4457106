/** What is kept of a completion: everything that was known when it was learned from. */
import type { Score } from '../scorer/scorer.ts';
import type { PartScore } from '../scorer/weighted-scorer.ts';
import type { Trace } from './rollout.ts';

/** A completion with its numbers. Lists have a number per completion token. */
export interface RolloutRecord {
  /** Iteration, from 1, as in the metrics. */
  readonly step: number;
  /** Place in the batch, from 0. */
  readonly sample: number;
  /** Completions of one prompt share it. */
  readonly group: number;
  readonly prompt: string;
  readonly completion: string;
  readonly promptIds: ArrayLike<number>;
  readonly ids: ArrayLike<number>;
  /** log π of the sampler, nats. */
  readonly logProbs: ArrayLike<number>;
  /** log π_ref, nats. */
  readonly referenceLogProbs?: ArrayLike<number>;
  /** The critic's value before each token, in units of reward; only where there is a critic. */
  readonly values?: ArrayLike<number>;
  /** As they multiply the loss. */
  readonly advantages?: ArrayLike<number>;
  /** Left out where the completion could not be scored. */
  readonly score?: number;
  /** What the score is made of, by the name of the reward, before weights; a reward without a number is left out. */
  readonly rewards: Readonly<Record<string, number>>;
  /** Sum of the token rewards: the score after shaping, with the KL where it is part of the reward. */
  readonly reward?: number;
  /** What the training reward is the sum of, by name. */
  readonly parts: Readonly<Record<string, number>>;
  readonly flags: readonly RolloutFlag[];
  readonly finish: Trace['finish'];
  /** Optimizer steps that the sampling weights had taken. */
  readonly weightVersion: number;
}

/**
 * truncated: cut at `maxNewTokens`, without a stop token; filtered: left out of the updates; unscored: the scorer had no number;
 * resampled: its group was replaced by another; chosen, rejected: its side of a pair.
 */
export const rolloutFlags = ['truncated', 'filtered', 'unscored', 'resampled', 'chosen', 'rejected'] as const;
export type RolloutFlag = (typeof rolloutFlags)[number];

/** What a method made of a completion. */
export interface RolloutOutcome {
  readonly advantages?: ArrayLike<number>;
  readonly reward?: number;
  readonly parts: Readonly<Record<string, number>>;
  readonly flags: readonly RolloutFlag[];
}

export interface RolloutBatch {
  readonly iteration: number;
  readonly weightVersion: number;
  /** Everything that was sampled, with its scores. */
  readonly sampled: readonly Trace[];
  readonly scores: readonly Score[];
  /** Scores of `sampled` by the name of the reward. */
  readonly rewards: ReadonlyMap<string, readonly PartScore[]>;
  /** Those of `sampled` that were replaced by another group. */
  readonly resampled?: ReadonlySet<Trace>;
  /** Those of `sampled` that were read, in their order, with what was read and made of them. */
  readonly traces: readonly Trace[];
  readonly referenceLogProbs: readonly ArrayLike<number>[];
  readonly values?: readonly ArrayLike<number>[];
  readonly outcomes: readonly RolloutOutcome[];
}

/** Records of an iteration, one per sampled completion. */
export function rolloutRecords(batch: RolloutBatch): RolloutRecord[] {
  const places = new Map(batch.traces.map((trace, index) => [trace, index]));
  return batch.sampled.map((trace, sample) => {
    const score = batch.scores[sample];
    const at = places.get(trace);
    const outcome = at === undefined ? undefined : batch.outcomes[at];
    const flags: RolloutFlag[] = [
      ...(trace.finish === 'length' ? (['truncated'] as const) : []),
      ...(score === undefined ? (['unscored'] as const) : []),
      ...(batch.resampled?.has(trace) === true ? (['resampled'] as const) : []),
      ...(outcome?.flags ?? []),
    ];
    return {
      ...{ step: batch.iteration + 1, sample, group: trace.group, weightVersion: batch.weightVersion },
      ...{ prompt: trace.prompt.text, completion: trace.text, finish: trace.finish },
      ...{ promptIds: trace.prompt.ids, ids: trace.ids, logProbs: trace.logProbs },
      ...(at !== undefined && { referenceLogProbs: batch.referenceLogProbs[at]! }),
      ...(at !== undefined && batch.values !== undefined && { values: batch.values[at]! }),
      ...(outcome?.advantages !== undefined && { advantages: outcome.advantages }),
      ...(score !== undefined && { score }),
      ...(outcome?.reward !== undefined && { reward: outcome.reward }),
      rewards: Object.fromEntries(
        Array.from(batch.rewards, ([name, list]) => [name, list[sample]]).filter(
          (entry): entry is [string, number] => typeof entry[1] === 'number',
        ),
      ),
      parts: outcome?.parts ?? {},
      flags,
    };
  });
}
