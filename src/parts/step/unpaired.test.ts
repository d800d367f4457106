import { expect, it } from 'vitest';
import { bcoLoss } from '../loss/unpaired.ts';
import { unpairedStep } from './unpaired.ts';

const beta = 0.1;
const step = unpairedStep({
  ...{ beta, loss: bcoLoss({ beta }), anchor: { name: 'delta', scale: beta }, weight: 'density_ratio' },
});
const chosen = { chosen: 2, rewardsChosen: 3, logpsChosen: -8, logitsChosen: 10, labelsChosen: 5 };
const rejected = {
  ...{ rejected: 4, rewardsRejected: -2, logpsRejected: -40, logitsRejected: 3 },
  ...{ labelsRejected: 15, weightRejected: 6 },
};

it('figures are means over the completions of their mark, logits and entropy over tokens', () => {
  expect(step.summarize({ ...chosen, ...rejected, anchor: 12, entropy: 30 })).toEqual({
    ...{ 'rewards/chosen': 1.5, 'logps/chosen': -4, 'logits/chosen': 2 },
    ...{ 'rewards/rejected': -0.5, 'logps/rejected': -10, 'logits/rejected': 0.2 },
    // δ is the mean of what all were compared with, in units of reward.
    ...{ 'rewards/margins': 2, density_ratio: 1.5, delta: (0.1 * 12) / 6, entropy: 1.5 },
  });
});

it('those of a mark that a batch does not have are left out, and so is the margin', () => {
  const names = (totals: Record<string, number>): string[] => Object.keys(step.summarize(totals)).sort();
  const ofMark = (mark: string): string[] => [`logits/${mark}`, `logps/${mark}`, `rewards/${mark}`];
  expect(names({ ...chosen, rejected: 0 })).toEqual(['delta', 'entropy', ...ofMark('chosen')]);
  expect(names({ chosen: 0, ...rejected })).toEqual([
    'delta',
    'density_ratio',
    'entropy',
    ...ofMark('rejected'),
  ]);
});

it('refuses completions that the reference has not read', () => {
  const example = { ids: [1, 2], mask: [0, 1] };
  expect(() => step.arrays([{ example, label: true }], 1, 2)).toThrow(
    /completions with reference log-probabilities, received one without/,
  );
});
