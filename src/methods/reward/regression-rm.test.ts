import { afterAll, describe, expect, it } from 'vitest';
import { placeholders, runProgram } from '../../../test/support/reward-programs.ts';
import { tinyModel } from '../../../test/support/tiny-model.ts';
import { createRng } from '../../core/rng.ts';
import { toRows } from '../../data/index.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { pearson } from '../../eval/correlation.ts';
import { scoreModelFrom } from '../../models/score-model.ts';
import { adamW } from '../../optim/optimizer.ts';
import { scoreForward } from '../../parts/forward.ts';
import { type RatedSequence, ratingLoss } from '../../parts/step/rating.ts';
import { train } from '../../parts/trainer/trainer.ts';
import { trainBpe } from '../../tokenizer/index.ts';
import { config, regressionRm } from './regression-rm.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());

/** Sequences of 12 tokens: the first rating is the share of token 10, the second, known for every other row, that of token 11. */
function rated(count: number, seed: number): RatedSequence[] {
  const rng = createRng(seed);
  return Array.from({ length: count }, (_, row) => {
    const ids = Array.from({ length: 12 }, (_, t) => 10 + rng.integer(3, row, t));
    const share = (id: number): number => (2 * ids.filter((other) => other === id).length) / ids.length - 1;
    return { ids: [1, ...ids, 2], ratings: [share(10), row % 2 === 0 ? share(11) : undefined] };
  });
}

it('learns each attribute on its own, from the rows that have it', async () => {
  const { model, parameters } = scoreModelFrom(tinyModel(4), { outputs: 2, rng: createRng(1) });
  const settings = config.parse({ model: '', data: '', attributes: ['a', 'b'] });
  const evaluation = rated(64, 99).filter(({ ratings }) => ratings[1] !== undefined);
  const result = await train({
    ...{ engine, model, parameters, examples: rated(256, 7), evaluation },
    step: regressionRm.build(settings),
    optimizer: adamW({ size: parameters.flat.length }),
    schedule: () => 3e-3,
    settings: {
      ...{ batchSize: 32, microBatchSize: 16, evaluationBatchSize: 48, totalSteps: 80, shuffle: true },
      ...{ maxGradNorm: 1, bucket: 8, logEvery: 10, evaluateEvery: 0, saveEvery: 0 },
      gradientCheckpointing: false,
    },
    rng: createRng(1),
    clock: () => 0,
    hooks: { log: () => {}, progress: () => {}, save: async () => {}, interrupted: () => false },
  });
  expect(result.evaluation['eval_mae']).toBeLessThan(0.2);
  const forward = scoreForward({ engine, model, parameters, batchSize: 32, bucket: 8 });
  const outputs = await forward.run(evaluation.map(({ ids }) => ids));
  forward.dispose();
  const agreement = (of: number, by: number): number =>
    pearson(
      evaluation.map(({ ratings }) => ratings[of]!),
      outputs.map((numbers) => numbers[by]!),
    )!;
  expect(agreement(0, 0)).toBeGreaterThan(0.9);
  expect(agreement(1, 1)).toBeGreaterThan(0.9);
  // The shares of two of three tokens are opposed; a head that had learned the other attribute would agree.
  expect(agreement(0, 1)).toBeLessThan(0);
});

// (1 − 0)² + (3 − 5)² = 5 where both are rated; 1 where the second is not.
it('ratingLoss leaves out what is not rated', async () => {
  const inputs = { outputs: [1, 3, 1, 3], targets: [0, 5, 0, 99], mask: [1, 1, 1, 0] };
  const loss = await runProgram(createInterpreter(), placeholders(inputs, [2, 2]), inputs, (x) =>
    ratingLoss(x.outputs!, x.targets!, x.mask!),
  );
  expect(loss).toEqual([5, 1]);
});

describe('rows', () => {
  const tokenizer = trainBpe(['one two three four'], {
    vocabSize: 270,
    specialTokens: { bos: '<s>', eos: '</s>' },
  });
  const encode = (row: object, options: object = {}) =>
    regressionRm.encode(toRows([{ prompt: 'one', completion: ' two', ...row }]), {
      config: config.parse({ model: '', data: '', attributes: ['help', 'tone'], ...options }),
      tokenizer,
      model: tinyModel().model,
    }).examples[0]!;

  it('maps the scale to −1 … 1, takes the mean of raters, and leaves missing ones out', () => {
    expect(encode({ help: 5, tone: [1, 2, 3] }).ratings).toEqual([1, -0.5]);
    expect(encode({ help: 0 }, { lowestRating: 0, highestRating: 4 }).ratings).toEqual([-1, undefined]);
    expect(Array.from(encode({ help: 3 }).ids).at(-1)).toBe(tokenizer.eosId);
  });
  it('refuses ratings outside the scale, rows without any, and settings that do not fit', () => {
    expect(() => encode({ help: 0 })).toThrow(/row 1, `help`: expected a rating from 1 to 5.*received 0/);
    expect(() => encode({ help: 'good' })).toThrow(/received "good"/);
    expect(() => encode({})).toThrow(
      /row 1: expected `prompt` and `completion` with a rating in `help` or `tone`, received columns `prompt`, `completion`\./,
    );
    expect(() => encode({ completion: undefined, chosen: ' two', rejected: ' one' })).toThrow(
      /with a rating in `help` or `tone`, received columns .*`chosen`, `rejected` of a preference row/,
    );
    expect(() => encode({ help: 3 }, { attributeWeights: [1] })).toThrow(
      /expected 2, one for each attribute/,
    );
    expect(() => encode({ help: 3 }, { lowestRating: 5 })).toThrow(/less than highestRating/);
  });
});
