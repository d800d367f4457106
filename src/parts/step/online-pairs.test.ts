import { describe, expect, it } from 'vitest';
import { createRng } from '../../core/rng.ts';
import { sigmoidLoss } from '../loss/preference.ts';
import { choosePair, onlinePairsStep, type PairChoice } from './online-pairs.ts';
import type { ScoredBatch } from './online-step.ts';

const last = (count: number): number => count - 1;

describe('choosePair', () => {
  const scores = [1, 3, 0, 2, 3, 0];
  it.each([
    ['max-min', [1, 2]],
    ['max-max', [1, 3]],
    ['max-random', [1, 5]],
    ['random', [1, 0]],
  ] as [PairChoice, number[]][])('%s', (choice, pair) => {
    expect(choosePair(scores, choice, last)).toEqual(pair);
    // Only the order counts.
    expect(
      choosePair(
        scores.map((score) => 7 * score - 100),
        choice,
        last,
      ),
    ).toEqual(pair);
    expect(choosePair([2, 2, 2], choice, last)).toBeUndefined();
    expect(choosePair([2], choice, last)).toBeUndefined();
  });
});

describe('onlinePairsStep', () => {
  const step = onlinePairsStep({
    ...{ beta: 0.1, loss: sigmoidLoss({ beta: 0.1, labelSmoothing: 0 }), choice: 'max-min', temperature: 1 },
    rng: createRng(0),
  });
  const trace = (group: number, ids: readonly number[], finish: 'stop' | 'length' = 'stop') => ({
    ...{ group, ids, finish, text: ids.join(' '), logProbs: ids.map(() => -1) },
    prompt: { ids: [1, 2], text: 'p' },
  });
  const batch: ScoredBatch = {
    iteration: 0,
    traces: [trace(0, [5]), trace(0, [6, 7]), trace(0, [8]), trace(3, [9]), trace(3, [9, 4], 'length')],
    scores: [0.5, 2, -1, 1, 1],
    logProbs: [[-1], [-1, -1], [-1], [-1], [-1, -1]],
    referenceLogProbs: [[-2], [-1.5, -0.25], [-3], [-1], [-1, -1]],
    values: [],
  };

  it('makes a pair of the best and the worst, with the reference of their tokens, and none of equal scores', () => {
    const { updates, outcomes, metrics } = step.estimate(batch, { kl: 0.1 });
    expect(updates).toEqual([
      {
        chosen: { ids: [1, 2, 6, 7], mask: [0, 0, 1, 1] },
        rejected: { ids: [1, 2, 8], mask: [0, 0, 1] },
        reference: { chosen: -1.75, rejected: -3 },
      },
    ]);
    expect(outcomes.map(({ flags }) => flags)).toEqual([
      ['filtered'],
      ['chosen'],
      ['rejected'],
      ['filtered'],
      ['filtered'],
    ]);
    expect(metrics).toMatchObject({
      ...{ 'objective/scores_margin': 3, 'pairs/skipped': 0.5, 'pairs/chosen_length': 2 },
      ...{ 'val/contain_eos_token': 0.8, 'objective/scores': 0.7 },
      'objective/kl': (1 - 0.25 + 2) / 5,
      ...{ 'objective/entropy': 7 / 5, 'objective/rlhf_reward': 0.7, 'objective/non_score_reward': 0 },
      ...{ 'pairs/rejected_length': 1, 'completions/mean_length': 7 / 5, 'val/num_eos_tokens': 4 },
    });
    expect(metrics['completions/clipped_ratio']).toBeCloseTo(0.2, 12);
  });

  it('goes on where only the scores differ, or only the completions', () => {
    const same = batch.traces.map(({ group }) => trace(group, [5]));
    expect(step.estimate({ ...batch, traces: same }, { kl: 0.1 }).updates).toHaveLength(1);
    const { updates, metrics } = step.estimate({ ...batch, scores: [1, 1, 1, 1, 1] }, { kl: 0.1 });
    expect([updates, metrics['pairs/skipped'], metrics['objective/scores_margin']]).toEqual([[], 1, 0]);
    expect(metrics).not.toHaveProperty('pairs/chosen_length');
  });

  it('stops when every completion is the same', () => {
    const same = batch.traces.map(({ group }) => trace(group, [5]));
    const scores = batch.traces.map(() => 1);
    const estimate = () => step.estimate({ ...batch, traces: same, scores }, { kl: 0.1 });
    expect(estimate).toThrow(/iteration 1: expected completions that differ, received 5 times "5"/);
  });
});
