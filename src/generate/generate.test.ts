import { afterAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../test/support/tiny-model.ts';
import { createRng } from '../core/rng.ts';
import { createOrtEngine } from '../engine/ort/ort-engine.ts';
import { sequenceLogProbs } from '../parts/reference.ts';
import { createGenerator, type GenerateOptions } from './generate.ts';
import { sampleToken } from './sample.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());
const { model, parameters } = tinyModel();
const options: GenerateOptions = {
  temperature: 1,
  topK: 0,
  topP: 1,
  maxNewTokens: 12,
  stopIds: new Set([5]),
  rng: createRng(2),
};
const prompts = [[1], [3, 7, 2], [4, 4, 4, 4, 9, 11], [8, 20]];

describe('generate', () => {
  it('gives the log-probabilities of a full forward pass, through prefill and cache', async () => {
    const generator = createGenerator({ engine, model, parameters });
    const completions = await generator.generate(prompts, options);
    const sequences = completions.map(({ ids }, i) => ({
      ids: [...prompts[i]!, ...ids],
      mask: [...prompts[i]!.map(() => 0), ...ids.map(() => 1)],
    }));
    const scores = await sequenceLogProbs(sequences, { engine, model, parameters, batchSize: 4, bucket: 8 });
    completions.forEach(({ logProbs }, i) => {
      expect(logProbs.reduce((total, p) => total + p, 0)).toBeCloseTo(scores[i]!, 4);
    });
    generator.dispose();
  });

  it('gives a prompt the same completion alone, in a batch and in another order', async () => {
    const generator = createGenerator({ engine, model, parameters });
    const together = await generator.generate(prompts, options);
    const apart = await generator.generate(prompts, { ...options, batchSize: 1 });
    expect(apart.map(({ ids }) => ids)).toEqual(together.map(({ ids }) => ids));
    generator.dispose();
  });

  it('stops at a stop token, at the length and at the context', async () => {
    const generator = createGenerator({ engine, model, parameters });
    const all = await generator.generate(prompts, { ...options, maxNewTokens: 1000 });
    for (const [i, { ids, finish }] of all.entries()) {
      if (finish === 'stop') expect(ids.indexOf(5)).toBe(ids.length - 1);
      else expect(prompts[i]!.length + ids.length).toBe(model.maxPositions);
    }
    const [short] = await generator.generate([[1]], { ...options, maxNewTokens: 3, stopIds: new Set() });
    expect(short).toMatchObject({ finish: 'length', ids: { length: 3 } });
    generator.dispose();
  });

  it('refuses an empty prompt and one that fills the context', async () => {
    const generator = createGenerator({ engine, model, parameters });
    await expect(generator.generate([[1], []], options)).rejects.toThrow(/prompt 2: expected 1 to 63 tokens/);
    await expect(generator.generate([new Array(64).fill(1)], options)).rejects.toThrow(/received 64 tokens/);
    generator.dispose();
  });
});

describe('sampleToken', () => {
  const probs = Float32Array.of(0.1, 0.4, 0.2, 0.3);
  it('inverts the cumulative sum: 0.05 → 0, 0.3 → 1, 0.6 → 2, 0.99 → 3', () => {
    expect([0.05, 0.3, 0.6, 0.99].map((u) => sampleToken(probs, u, { topK: 0, topP: 1 }))).toEqual([
      0, 1, 2, 3,
    ]);
  });
  it('keeps the k most likely: of tokens 1 and 3, 4/7 of the draws are token 1', () => {
    const draws = Array.from({ length: 700 }, (_, i) =>
      sampleToken(probs, (i + 0.5) / 700, { topK: 2, topP: 1 }),
    );
    expect(draws.filter((token) => token === 1).length).toBe(400);
    expect(new Set(draws)).toEqual(new Set([1, 3]));
  });
  it('keeps the fewest tokens that reach p: 0.4 + 0.3 ≥ 0.7, so token 2 is out', () => {
    const draws = Array.from({ length: 100 }, (_, i) =>
      sampleToken(probs, (i + 0.5) / 100, { topK: 0, topP: 0.699 }),
    );
    expect(new Set(draws)).toEqual(new Set([1, 3]));
    expect(sampleToken(probs, 0.99, { topK: 0, topP: 0.01 })).toBe(1);
  });
  it('never returns a token of probability 0', () => {
    expect(sampleToken(Float32Array.of(0, 1, 0), 0, { topK: 0, topP: 1 })).toBe(1);
    expect(sampleToken(Float32Array.of(0, 1, 0), 1 - 2 ** -53, { topK: 0, topP: 1 })).toBe(1);
  });
});
