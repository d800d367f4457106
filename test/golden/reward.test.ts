/**
 * Reward models against transformers and TRL, PPO against TRL (README.md here).
 *
 * Scores and losses of models are computed in float32 there: 1e-5. Numbers of PPO are float64 with ten digits: 1e-7, since
 * TRL's correction n / (n − 1) is float32; 1e-6 where a graph holds a constant such as 0.2 in float32. The nearest wrong variants (a score read at the padding, a
 * mean over sequences, population variance) are off by more than 1e-3.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hostTensor } from '../../src/core/host-tensor.ts';
import { createInterpreter } from '../../src/engine/interpreter.ts';
import { gradients } from '../../src/graph/gradient.ts';
import { cast, div, mul } from '../../src/graph/ops/elementwise.ts';
import { sum } from '../../src/graph/ops/reduce.ts';
import { trace } from '../../src/graph/program.ts';
import { readModel } from '../../src/models/checkpoint.ts';
import { isScoreModel } from '../../src/models/score-model.ts';
import { gae } from '../../src/parts/advantage/gae.ts';
import { whiten } from '../../src/parts/advantage/whiten.ts';
import { scoreForward } from '../../src/parts/forward.ts';
import { bradleyTerryLoss } from '../../src/parts/loss/bradley-terry.ts';
import { policyClipLoss } from '../../src/parts/loss/policy-clip.ts';
import { valueClipLoss } from '../../src/parts/loss/value-clip.ts';
import { klReward } from '../../src/parts/reward/kl-reward.ts';
import { stepForward } from '../../src/parts/scorer/process-scorer.ts';
import { processStep, type SteppedSequence } from '../../src/parts/step/process.ts';
import { rewardModelStep } from '../../src/parts/step/reward-model.ts';
import { createStepRunner } from '../../src/parts/trainer/programs.ts';

const data = new URL('./data/', import.meta.url).pathname;
const readJson = <T>(name: string): T => JSON.parse(readFileSync(join(data, name), 'utf8')) as T;
type Matrix = readonly (readonly number[])[];

/** The largest difference is below `tolerance`; says where it is. */
function expectClose(actual: ArrayLike<number>, expected: Matrix, tolerance: number): void {
  const flat = expected.flat();
  expect(actual.length).toBe(flat.length);
  const errors = flat.map((number, i) => Math.abs(number - actual[i]!));
  const worst = errors.indexOf(Math.max(...errors));
  expect(errors[worst], `element ${worst}: ${actual[worst]} for ${flat[worst]}`).toBeLessThan(tolerance);
}

describe('reward model', () => {
  const recorded = readJson<{
    sequences: number[][];
    scores: number[];
    pairs: number[][];
    losses: {
      margin: number[] | null;
      centering: number | null;
      loss: number;
      metrics: Record<string, number>;
    }[];
  }>('llama-score/recorded.json');
  const { model, parameters } = readModel(join(data, 'llama-score'));
  const engine = createInterpreter();

  it('loads a sequence classifier of transformers and gives its scores, in one batch', async () => {
    expect(isScoreModel(model)).toBe(true);
    const forward = scoreForward({ engine, model, parameters, batchSize: 6, bucket: 16 });
    const scores = await forward.run(recorded.sequences);
    expectClose(
      scores.map(([score]) => score!),
      [recorded.scores],
      1e-5,
    );
  });

  it.each(recorded.losses)(
    'has TRL’s loss and metrics: margin $margin, centering $centering',
    async (record) => {
      const { margin, centering, loss, metrics } = record;
      const step = rewardModelStep({
        loss: (scores) => bradleyTerryLoss(scores, { centering: centering ?? 0 }),
      });
      const runner = createStepRunner(engine, model, parameters, step, {
        rematerialize: false,
        programLimit: 1,
      });
      const half = recorded.pairs.length / 2;
      const examples = recorded.pairs.slice(0, half).map((ids, row) => ({
        chosen: { ids },
        rejected: { ids: recorded.pairs[half + row]! },
        margin: margin?.[row] ?? 0,
      }));
      // A row more than there are pairs: padding must change nothing.
      const totals = await runner.evaluate({ examples, rows: half + 1, columns: 8 });
      expect(totals['loss']! / half).toBeCloseTo(loss, 5);
      const summary = step.summarize(totals);
      for (const [name, value] of Object.entries(metrics)) expect(summary[name], name).toBeCloseTo(value, 5);
    },
  );
});

