/**
 * Accumulation invariance: N micro-batches of b examples equal one of N·b, in loss, metrics and gradient, for every loss.
 *
 * Losses that take something from their whole batch (the KL of KTO, the running mean of BCO, the rankings of AOT, means per
 * token) find it before the losses (`Coupling`); nothing here is left out. Group statistics of online methods are computed
 * over the iteration, before any update.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { tinyExamples, tinyModel } from '../../../test/support/tiny-model.ts';
import { createRng } from '../../core/rng.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import {
  bco,
  btRm,
  cpo,
  dpo,
  gkd,
  grpo,
  kto,
  onlineDpo,
  orpo,
  pairRm,
  ppo,
  prm,
  raft,
  regressionRm,
  reinforcePlusPlus,
  remax,
  rloo,
  sft,
  simpo,
} from '../../methods/index.ts';
import { scoreModelFrom } from '../../models/score-model.ts';
import { sgd } from '../../optim/optimizer.ts';
import { pairLossNames } from '../loss/preference.ts';
import type { PairExample } from '../step/pairwise.ts';
import type { SteppedSequence } from '../step/process.ts';
import type { RatedSequence } from '../step/rating.ts';
import type { RewardPair } from '../step/reward-model.ts';
import type { TokenUpdate } from '../step/token-update.ts';
import type { TrainStep } from '../step/train-step.ts';
import type { UnpairedExample } from '../step/unpaired.ts';
import { createLearner, type Update } from './learner.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());

const count = 6;
const rng = createRng(8);
const sequences = tinyExamples(2 * count, 3);
const pairs: PairExample[] = Array.from({ length: count }, (_, i) => ({
  chosen: sequences[i]!,
  rejected: sequences[count + i]!,
  reference: { chosen: -20 + 3 * rng.normal(i, 0), rejected: -20 + 3 * rng.normal(i, 1) },
}));
const unpaired: UnpairedExample[] = pairs.map(({ chosen, rejected, reference }, i) => ({
  ...{ example: chosen, label: i % 3 > 0, reference: reference!.chosen },
  mismatched: { example: rejected, reference: reference!.rejected - 40 },
}));
const rewardPairs: RewardPair[] = pairs.map((pair, i) => ({ ...pair, margin: i / 4 }));
const updates: TokenUpdate[] = sequences.slice(0, count).map((example, i) => {
  const numbers = (counter: number) =>
    Array.from({ length: example.ids.length - 2 }, (_, t) => rng.normal(i, counter, t));
  return {
    ...{ ...example, start: 2, advantages: numbers(2), oldValues: numbers(3), returns: numbers(4) },
    oldLogProbs: numbers(5).map((x) => -3 + 0.1 * x),
    referenceLogProbs: numbers(6).map((x) => -3 + 0.1 * x),
  };
});

/** Advantages of completions that are kept (1) and of those that are not (0). */
const kept = updates.map((update, i) => ({
  ...update,
  advantages: Array.from(update.advantages, () => i % 2),
}));
const rated: RatedSequence[] = sequences.slice(0, count).map(({ ids }, i) => ({
  ids,
  ratings: i % 3 === 0 ? [undefined, 0.5] : [i / 5 - 0.4, i % 2 === 0 ? 0.1 : undefined],
}));
const stepped: SteppedSequence[] = sequences.slice(0, count).map(({ ids }, i) => ({
  ids,
  steps: [{ end: 1, label: i % 2 === 0 }, ...(i % 3 === 0 ? [] : [{ end: ids.length - 1, label: i > 3 }])],
}));

const base = { model: '', data: '' };
const online = { ...base, rewardModel: '' };

interface Case {
  readonly name: string;
  /** Numbers of the score head, of models that have one. */
  readonly score?: number;
  // biome-ignore lint/suspicious/noExplicitAny: steps of every kind of example stand in one table
  readonly step: () => TrainStep<any>;
  readonly examples: readonly unknown[];
}

