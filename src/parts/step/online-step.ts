/** What the online trainer needs to know of a method: how completions are sampled, what is made of them, how it learns from that. */
import type { Controls, ControlValues } from '../controller/controller.ts';
import type { RolloutOutcome } from '../rollout/record.ts';
import type { Trace } from '../rollout/rollout.ts';
import type { TrainStep } from './train-step.ts';

/** What is known of a batch once it is sampled and scored; lists have an entry per completion. */
export interface ScoredBatch {
  /** Iteration of the run, from 0. */
  readonly iteration: number;
  readonly traces: readonly Trace[];
  readonly scores: readonly number[];
  /** log π of the completion's tokens under the distribution that was sampled, nats. */
  readonly logProbs: readonly ArrayLike<number>[];
  readonly referenceLogProbs: readonly ArrayLike<number>[];
  /** The critic's value before each token. */
  readonly values: readonly ArrayLike<number>[];
  /** Score of the likeliest completion of the same prompt; only where the step asks for `greedy`. */
  readonly baselines?: readonly number[];
}

/** What an iteration learns from. */
export interface Estimate<E> {
  readonly updates: readonly E[];
  /** What became of each completion of the batch. */
  readonly outcomes: readonly RolloutOutcome[];
  readonly metrics: Record<string, number>;
}

/** Groups that teach nothing are replaced by completions of further prompts. */
export interface Resampling {
  /** Rounds of sampling in an iteration, the first included. */
  readonly rounds: number;
  /** Whether a group is worth learning from, by its scores. */
  teaches(scores: readonly number[]): boolean;
}

/** `E` is what is learned from: a completion with numbers per token, a pair. */
export interface OnlineStep<E = unknown> {
  readonly policy: TrainStep<E>;
  readonly critic?: TrainStep<E> | undefined;
  /** Temperature of sampling, and of every log-probability. */
  readonly temperature: number;
  /** What is learned from per prompt, in `miniBatchSize`; default one per completion. */
  readonly examplesPerPrompt?: number;
  /** Whether the likeliest completion of each prompt is sampled and scored too. Default: no. */
  readonly greedy?: boolean;
  /** Default: every group stays. */
  readonly resampling?: Resampling | undefined;
  controls(): Controls;
  estimate(batch: ScoredBatch, values: ControlValues): Estimate<E>;
}
