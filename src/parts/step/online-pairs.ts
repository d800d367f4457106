/** Completions of a prompt with scores → a pair to prefer by: the skeleton of online DPO and its relatives. */
import { DataError } from '../../core/errors.ts';
import type { Rng } from '../../core/rng.ts';
import { mean } from '../../core/statistics.ts';
import type { Controls } from '../controller/controller.ts';
import { fixedKl, klControl } from '../controller/kl.ts';
import type { PairLoss } from '../loss/preference.ts';
import type { RolloutFlag } from '../rollout/record.ts';
import type { Trace } from '../rollout/rollout.ts';
import type { OnlineStep, ScoredBatch } from './online-step.ts';
import { type PairExample, pairwiseStep } from './pairwise.ts';

export const pairChoices = ['max-min', 'max-random', 'max-max', 'random'] as const;
export type PairChoice = (typeof pairChoices)[number];

/**
 * Which two of a group become a pair, as places [chosen, rejected]; undefined where none can: scores are equal. Ties go to the
 * first.
 *
 * - max-min: the best and the worst;
 * - max-random: the best, and one of those with a lower score;
 * - max-max: the best, and the best of those with a lower score;
 * - random: the first two, which are draws like any other.
 *
 * @source RLHFlow/Online-RLHF `get_rewards.py`, `choose_ways`; Dong et al. 2024 (arXiv 2405.07863), section 3.2
 * @example scores [1, 3, 0, 2]: max-min [1, 2], max-max [1, 3], random [1, 0]
 */
export function choosePair(
  scores: readonly number[],
  choice: PairChoice,
  draw: (count: number) => number,
): readonly [number, number] | undefined {
  const first = (value: number): number => scores.indexOf(value);
  if (choice === 'random') {
    const [a, b] = scores;
    if (a === undefined || b === undefined || a === b) return undefined;
    return a > b ? [0, 1] : [1, 0];
  }
  const best = Math.max(...scores);
  const lower = scores.flatMap((score, at) => (score < best ? [at] : []));
  if (lower.length === 0) return undefined;
  if (choice === 'max-random') return [first(best), lower[draw(lower.length)]!];
  const values = lower.map((at) => scores[at]!);
  return [first(best), first(choice === 'max-max' ? Math.max(...values) : Math.min(...values))];
}

export interface OnlinePairsOptions {
  readonly beta: number;
  readonly loss: PairLoss;
  readonly choice: PairChoice;
  readonly temperature: number;
  /** Of max-random. */
  readonly rng: Rng;
  /** Shape: scores → scores to compare by. Default: as they are. */
  readonly shape?: (scores: readonly number[], traces: readonly Trace[]) => readonly number[];
}

/** A pair per prompt, against the reference. */
export function onlinePairsStep(options: OnlinePairsOptions): OnlineStep<PairExample> {
  const { beta, loss, choice, temperature, rng, shape = (scores) => scores } = options;
  return {
    policy: pairwiseStep({ beta, loss, temperature }),
    temperature,
    examplesPerPrompt: 1,
    // There is no KL term beside β, which is part of the loss.
    controls: (): Controls => ({ kl: klControl(fixedKl(beta)) }),
    estimate(batch) {
      const { traces, scores, iteration } = batch;
      const shaped = shape(scores, traces);
      const groups = new Map<number, number[]>();
      traces.forEach(({ group }, index) => void groups.set(group, [...(groups.get(group) ?? []), index]));
      const draws = rng.split('pairs').split(iteration);
      const flags = new Map<number, RolloutFlag>();
      const margins: number[] = [];
      const updates: PairExample[] = [];
      for (const [group, members] of groups) {
        const picked = choosePair(
          members.map((index) => shaped[index]!),
          choice,
          (count) => draws.integer(count, group),
        );
        if (picked === undefined) continue;
        const [chosen, rejected] = [members[picked[0]]!, members[picked[1]]!];
        flags.set(chosen, 'chosen').set(rejected, 'rejected');
        margins.push(shaped[chosen]! - shaped[rejected]!);
        updates.push({
          chosen: example(traces[chosen]!),
          rejected: example(traces[rejected]!),
          reference: {
            chosen: total(batch.referenceLogProbs[chosen]!),
            rejected: total(batch.referenceLogProbs[rejected]!),
          },
        });
      }
      requireVariety(iteration, traces, updates.length);
      const lengths = (flag: RolloutFlag): number[] =>
        traces.flatMap(({ ids }, index) => (flags.get(index) === flag ? [ids.length] : []));
      const stopped = traces.filter(({ finish }) => finish === 'stop').length;
      return {
        updates,
        outcomes: traces.map((_, index) => ({
          reward: shaped[index]!,
          parts: { score: scores[index]! },
          flags: flags.has(index) ? [flags.get(index)!] : ['filtered'],
        })),
        metrics: {
          ...objective(batch),
          'objective/rlhf_reward': mean(shaped),
          'objective/scores_margin': margins.length === 0 ? 0 : mean(margins),
          'pairs/skipped': 1 - updates.length / groups.size,
          ...(updates.length > 0 && {
            'pairs/chosen_length': mean(lengths('chosen')),
            'pairs/rejected_length': mean(lengths('rejected')),
          }),
          'val/contain_eos_token': stopped / traces.length,
          'val/num_eos_tokens': stopped,
          'completions/mean_length': mean(traces.map(({ ids }) => ids.length)),
          'completions/clipped_ratio': 1 - stopped / traces.length,
          beta,
        },
      };
    },
  };
}

function objective({ logProbs, referenceLogProbs, scores }: ScoredBatch): Record<string, number> {
  const policy = logProbs.map(total);
  return {
    'objective/kl': mean(policy.map((sum, index) => sum - total(referenceLogProbs[index]!))),
    'objective/entropy': -mean(policy),
    'objective/scores': mean(scores),
    // The KL is in the loss.
    'objective/non_score_reward': 0,
  };
}

function example({ prompt, ids }: Trace): PairExample['chosen'] {
  const start = prompt.ids.length;
  return {
    ids: [...Array.from(prompt.ids), ...ids],
    mask: [...new Array<number>(start).fill(0), ...new Array<number>(ids.length).fill(1)],
  };
}

const total = (list: ArrayLike<number>): number => Array.from(list).reduce((sum, x) => sum + x, 0);

/** A policy that says one thing to every prompt has nothing left to compare. */
function requireVariety(iteration: number, traces: readonly Trace[], pairs: number): void {
  if (pairs > 0 || new Set(traces.map(({ ids }) => ids.join(' '))).size > 1) return;
  throw new DataError({
    where: `iteration ${iteration + 1}`,
    expected: 'completions that differ',
    received: `${traces.length} times ${JSON.stringify(traces[0]!.text.slice(0, 60))}`,
    fix: 'The policy has collapsed: go back to an earlier checkpoint, with a larger beta or a lower learning rate',
  });
}
