import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient, points } from '../../../test/support/gradient-check.ts';
import { tinyPairs, trainPairs } from '../../../test/support/tiny-pairs.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { full } from '../../graph/ops/elementwise.ts';
import { trace } from '../../graph/program.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { config, dpo, loss } from './dpo.ts';

/** The method's loss of a margin: the rejected completion scores 0. */
function lossOf(beta: number, labelSmoothing: number, more: Readonly<Record<string, unknown>> = {}) {
  const settings = config.parse({ model: '', data: '', beta, labelSmoothing, ...more });
  return (margin: Tensor): Tensor => {
    const of = (value: number): Tensor => full(margin.shape, value);
    return loss(settings)({ chosen: margin, rejected: of(0), chosenLength: of(3), rejectedLength: of(4) });
  };
}

describe('dpo loss', () => {
  const at = async (margin: number, beta: number, smoothing: number): Promise<number> => {
    const program = trace({}, () => ({ y: lossOf(beta, smoothing)(full([1], margin)) }));
    const { y } = await (await createInterpreter().compile(program)).run({});
    return Number(y!.data[0]);
  };
  // Constants of a graph are float32, β = 0.1 among them: 5e-8, far below the distance to any wrong sign or mean.
  it('is the values derived by hand: h = 2, β = 0.1: −log σ(0.2) = 0.5981388694; with ε = 0.1: 0.6181388694', async () => {
    expect(await at(2, 0.1, 0)).toBeCloseTo(0.5981388694, 7);
    expect(await at(2, 0.1, 0.1)).toBeCloseTo(0.6181388694, 7);
    expect(await at(0, 0.1, 0)).toBeCloseTo(Math.LN2, 12);
  });
  it('swapping a pair flips the margin: loss(−h) − loss(h) = βh without smoothing', async () => {
    expect((await at(-3, 0.5, 0)) - (await at(3, 0.5, 0))).toBeCloseTo(1.5, 9);
  });
  it('has the gradient −β σ(−βh), also at ±10⁴', async () => {
    await checkGradient((h) => lossOf(0.3, 0.1)(h), [points([5])]);
    await checkGradient((h) => lossOf(0.3, 0)(h), [{ shape: [2], data: [1e4, -1e4] }], { tolerance: 1e-5 });
  });
});

describe('dpo losses by name', () => {
  it('are added with their weights', async () => {
    const at = async (more: Readonly<Record<string, unknown>>): Promise<number> => {
      const program = trace({}, () => ({ y: lossOf(0.1, 0.1, more)(full([1], 2)) }));
      const { y } = await (await createInterpreter().compile(program)).run({});
      return Number(y!.data[0]);
    };
    // β 0.1, h = 2: hinge 0.8, robust with ε 0.1 0.5731388694.
    expect(await at({ loss: ['hinge'] })).toBeCloseTo(0.8, 6);
    expect(await at({ loss: ['robust'] })).toBeCloseTo(0.5731388694, 6);
    expect(await at({ loss: ['hinge', 'robust'], lossWeights: [2, 0.5] })).toBeCloseTo(1.6 + 0.2865694347, 6);
  });

  it('refuse weights that do not fit, and exo_pair without smoothing', () => {
    expect(() => lossOf(0.1, 0, { loss: ['hinge'], lossWeights: [1, 2] })(full([1], 2))).toThrow(
      /--loss-weights: expected 1 numbers, one per loss, received 2/,
    );
    expect(() => lossOf(0.1, 0, { loss: ['exo_pair'] })(full([1], 2))).toThrow(/--label-smoothing 0\.001/);
  });
});

describe('dpo', () => {
  const engine = createOrtEngine({ threads: 1 });
  afterAll(() => engine.dispose());

  it('learns a preference that holds on new prompts; with labels flipped at random it does not', async () => {
    const step = () => dpo.build(config.parse({ model: '', data: '', beta: 0.5 }));
    const learned = await trainPairs(engine, step(), tinyPairs(128, 7));
    expect(learned['eval_rewards/accuracies']).toBeGreaterThan(0.95);
    expect(learned['eval_rewards/margins']).toBeGreaterThan(1);
    const shuffled = await trainPairs(engine, step(), tinyPairs(128, 7, 'shuffled'));
    expect(Math.abs(shuffled['eval_rewards/margins']!)).toBeLessThan(0.5 * learned['eval_rewards/margins']!);
  });
});
