import { afterAll, describe, expect, it } from 'vitest';
import { tinyConfig, tinyExamples, tinyModel } from '../../test/support/tiny-model.ts';
import { createRng } from '../core/rng.ts';
import { createOrtEngine } from '../engine/ort/ort-engine.ts';
import { buildModel } from '../models/registry.ts';
import { isScoreModel, SCORE_WEIGHT, scoreConfig, scoreModelFrom } from '../models/score-model.ts';
import { logProbForward, scoreForward, valueForward } from './forward.ts';
import { sequenceLogProbs } from './reference.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());
const trunk = tinyModel();
const scored = { engine, ...scoreModelFrom(trunk, { rng: createRng(2) }) };
const sequences = tinyExamples(9);

const worst = (a: readonly ArrayLike<number>[], b: readonly ArrayLike<number>[]): number => {
  expect(a.map(({ length }) => length)).toEqual(b.map(({ length }) => length));
  return Math.max(...a.flatMap((row, i) => Array.from(row, (x, t) => Math.abs(x - b[i]![t]!))));
};

describe('scoreForward', () => {
  const run = async (batchSize: number, bucket: number, list: readonly ArrayLike<number>[]) => {
    const forward = scoreForward({ ...scored, batchSize, bucket });
    const scores = await forward.run(list);
    forward.dispose();
    return scores;
  };
  const ids = sequences.map((example) => Array.from(example.ids));

  it('gives a sequence the same score alone, in a batch, and with more padding', async () => {
    const together = await run(9, 32, ids);
    expect(worst(together, await run(1, 1, ids))).toBeLessThan(1e-5);
    expect(worst(together, await run(4, 16, ids))).toBeLessThan(1e-5);
    expect(new Set(together.map(([score]) => score)).size).toBe(9);
  });

  it('reads the last token even where it is the id that padding repeats', async () => {
    const [plain, ending] = await run(2, 16, [
      [3, 7],
      [3, 7, 0],
    ]);
    expect(Math.abs(plain![0]! - ending![0]!)).toBeGreaterThan(1e-3);
    const [alone] = await run(1, 1, [[3, 7, 0]]);
    expect(Math.abs(alone![0]! - ending![0]!)).toBeLessThan(1e-5);
  });

  it('refuses an empty sequence', async () => {
    await expect(run(1, 1, [[]])).rejects.toThrow(/sequences of 1 to/);
  });
});

describe('valueForward', () => {
  it('is the score of the sequence up to each token', async () => {
    const values = valueForward({ ...scored, batchSize: 9, bucket: 16 });
    const scores = scoreForward({ ...scored, batchSize: 4, bucket: 8 });
    const [of] = await values.run([sequences[0]!]);
    const prefixes = Array.from(of!, (_, t) => Array.from(sequences[0]!.ids).slice(0, t + 1));
    const expected = await scores.run(prefixes);
    expect(worst([of!], [expected.map(([score]) => score!)])).toBeLessThan(1e-5);
    values.dispose();
    scores.dispose();
  });
});

describe('logProbForward', () => {
  it('has a number per predicted token; masked sums are sequence log-probabilities', async () => {
    const options = { engine, ...trunk, batchSize: 4, bucket: 4 };
    const forward = logProbForward(options);
    const rows = await forward.run(sequences);
    const sums = await sequenceLogProbs(sequences, options);
    rows.forEach((row, i) => {
      const masked = Array.from(row, (p, t) => p * sequences[i]!.mask[t + 1]!);
      expect(masked.reduce((total, p) => total + p, 0)).toBeCloseTo(sums[i]!, 4);
    });
    forward.dispose();
  });

  it('divides the logits by the temperature: a very high one makes every token as likely, −ln 24', async () => {
    const forward = logProbForward({ engine, ...trunk, batchSize: 4, bucket: 4 }, 1e6);
    for (const row of await forward.run(sequences)) {
      for (const logProb of row) expect(logProb).toBeCloseTo(-Math.log(24), 4);
    }
    forward.dispose();
  });
});

describe('scoreModelFrom', () => {
  it('copies the trunk, draws the head or leaves it 0, and copies a head that is there', () => {
    const { model, parameters } = scored;
    expect(isScoreModel(model)).toBe(true);
    expect(parameters.view('model.norm.weight')).toEqual(trunk.parameters.view('model.norm.weight'));
    expect(parameters.view('model.norm.weight').buffer).not.toBe(trunk.parameters.flat.buffer);
    expect(parameters.view(SCORE_WEIGHT).some((x) => x !== 0)).toBe(true);
    expect(
      scoreModelFrom(trunk, {})
        .parameters.view(SCORE_WEIGHT)
        .every((x) => x === 0),
    ).toBe(true);
    expect(scoreModelFrom(scored, {}).parameters.view(SCORE_WEIGHT)).toEqual(parameters.view(SCORE_WEIGHT));
  });

  it('has the config of transformers’ sequence classifiers, which builds the same model', () => {
    const config = scoreConfig(tinyConfig, { padId: 0, eosId: 2 });
    expect(config).toMatchObject({
      architectures: ['LlamaForSequenceClassification'],
      num_labels: 1,
      pad_token_id: 0,
      hidden_size: 16,
    });
    // A padding id that is the stop token would make transformers read one token too early.
    const special = { padId: 2, eosId: 2, bosId: 1 };
    expect(scoreConfig({ ...tinyConfig, pad_token_id: 2 }, special)).toMatchObject({ pad_token_id: 1 });
    expect(scoreConfig(tinyConfig, { padId: 2, eosId: 2 })).not.toHaveProperty('pad_token_id');
    expect(buildModel(config).parameters).toEqual(scored.model.parameters);
    expect(() => buildModel(config).head({})).toThrow(/expected a language model/);
  });
});
