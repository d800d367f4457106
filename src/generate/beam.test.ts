import { afterAll, describe, expect, it } from 'vitest';
import { goldenFolder, readGolden } from '../../test/support/golden-model.ts';
import { tinyModel } from '../../test/support/tiny-model.ts';
import { createRng } from '../core/rng.ts';
import { createOrtEngine } from '../engine/ort/ort-engine.ts';
import { readModel } from '../models/checkpoint.ts';
import { logProbForward } from '../parts/forward.ts';
import { createGenerator, type GenerateOptions } from './generate.ts';

interface Recorded {
  readonly model: string;
  readonly eos: readonly number[];
  readonly maxNewTokens: number;
  readonly cases: readonly {
    readonly prompt: readonly number[];
    readonly settings: {
      readonly num_beams: number;
      readonly length_penalty?: number;
      readonly early_stopping?: boolean | 'never';
      readonly min_new_tokens?: number;
      readonly repetition_penalty?: number;
    };
    readonly sequences: readonly (readonly number[])[];
    readonly scores: readonly number[];
  }[];
}

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());
const options: GenerateOptions = {
  ...{ temperature: 1, topK: 0, topP: 1, maxNewTokens: 6, stopIds: new Set([5]), rng: createRng(2) },
};
const prompts = [[1], [3, 7, 2], [4, 4, 4, 4, 9, 11], [8, 20]];

describe('beam search', () => {
  const recorded = readGolden('beam.json') as Recorded;
  it.each(recorded.cases.map((one, index) => [index, one] as const))(
    'gives the sequences and scores of transformers, in their order (case %i)',
    async (_, { prompt, settings, sequences, scores }) => {
      const generator = createGenerator({ engine, ...readModel(goldenFolder(recorded.model)) });
      const made = await generator.generate([prompt], {
        ...options,
        ...{ stopIds: new Set(recorded.eos), maxNewTokens: recorded.maxNewTokens },
        ...{ beams: settings.num_beams, n: settings.num_beams },
        ...{ lengthPenalty: settings.length_penalty, earlyStopping: settings.early_stopping },
        ...{ minNewTokens: settings.min_new_tokens, repetitionPenalty: settings.repetition_penalty },
      });
      generator.dispose();
      expect(made.map(({ ids }) => ids)).toEqual(sequences);
      made.forEach(({ score, ids, finish }, i) => {
        expect(score).toBeCloseTo(scores[i]!, 4);
        expect(finish).toBe(recorded.eos.includes(ids.at(-1)!) ? 'stop' : 'length');
      });
    },
  );

  it('equals the search of all sequences where the beams are as many as those', async () => {
    const { model, parameters } = tinyModel(4, { vocab_size: 5, head_dim: 8 });
    const generator = createGenerator({ engine, model, parameters });
    const length = 3;
    const stop = 2;
    // Every sequence of 3 tokens, or fewer when the last is the stop token: 64 + 4·(1 + 4) + … = 85 in all.
    const all: number[][] = [];
    const grow = (ids: number[]): void => {
      if (ids.at(-1) === stop || ids.length === length) all.push(ids);
      else for (let token = 0; token < 5; token++) grow([...ids, token]);
    };
    grow([]);
    const forward = logProbForward({ engine, model, parameters, batchSize: 32, bucket: 8 });
    const prompt = [1, 3];
    const sequences = all.map((ids) => ({ ids: [...prompt, ...ids], mask: [0, 0, ...ids.map(() => 1)] }));
    const sums = (await forward.run(sequences)).map((row, i) =>
      row.subarray(1, 1 + all[i]!.length).reduce((a, b) => a + b, 0),
    );
    forward.dispose();
    for (const lengthPenalty of [0, 1, -1]) {
      const made = await generator.generate([prompt], {
        ...options,
        ...{ maxNewTokens: length, stopIds: new Set([stop]), beams: 100, n: 10, lengthPenalty },
        earlyStopping: 'never',
      });
      const ranked = all
        .map((ids, i) => ({ ids, score: sums[i]! / ids.length ** lengthPenalty }))
        .sort((a, b) => b.score - a.score);
      expect(made.map(({ ids }) => ids)).toEqual(ranked.slice(0, 10).map(({ ids }) => ids));
      made.forEach(({ score, logProbs }, i) => {
        expect(score).toBeCloseTo(ranked[i]!.score, 4);
        expect(logProbs.reduce((a, b) => a + b, 0)).toBeCloseTo(sums[all.indexOf(ranked[i]!.ids)]!, 4);
      });
    }
    generator.dispose();
  });

  it('is greedy with one beam, and finds what is likelier with more, through both kinds of cache', async () => {
    for (const head_dim of [4, 8]) {
      const generator = createGenerator({ engine, ...tinyModel(4, { head_dim }) });
      const greedy = await generator.generate(prompts, { ...options, temperature: 0 });
      const one = await generator.generate(prompts, { ...options, beams: 1, earlyStopping: true });
      expect(one.map(({ ids }) => ids)).toEqual(greedy.map(({ ids }) => ids));
      one.forEach(({ logProbs }, i) => {
        logProbs.forEach((p, t) => {
          expect(p).toBeCloseTo(greedy[i]!.logProbs[t]!, 5);
        });
      });
      const sum = ({ logProbs }: { logProbs: number[] }): number => logProbs.reduce((a, b) => a + b, 0);
      const many = await generator.generate(prompts, {
        ...options,
        beams: 8,
        lengthPenalty: 0,
        stopIds: new Set(),
      });
      const plain = await generator.generate(prompts, { ...options, temperature: 0, stopIds: new Set() });
      const gains = many.map((completion, i) => sum(completion) - sum(plain[i]!));
      expect(Math.min(...gains)).toBeGreaterThan(-1e-4);
      expect(Math.max(...gains)).toBeGreaterThan(0.1);
      generator.dispose();
    }
  });

  it('gives a prompt the same, searched alone or beside others, and ends at the context', async () => {
    const generator = createGenerator({ engine, ...tinyModel(4, { head_dim: 8 }) });
    const search = { ...options, beams: 3, n: 2 };
    const together = await generator.generate(prompts, { ...search, batchSize: 32 });
    const apart = await generator.generate(prompts, { ...search, batchSize: 1 });
    expect(apart.map(({ ids }) => ids)).toEqual(together.map(({ ids }) => ids));
    const long = new Array(61).fill(1) as number[];
    const [made] = await generator.generate([long], { ...search, n: 1, stopIds: new Set() });
    expect(made).toMatchObject({ ids: { length: 3 }, finish: 'length' });
    generator.dispose();
  });

  it('refuses what it has not', async () => {
    const generator = createGenerator({ engine, ...tinyModel() });
    const refuses = (more: Partial<GenerateOptions>, message: RegExp) =>
      expect(generator.generate(prompts, { ...options, beams: 2, ...more })).rejects.toThrow(message);
    await refuses({ n: 3 }, /generate\(n\): expected at most the beams, 2, received 3/);
    await refuses({ beams: 0, n: 0 }, /generate/);
    await refuses({ entropy: true }, /generate\(entropy\): expected an option that beam search has/);
    await refuses({ lengthPenalty: Number.NaN }, /generate\(lengthPenalty\): expected a finite number/);
    generator.dispose();
  });
});