const cases: Case[] = [
  { name: 'sft', step: () => sft.build(sft.config.parse(base)), examples: sequences },
  ...([0, 1] as const).map((lambda) => ({
    name: `gkd, ${lambda === 0 ? 'on the data' : 'on its own completions'}`,
    step: () =>
      gkd.build(gkd.config.parse({ ...base, teacherModel: '', beta: 0.3, lambda, maxNewTokens: 6 }), {
        teacher: tinyModel(5, { hidden_size: 32 }),
        stopIds: new Set([2]),
      }),
    examples: sequences,
  })),
  ...pairLossNames.map((loss) => ({
    name: `dpo ${loss}`,
    step: () => dpo.build(dpo.config.parse({ ...base, loss: [loss], labelSmoothing: 0.1 })),
    examples: pairs,
  })),
  {
    name: 'dpo with weights, tails and three losses',
    step: () =>
      dpo.build(
        dpo.config.parse({ ...base, loss: ['sigmoid', 'aot', 'sft'], ldAlpha: 0.3, useWeighting: true }),
      ),
    examples: pairs,
  },
  ...(['kto', 'apo_zero_unpaired'] as const).map((loss) => ({
    name: loss,
    step: () => kto.build(kto.config.parse({ ...base, loss, desirableWeight: 1.5 })),
    examples: unpaired,
  })),
  { name: 'bco', step: () => bco.build(bco.config.parse(base)), examples: unpaired },
  ...(['completion', 'all'] as const).map((learn) => ({
    name: `orpo, ${learn}`,
    step: () => orpo.build(orpo.config.parse({ ...base, learn })),
    examples: pairs,
  })),
  ...(['sigmoid', 'hinge', 'ipo', 'simpo'] as const).map((loss) => ({
    name: `cpo ${loss}`,
    step: () => cpo.build(cpo.config.parse({ ...base, loss })),
    examples: pairs,
  })),
  { name: 'simpo', step: () => simpo.build(simpo.config.parse({ ...base, alpha: 0.25 })), examples: pairs },
  {
    name: 'bt-rm',
    score: 1,
    step: () => btRm.build(btRm.config.parse({ ...base, centerRewardsCoefficient: 0.1 })),
    examples: rewardPairs,
  },
  { name: 'pair-rm', score: 1, step: () => pairRm.build(pairRm.config.parse(base)), examples: rewardPairs },
  {
    name: 'regression-rm',
    score: 2,
    step: () => regressionRm.build(regressionRm.config.parse({ ...base, attributes: ['a', 'b'] })),
    examples: rated,
  },
  { name: 'prm', score: 2, step: () => prm.build(prm.config.parse(base)), examples: stepped },
  { name: 'ppo policy', step: () => ppo.build(ppo.config.parse(online)).policy, examples: updates },
  {
    name: 'ppo critic',
    score: 1,
    step: () => ppo.build(ppo.config.parse(online)).critic!,
    examples: updates,
  },
  ...(['sequence-mean-token-mean', 'token-mean', 'constant'] as const).map((aggregation) => ({
    name: `grpo ${aggregation}`,
    step: () => grpo.build(grpo.config.parse({ ...online, aggregation, klCoefficient: 0.1 })).policy,
    examples: updates,
  })),
  {
    name: 'gspo',
    step: () => grpo.build(grpo.config.parse({ ...online, importance: 'sequence' })).policy,
    examples: updates,
  },
  {
    name: 'grpo with corrected KL and entropy',
    step: () =>
      grpo.build(
        grpo.config.parse({
          ...online,
          ...{ klCoefficient: 0.1, useBiasCorrectionKl: true, entropyCoefficient: 0.1 },
        }),
      ).policy,
    examples: updates,
  },
  {
    name: 'reinforce-plus-plus',
    step: () => reinforcePlusPlus.build(reinforcePlusPlus.config.parse(online)).policy,
    examples: updates,
  },
  { name: 'remax', step: () => remax.build(remax.config.parse(online)).policy, examples: updates },
  { name: 'raft', step: () => raft.build(raft.config.parse(online)).policy, examples: kept },
  {
    name: 'online-dpo',
    step: () => onlineDpo.build(onlineDpo.config.parse(online)).policy,
    examples: pairs,
  },
  { name: 'rloo', step: () => rloo.build(rloo.config.parse(online)).policy, examples: updates },
];

describe.each(cases)('$name', ({ step: make, examples, score }) => {
  /** One step of plain gradient descent at rate 1, unclipped: the change of the weights is the gradient. */
  async function update(
    microBatchSize: number,
  ): Promise<Update & { gradient: Float64Array; metrics: object }> {
    const { model, parameters } = score
      ? scoreModelFrom(tinyModel(2), { outputs: score, rng: createRng(1) })
      : tinyModel(2);
    const before = parameters.flat.slice();
    const step = make();
    const learner = createLearner({
      ...{ engine, model, parameters, step },
      optimizer: sgd({ size: parameters.flat.length }),
      settings: { microBatchSize, bucket: 4, maxGradNorm: 0, gradientCheckpointing: false },
    });
    const result = await learner.update(examples, 1, 'test');
    learner.dispose();
    const gradient = Float64Array.from(before, (weight, i) => weight - parameters.flat[i]!);
    return { ...result, gradient, metrics: step.summarize(result.totals) };
  }

  it('is the same in one micro-batch and in uneven ones', async () => {
    const whole = await update(examples.length);
    const largest = whole.gradient.reduce((most, g) => Math.max(most, Math.abs(g)), 0);
    expect(largest).toBeGreaterThan(1e-4);
    for (const size of [4]) {
      const cut = await update(size);
      expect(cut.loss).toBeCloseTo(whole.loss, 5);
      let worst = 0;
      cut.gradient.forEach((g, i) => {
        worst = Math.max(worst, Math.abs(g - whole.gradient[i]!));
      });
      // float32, and gradients read off weights around 1: 1e-6 of these.
      expect(worst, `micro-batches of ${size}`).toBeLessThan(2e-5 * largest + 1e-6);
      for (const [name, value] of Object.entries(whole.metrics)) {
        expect((cut.metrics as Record<string, number>)[name], name).toBeCloseTo(value as number, 4);
      }
    }
  });
});
