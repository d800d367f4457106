import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { goldenFolder } from '../../test/support/golden-model.ts';
import { lettersTokenizer } from '../../test/support/letters-tokenizer.ts';
import { tinyModel } from '../../test/support/tiny-model.ts';
import { createOrtEngine } from '../engine/ort/ort-engine.ts';
import { bco } from '../methods/preference/bco.ts';
import { embedderOf, loadEmbedder, readClassifier, saveModel } from '../models/index.ts';
import { clampedRatio, densityWeights } from './density-weights.ts';
import { embeddingForward, hiddenForward } from './forward.ts';
import type { MarkedCompletion } from './unpaired-data.ts';

const engine = createOrtEngine({ threads: 1 });
const folder = mkdtempSync(join(tmpdir(), 'heed-density-'));
afterAll(() => {
  engine.dispose();
  rmSync(folder, { recursive: true, force: true });
});
const encoder = join(folder, 'encoder');
const { config: stored, parameters: trained } = readClassifier(goldenFolder('bert-relu'));
saveModel(encoder, {
  config: stored,
  parameters: trained,
  files: Object.fromEntries(lettersTokenizer.files),
});
const policy = tinyModel(4);

const unit = (vector: ArrayLike<number>): number[] => {
  const length = Math.hypot(...Array.from(vector));
  return Array.from(vector, (x) => x / length);
};

describe('embeddings', () => {
  const sequences = [[3, 7, 9], [4], [5, 6, 7, 8, 9, 10, 11]];

  it('of a language model are the mean of its hidden states, at length 1, however far it is padded', async () => {
    const { model, parameters } = policy;
    const common = { engine, parameters, batchSize: 3 };
    const hidden = hiddenForward({ ...common, model, bucket: 1 });
    const states = await hidden.run(sequences);
    hidden.dispose();
    const D = model.hiddenSize;
    for (const bucket of [1, 16]) {
      const forward = embeddingForward({ ...common, embedder: embedderOf(model), bucket });
      const vectors = await forward.run(sequences);
      forward.dispose();
      vectors.forEach((vector, row) => {
        const sums = Array.from({ length: D }, (_, d) =>
          sequences[row]!.reduce((sum, _, t) => sum + states[row]![t * D + d]!, 0),
        );
        unit(sums).forEach((x, d) => {
          expect(vector[d]).toBeCloseTo(x, 5);
        });
      });
    }
  });

  it('of an encoder see no padding', async () => {
    const { embedder, parameters } = await loadEmbedder(encoder);
    const run = async (bucket: number) => {
      const forward = embeddingForward({ engine, embedder, parameters, batchSize: 3, bucket });
      const vectors = await forward.run(sequences);
      forward.dispose();
      return vectors;
    };
    const [padded, exact] = [await run(12), await run(1)];
    exact.forEach((vector, row) => {
      expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
      vector.forEach((x, d) => {
        expect(padded[row]![d]).toBeCloseTo(x, 5);
      });
    });
  });
});

/** Prompts of letters: three quarters of the first are desirable, and one quarter of the second. */
const [first, second] = ['a b c', 'm n o p'].map((text) => [
  1,
  ...lettersTokenizer.encode(text, { addSpecial: false }),
]) as [number[], number[]];
const completions = (prompt: number[], desirable: number, undesirable: number): MarkedCompletion[] =>
  Array.from({ length: desirable + undesirable }, (_, i) => {
    const ids = Int32Array.from([...prompt, 10 + (i % 6), 2]);
    const mask = Uint8Array.from(ids, (_, t) => (t < prompt.length ? 0 : 1));
    return {
      example: { where: `row ${i}`, ids, mask, promptLength: prompt.length, truncated: 0, boundary: 'exact' },
      label: i < desirable,
    };
  });
const training = [...completions(first, 600, 200), ...completions(second, 200, 600)];

describe('densityWeights', () => {
  const weigh = (of: readonly MarkedCompletion[], settings: object = {}, rows = training) =>
    densityWeights(of, {
      config: bco.config.parse({ model: '', data: '', useUdm: true, ...settings }),
      ...{ engine, ...policy, tokenizer: lettersTokenizer, modelConfig: {}, training: rows },
      ...{ cacheFolder: folder, onProgress: () => {} },
    });
  const heldOut = [...completions(second, 1, 1), ...completions(first, 1, 1)];

  // p(first | desirable) / p(first | undesirable) = 0.75 / 0.25, of the second 1/3; the penalty draws both towards 1.
  it.each([
    ['the reference', {}],
    ['an encoder', { embeddingModel: encoder }],
  ])('are the ratio of densities by %s, kept within bounds', async (_, model) => {
    const wide = await weigh(heldOut, { ...model, minDensityRatio: 0.01 });
    expect(wide[0]).toBe(1);
    expect(wide[2]).toBe(1);
    expect(Math.abs(wide[1]! - 1 / 3)).toBeLessThan(0.06);
    expect(Math.abs(wide[3]! - 3)).toBeLessThan(0.5);
    expect(await weigh(heldOut, { ...model, maxDensityRatio: 2 })).toEqual([1, 0.5, 1, 2]);
  });

  it('are 1 where every prompt has both marks, as in pairs', async () => {
    for (const weight of await weigh(heldOut, {}, [
      ...completions(first, 9, 9),
      ...completions(second, 5, 5),
    ]))
      expect(weight).toBeCloseTo(1, 6);
  });

  it('come from a sample of the training rows', async () => {
    const settings = { minDensityRatio: 0.01, maxDensityRatio: 100 };
    const [, few] = await weigh(heldOut, { ...settings, promptSampleSize: 20 });
    const [, all] = await weigh(heldOut, settings);
    expect(few).not.toBe(all);
    expect(few).toBe((await weigh(heldOut, { ...settings, promptSampleSize: 20 }))[1]);
    expect(few).not.toBe((await weigh(heldOut, { ...settings, promptSampleSize: 20, seed: 2 }))[1]);
  });

  it('are refused where the rows have one mark', async () => {
    await expect(weigh(heldOut, {}, completions(first, 3, 0))).rejects.toThrow(
      /--use-udm: expected desirable and undesirable completions, received 3 of one mark/,
    );
  });
});

it('clampedRatio keeps extreme odds within bounds', () => {
  const bounds = { minDensityRatio: 0.5, maxDensityRatio: 10 };
  expect(clampedRatio(Math.log(3), bounds)).toBeCloseTo(3, 12);
  expect([-800, 800].map((odds) => clampedRatio(odds, bounds))).toEqual([0.5, 10]);
});
