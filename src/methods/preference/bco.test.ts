import { afterAll, describe, expect, it } from 'vitest';
import { runStep } from '../../../test/support/run-step.ts';
import { tinyExamples, tinyModel } from '../../../test/support/tiny-model.ts';
import { tinyPairs, trainUnpaired } from '../../../test/support/tiny-pairs.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { bco, config, runningMeanReward } from './bco.ts';

describe('running mean', () => {
  const none = { ids: [], mask: [] };
  const batch = (count: number) =>
    Array.from({ length: count }, () => ({ example: none, label: true, reference: -4 }));
  const anchor = (
    coupling: ReturnType<typeof runningMeanReward>,
    logProbs: number[],
    training = true,
  ): number =>
    coupling.complete(
      batch(logProbs.length),
      logProbs.map((x) => [x]),
      training,
    )[0]!.anchor!;

  it('counts every completion once, and leaves evaluations out', () => {
    const coupling = runningMeanReward();
    expect(anchor(coupling, [-3, -2])).toBe(1.5); // log-ratios 1, 2
    expect(anchor(coupling, [10, 10, 10], false)).toBe(1.5);
    expect(anchor(coupling, [2])).toBe(3); // (1 + 2 + 6) / 3
  });

  it('goes on from its state', () => {
    const [first, second] = [runningMeanReward(), runningMeanReward()];
    anchor(first, [-3, -2]);
    second.running!.load(first.running!.state());
    expect(anchor(second, [2])).toBe(anchor(first, [2]));
  });
});

describe('density weights', () => {
  const settings = (more: object) => config.parse({ model: '', data: '', ...more });

  it('multiply the loss and leave rewards as they are; their mean over undesirable completions is a metric', async () => {
    const examples = tinyExamples(3).map((example, i) => ({ example, label: i === 1, reference: -9 - i }));
    const run = (weights: readonly number[]) =>
      runStep(
        tinyModel(4),
        bco.build(settings({ useUdm: true })),
        examples.map((one, i) => ({ ...one, weight: weights[i]! })),
      );
    const weighted = await run([2, 1, 5]);
    const [first, second, third] = await Promise.all([run([1, 0, 0]), run([0, 1, 0]), run([0, 0, 1])]);
    expect(weighted.loss).toBeCloseTo(2 * first.loss + second.loss + 5 * third.loss, 10);
    expect(weighted.metrics['density_ratio']).toBe(3.5);
    const plain = await runStep(tinyModel(4), bco.build(settings({})), examples);
    expect(plain.loss).toBeCloseTo(first.loss + second.loss + third.loss, 10);
    expect(plain.metrics['density_ratio']).toBeUndefined();
    expect(weighted.metrics['rewards/rejected']).toBe(plain.metrics['rewards/rejected']);
  });

  it('are refused with bounds that cross, and a model to embed with where nothing is embedded', () => {
    expect(() => bco.build(settings({ useUdm: true, minDensityRatio: 20 }))).toThrow(
      /minDensityRatio: expected at most maxDensityRatio \(10\), received 20/,
    );
    expect(() => bco.build(settings({ embeddingModel: 'e' }))).toThrow(/expected --use-udm/);
  });
});

describe('bco', () => {
  const engine = createOrtEngine({ threads: 1 });
  afterAll(() => engine.dispose());
  const step = () => bco.build(config.parse({ model: '', data: '', beta: 0.5 }));

  it('learns from single marks what holds on new prompts; with marks at random it does not', async () => {
    const learned = await trainUnpaired(engine, step(), tinyPairs(128, 7), 40);
    expect(learned['eval_rewards/margins']).toBeGreaterThan(1);
    const shuffled = await trainUnpaired(engine, step(), tinyPairs(128, 7, 'shuffled'), 40);
    expect(Math.abs(shuffled['eval_rewards/margins']!)).toBeLessThan(0.5 * learned['eval_rewards/margins']!);
  });
});
