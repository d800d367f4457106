/** Density weights of BCO against scikit-learn's logistic regression and TRL 0.24.0's weights and weighted loss. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { fitLogistic, logOdds } from '../../src/core/logistic-regression.ts';
import { createInterpreter } from '../../src/engine/interpreter.ts';
import { gradients } from '../../src/graph/gradient.ts';
import { mul, sub } from '../../src/graph/ops/elementwise.ts';
import { sum } from '../../src/graph/ops/reduce.ts';
import { trace } from '../../src/graph/program.ts';
import type { TensorType } from '../../src/graph/tensor.ts';
import { runningMeanReward } from '../../src/methods/preference/bco.ts';
import { clampedRatio } from '../../src/parts/density-weights.ts';
import { bcoLoss } from '../../src/parts/loss/unpaired.ts';

const recorded = JSON.parse(readFileSync(new URL('./data/bco-density.json', import.meta.url), 'utf8')) as {
  readonly embeddings: readonly (readonly number[])[];
  readonly labels: readonly boolean[];
  readonly weights: readonly number[];
  readonly intercept: number;
  readonly densityWeights: readonly number[];
  readonly logProbs: readonly number[];
  readonly reference: readonly number[];
  readonly loss: number;
  readonly gradient: readonly number[];
};
const { embeddings, labels } = recorded;
const classifier = fitLogistic(embeddings, labels);
const rejected = embeddings.filter((_, row) => !labels[row]);
const ratios = rejected.map((x) =>
  clampedRatio(logOdds(classifier, x), { minDensityRatio: 0.5, maxDensityRatio: 5 }),
);

// scikit-learn with its own tolerance stops 1e-3 from the optimum; without the balance the intercept is 0.5 away.
it('the classifier is scikit-learn’s', () => {
  classifier.weights.forEach((weight, i) => {
    expect(weight).toBeCloseTo(recorded.weights[i]!, 7);
  });
  expect(classifier.intercept).toBeCloseTo(recorded.intercept, 7);
});

it('the weights are TRL’s, some at each bound', () => {
  expect(ratios.filter((ratio) => ratio > 0.5 && ratio < 5).length).toBeGreaterThan(2);
  expect(ratios).toEqual(expect.arrayContaining([0.5, 5]));
  ratios.forEach((ratio, row) => {
    expect(ratio).toBeCloseTo(recorded.densityWeights[row]!, 6);
  });
});

it('the weighted loss and its slopes are TRL’s', async () => {
  const none = { ids: [], mask: [] };
  let next = 0;
  const batch = runningMeanReward().complete(
    labels.map((label, i) => ({ example: none, label, reference: recorded.reference[i]! })),
    recorded.logProbs.map((x) => [x]),
    true,
  );
  const B: TensorType = { dtype: 'float32', shape: [labels.length] };
  const program = trace({ logProb: B, reference: B, sign: B, anchor: B, weight: B }, (inputs) => {
    const { sign, anchor, weight } = inputs;
    const logRatio = sub(inputs.logProb, inputs.reference);
    const total = sum(mul(bcoLoss({ beta: 0.1 })({ logRatio, sign, anchor }), weight));
    return { total, slope: gradients(total, [inputs.logProb])[0]! };
  });
  const outputs = await (await createInterpreter().compile(program)).run({
    logProb: Float64Array.from(recorded.logProbs),
    reference: Float64Array.from(recorded.reference),
    sign: Float64Array.from(labels, (label) => (label ? 1 : -1)),
    anchor: Float64Array.from(batch, ({ anchor }) => anchor!),
    weight: Float64Array.from(labels, (label) => (label ? 1 : ratios[next++]!)),
  });
  expect(Number(outputs.total!.data[0]) / labels.length).toBeCloseTo(recorded.loss, 7);
  recorded.gradient.forEach((slope, i) => {
    expect(Number(outputs.slope!.data[i]) / labels.length).toBeCloseTo(slope, 8);
  });
});
