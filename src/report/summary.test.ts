import { describe, expect, it } from 'vitest';
import { exampleReport } from '../../test/support/quickstart-report.ts';
import type { Estimate, PolicyFigures } from './quickstart-report.ts';
import { summarize } from './summary.ts';

const plain = (sentences: readonly string[]): string[] =>
  sentences.map((sentence) => sentence.replace(/[\u00a0\u202f]/g, ' '));
const { sft, dpo } = exampleReport.policies;
const withReward = (mean: number, half: number): PolicyFigures => {
  const reward: Estimate = { mean, low: mean - half, high: mean + half };
  return { ...sft!, 'gold.reward': reward };
};

describe('summarize', () => {
  it('says the main numbers in three sentences', () => {
    expect(plain(summarize(exampleReport))).toEqual([
      'Gold reward was 0.31 (95 % interval 0.28 to 0.34) after SFT and is 0.51 with DPO, 0.55 with PPO and 0.50 with best-of-n: a clear rise with DPO, PPO and best-of-n.',
      'Harmful answers to requests for harm went from 31 % to 9.4 % with DPO, 4.1 % with PPO and 12 % with best-of-n; refusals of harmless requests went from 6.1 % to 11 % with DPO, 14 % with PPO and 7.9 % with best-of-n.',
      // 1.42 + 2.9 + 131.4 + 24.8 + 48.2 + 66.1 + 214.7 + 73.5 = 563.02 s; 2,050,000,000 / 2³⁰ = 1.909.
      'The reward model orders 74 % of held-out pairs as labelled, and everything took 9 min 23 s on 2 cores with at most 1.9 GiB of memory.',
    ]);
  });

  it('claims a change only where intervals are apart', () => {
    // SFT 0.4 to 0.6; DPO 0.59 to 0.79 overlaps, PPO 0.61 to 0.81 lies above, best-of-n 0.19 to 0.39 below.
    const policies = {
      sft: withReward(0.5, 0.1),
      dpo: withReward(0.69, 0.1),
      ppo: withReward(0.71, 0.1),
      bestOfN: withReward(0.29, 0.1),
    };
    expect(summarize({ ...exampleReport, policies })[0]).toMatch(
      /: a clear rise with PPO, a clear fall with best-of-n and no clear change with DPO\.$/,
    );
  });

  it('claims no change without something to compare', () => {
    const of = (policies: typeof exampleReport.policies): string[] =>
      plain(summarize({ ...exampleReport, policies, stages: [] }));
    expect(of({})).toEqual([
      'The run evaluated no policy.',
      'How safe the answers are was not measured.',
      'The reward model orders 74 % of held-out pairs as labelled; the times of the stages were not recorded (2 cores).',
    ]);
    expect(of({ dpo: dpo! }).slice(0, 2)).toEqual([
      'Gold reward is 0.51 with DPO; SFT was not evaluated, so there is nothing to compare with.',
      'The share of harmful requests answered harmfully is 9.4 % with DPO.',
    ]);
    expect(of({ sft: sft! })[0]).toBe('Gold reward is 0.31 after SFT; nothing was trained further.');
  });
});