describe('process reward model', () => {
  const recorded = readJson<{
    examples: SteppedSequence[];
    loss: number;
    headGradient: number[];
    probabilities: number[][];
  }>('llama-prm/recorded.json');
  const { model, parameters } = readModel(join(data, 'llama-prm'));
  const engine = createInterpreter();

  it('loads a token classifier of transformers and gives its probabilities, loss and gradient of the head', async () => {
    const forward = stepForward({ engine, model, parameters, batchSize: 3, bucket: 16 });
    const probabilities = await forward.run(recorded.examples);
    expectClose(probabilities.flat(), [recorded.probabilities.flat()], 1e-5);
    const runner = createStepRunner(engine, model, parameters, processStep(), {
      rematerialize: false,
      programLimit: 1,
    });
    // A row more than there are examples: padding must change nothing.
    const batch = { examples: recorded.examples, rows: 4, columns: 12 };
    const gradient = parameters.like();
    const { loss } = await runner.accumulate(batch, 1 / 6, gradient, { step: 0, microBatch: 0 });
    expect(loss! / 6).toBeCloseTo(recorded.loss, 5);
    expectClose(gradient.view('score.weight'), [recorded.headGradient], 1e-5);
  });
});

describe('ppo', () => {
  const recorded = readJson<{
    scores: number[];
    logProbs: Matrix;
    referenceLogProbs: Matrix;
    values: Matrix;
    estimates: {
      kl_estimator: 'k1' | 'k3';
      kl_coef: number;
      gamma: number;
      lam: number;
      whiten_rewards: boolean;
      rewards: Matrix;
      returns: Matrix;
      advantages: Matrix;
    }[];
    update: {
      logProbs: Matrix;
      values: Matrix;
      mask: Matrix;
      policyLoss: number;
      valueLoss: number;
      valueClipped: number;
      policyGradient: Matrix;
      valueGradient: Matrix;
    };
  }>('ppo.json');
  const shape = [3, 5];
  const matrix = (rows: Matrix): Float64Array => Float64Array.from(rows.flat());

  it.each(recorded.estimates)('has TRL’s rewards, returns and advantages with $kl_estimator', (record) => {
    const sample = { variance: 'sample' } as const;
    const { rewards, mask } = klReward(recorded, {
      klCoefficient: record.kl_coef,
      estimator: record.kl_estimator,
    });
    const used = record.whiten_rewards ? whiten(rewards, mask, { ...sample, centered: false }) : rewards;
    expectClose(used.data, record.rewards, 1e-7);
    const { advantages, returns } = gae({ gamma: record.gamma, gaeLambda: record.lam })({
      rewards: used,
      values: hostTensor(matrix(recorded.values), shape),
      mask,
    });
    expectClose(returns.data, record.returns, 1e-7);
    expectClose(whiten(advantages, mask, sample).data, record.advantages, 1e-7);
  });

  it('has TRL’s clipped losses and their gradients', async () => {
    const { update, estimates } = recorded;
    const type = { dtype: 'float32' as const, shape };
    const names = [
      'logProbs',
      'oldLogProbs',
      'advantages',
      'values',
      'oldValues',
      'returns',
      'mask',
    ] as const;
    const program = trace(
      Object.fromEntries(names.map((name) => [name, type])) as Record<(typeof names)[number], typeof type>,
      ({ logProbs, oldLogProbs, advantages, values, oldValues, returns, mask }) => {
        const overTokens = (x: typeof mask) => div(sum(mul(x, mask)), sum(mask));
        const policy = overTokens(
          policyClipLoss({ logProbs, oldLogProbs, advantages }, { clipRange: 0.2 }).losses,
        );
        const critic = valueClipLoss({ values, oldValues, returns }, 0.2);
        const value = overTokens(critic.losses);
        return {
          policy,
          value,
          clipped: overTokens(cast(critic.clipped, 'float32')),
          policyGradient: gradients(policy, [logProbs])[0]!,
          valueGradient: gradients(value, [values])[0]!,
        };
      },
    );
    const outputs = await (await createInterpreter().compile(program)).run({
      logProbs: matrix(update.logProbs),
      oldLogProbs: matrix(recorded.logProbs),
      advantages: matrix(estimates[0]!.advantages),
      values: matrix(update.values),
      oldValues: matrix(recorded.values),
      returns: matrix(estimates[0]!.returns),
      mask: matrix(update.mask),
    });
    const at = (name: string) => outputs[name]!.data as Float64Array;
    expectClose(at('policy'), [[update.policyLoss]], 1e-6);
    expectClose(at('value'), [[update.valueLoss]], 1e-6);
    expectClose(at('clipped'), [[update.valueClipped]], 1e-6);
    expectClose(at('policyGradient'), update.policyGradient, 1e-6);
    expectClose(at('valueGradient'), update.valueGradient, 1e-6);
  });
});
