import { afterAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../test/support/tiny-model.ts';
import { createRng } from '../core/rng.ts';
import { createOrtEngine } from '../engine/ort/ort-engine.ts';
import { logProbForward } from '../parts/forward.ts';
import { regexConstraint } from './constraint/regex.ts';
import { tokenTrie } from './constraint/token-trie.ts';
import { createGenerator, type GenerateOptions } from './generate.ts';
import { lookUp } from './speculative.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());
const options: GenerateOptions = {
  ...{ temperature: 1, topK: 0, topP: 1, maxNewTokens: 20, stopIds: new Set([5]), rng: createRng(2) },
};
const prompts = [[1], [3, 7, 2, 3, 7, 2, 3], [4, 4, 4, 4, 9, 11], [8, 20]];

describe('lookUp', () => {
  it('gives what followed the longest end that occurred before, at its latest place', () => {
    expect(lookUp([1, 2, 3, 9, 1, 2], 2)).toEqual([3, 9]);
    // The end 1 2 occurred twice; 7 1 2 once, earlier.
    expect(lookUp([7, 1, 2, 5, 1, 2, 6, 7, 1, 2], 1)).toEqual([5]);
    expect(lookUp([1, 2, 5, 1, 2, 6, 8, 1, 2], 3)).toEqual([6, 8, 1]);
    expect(lookUp([4, 4, 4], 5)).toEqual([4]);
    expect(lookUp([1, 2, 3], 5)).toEqual([]);
    expect(lookUp([1], 5)).toEqual([]);
  });
});

describe('speculative decoding', () => {
  it('by look-up gives the completions of plain sampling, token for token, through both kinds of cache', async () => {
    for (const head_dim of [4, 8]) {
      const generator = createGenerator({ engine, ...tinyModel(4, { head_dim }) });
      for (const more of [
        {},
        { temperature: 0 },
        { temperature: 0.7, topK: 5, n: 3, repetitionPenalty: 1.2 },
      ]) {
        const wanted = await generator.generate(prompts, { ...options, ...more });
        for (const speculate of [1, 4]) {
          const made = await generator.generate(prompts, { ...options, ...more, speculate, batchSize: 3 });
          expect(made.map(({ ids }) => ids)).toEqual(wanted.map(({ ids }) => ids));
          made.forEach(({ logProbs, samplingLogProbs, finish, stop }, i) => {
            expect([finish, stop]).toEqual([wanted[i]!.finish, wanted[i]!.stop]);
            for (const [t, p] of logProbs.entries()) {
              expect(Math.abs(p - wanted[i]!.logProbs[t]!)).toBeLessThan(1e-4);
              expect(Math.abs(samplingLogProbs[t]! - wanted[i]!.samplingLogProbs[t]!)).toBeLessThan(1e-4);
            }
          });
        }
      }
      const { guessed, kept } = generator.speculated!;
      expect(guessed).toBeGreaterThan(100);
      expect(kept).toBeGreaterThan(20);
      expect(kept).toBeLessThan(guessed);
      generator.dispose();
    }
  });

  it('with a draft model gives the greedy completions, whatever the draft, up to the end of the context', async () => {
    const { model, parameters } = tinyModel(4, { head_dim: 8 });
    const plain = createGenerator({ engine, model, parameters });
    const greedy = { ...options, temperature: 0, maxNewTokens: 100, stopIds: new Set<number>() };
    const wanted = await plain.generate(prompts, greedy);
    plain.dispose();
    const rates: number[] = [];
    for (const draft of [
      tinyModel(9),
      { model, parameters },
      tinyModel(4, { max_position_embeddings: 32 }),
    ]) {
      const generator = createGenerator({ engine, model, parameters, draft });
      const made = await generator.generate(prompts, { ...greedy, speculate: 3, batchSize: 2 });
      expect(made.map(({ ids, finish }) => [ids, finish])).toEqual(
        wanted.map(({ ids, finish }) => [ids, finish]),
      );
      rates.push(generator.speculated!.kept / generator.speculated!.guessed);
      generator.dispose();
    }
    expect(rates[0]).toBeLessThan(0.5);
    // A model that guesses for itself is right, but for what lies beyond the context.
    expect(rates[1]).toBeGreaterThan(0.9);
  });

  it('with a draft model keeps the distribution of sampling: χ² over all completions of two tokens', async () => {
    const { model, parameters } = tinyModel(4, { vocab_size: 5, initializer_range: 0.4 });
    // A draft half-way to another model: near enough to be right at times, far enough to be wrong.
    const draft = tinyModel(9, { vocab_size: 5, initializer_range: 0.4 });
    const { flat } = draft.parameters;
    for (let i = 0; i < flat.length; i++) flat[i] = 0.7 * parameters.flat[i]! + 0.3 * flat[i]!;
    const prompt = [1, 3];
    const pairs = Array.from({ length: 25 }, (_, i) => [Math.floor(i / 5), i % 5]);
    const forward = logProbForward({ engine, model, parameters, batchSize: 25, bucket: 8 });
    const rows = await forward.run(pairs.map((ids) => ({ ids: [...prompt, ...ids], mask: [0, 0, 1, 1] })));
    forward.dispose();
    const cases = [
      { temperature: 1, topK: 0 },
      { temperature: 0.6, topK: 3 },
    ];
    for (const sampling of cases) {
      // Three tokens, of which the second and third are guessed: the first two are counted.
      const count = 2000;
      const run = async (draft: ReturnType<typeof tinyModel> | undefined, rng: number) => {
        const generator = createGenerator({ engine, model, parameters, draft });
        const made = await generator.generate([prompt], {
          ...{ ...options, ...sampling, rng: createRng(rng), n: count, batchSize: 500 },
          ...{ maxNewTokens: 3, stopIds: new Set<number>(), speculate: draft === undefined ? 0 : 2 },
        });
        const { guessed, kept } = generator.speculated!;
        generator.dispose();
        const counts = new Array<number>(125).fill(0);
        for (const { ids } of made) counts[25 * ids[0]! + 5 * ids[1]! + ids[2]!]!++;
        return { counts, rate: kept / guessed };
      };
      const speculative = await run(draft, 7);
      expect(speculative.rate).toBeGreaterThan(0.1);
      expect(speculative.rate).toBeLessThan(0.95);
      const plain = await run(undefined, 8);
      // Two samples: Σ (a − b)² / (a + b) is χ² with (cells − 1) degrees of freedom when both have one distribution.
      let chi = 0;
      let cells = -1;
      speculative.counts.forEach((a, i) => {
        const b = plain.counts[i]!;
        if (a + b < 10) return;
        chi += (a - b) ** 2 / (a + b);
        cells++;
      });
      // Mean + 4 standard deviations: a false alarm in 1 of 10 000 seeds; seeds are fixed.
      expect(chi).toBeLessThan(cells + 4 * Math.sqrt(2 * cells));
      if (sampling.topK > 0) continue;
      let exact = 0;
      pairs.forEach((ids, i) => {
        const expected = count * Math.exp(rows[i]![1]! + rows[i]![2]!);
        const first = 25 * ids[0]! + 5 * ids[1]!;
        const seen = speculative.counts.slice(first, first + 5).reduce((a, b) => a + b, 0);
        exact += (seen - expected) ** 2 / expected;
      });
      expect(exact).toBeLessThan(24 + 4 * Math.sqrt(48));
    }
  });

  it('keeps to constraints, and refuses what does not fit', async () => {
    const { model, parameters } = tinyModel(4);
    const draft = tinyModel(9);
    const bytes = Array.from({ length: 24 }, (_, id) =>
      id === 5 ? new Uint8Array(0) : Uint8Array.of(97 + id),
    );
    const constraint = regexConstraint('(?:ab|cd)+e', tokenTrie(bytes));
    const generator = createGenerator({ engine, model, parameters, draft });
    const made = await generator.generate(prompts, {
      ...options,
      constraint,
      speculate: 3,
      n: 4,
      maxNewTokens: 50,
    });
    for (const { ids, finish } of made) {
      const text = ids.map((id) => String.fromCharCode(97 + id)).join('');
      expect(text).toMatch(finish === 'stop' ? /^(ab|cd)+e$/ : /^(ab|cd)*[ac]?$/);
    }
    await expect(generator.generate(prompts, { ...options, speculate: 1.5 })).rejects.toThrow(
      /generate\(speculate\)/,
    );
    generator.dispose();
    const other = createGenerator({ engine, model, parameters, draft: tinyModel(1, { vocab_size: 20 }) });
    await expect(other.generate(prompts, { ...options, speculate: 2 })).rejects.toThrow(
      /createGenerator\(draft\): expected the model's vocabulary of 24 tokens, received 20/,
    );
    other.dispose();
  });
});
