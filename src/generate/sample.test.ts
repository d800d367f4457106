import { describe, expect, it } from 'vitest';
import { createRng } from '../core/rng.ts';
import { fingerprint } from './fingerprint.ts';
import { blockWidth } from './programs.ts';
import {
  adjust,
  drawByBlock,
  drawFrom,
  drawWithOptions,
  greedyByBlock,
  mostLikely,
  sampleToken,
  truncate,
} from './sample.ts';

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

describe('truncate', () => {
  const probs = Float32Array.of(0.1, 0.4, 0.2, 0.3);
  const all = { topK: 0, topP: 1 };
  const kept = (more: object, of: ArrayLike<number> = probs) => {
    const tokens = truncate(of, { ...all, ...more });
    return tokens && [...tokens].sort((a, b) => a - b);
  };
  it('keeps everything by default', () => expect(kept({})).toBeUndefined());
  it('min-p 0.6: at least 0.6 · 0.4 = 0.24, so 0.4 and 0.3', () =>
    expect(kept({ minP: 0.6 })).toEqual([1, 3]));
  it('top-p after top-k counts what top-k left: 0.4 of 0.7 reaches 0.57', () =>
    expect(kept({ topK: 2, topP: 0.57 })).toEqual([1]));
  it('typical: keeps the tokens whose surprise is nearest to the entropy', () => {
    // H = 0.2497 + 3 · 0.2303 = 0.9404; |0.3567 − 0.9404| = 0.58 and |2.3026 − 0.9404| = 1.36.
    expect(kept({ typicalP: 0.5 }, [0.7, 0.1, 0.1, 0.1])).toEqual([0]);
    // H of (0.3, 0.25 × 2, 0.2) = 1.3763: surprises 1.204, 1.386, 1.609; the most likely token is not the most typical.
    expect(kept({ typicalP: 0.4 }, [0.3, 0.25, 0.25, 0.2])).toEqual([1, 2]);
  });
  it('keeps the nucleus that a full sort keeps', () => {
    const rng = createRng(5);
    for (let trial = 0; trial < 50; trial++) {
      const logits = Array.from({ length: 97 }, (_, i) => 3 * rng.normal(trial, i));
      const total = logits.reduce((sum, x) => sum + Math.exp(x), 0);
      const p = logits.map((x) => Math.exp(x) / total);
      const topP = rng.uniform(trial);
      const order = [...p.keys()].sort((a, b) => p[b]! - p[a]!);
      let mass = 0;
      const wanted = order.filter((token) => {
        const needed = mass < topP;
        mass += p[token]!;
        return needed;
      });
      expect(kept({ topP }, p)).toEqual(wanted.sort((a, b) => a - b));
      expect([...mostLikely(p, 10)].sort((a, b) => a - b)).toEqual(order.slice(0, 10).sort((a, b) => a - b));
    }
  });
});

describe('adjust', () => {
  const logits = Float32Array.of(2, -2, 1, 0);
  const context = { prompt: [1], ids: [0, 0], stopIds: new Set([3]) };
  const plain = { temperature: 1, topK: 0, topP: 1 };
  it('repetition 2: 2 / 2 in the completion, −2 · 2 in the prompt', () =>
    expect([...adjust(logits, { ...plain, repetitionPenalty: 2 }, context)]).toEqual([1, -4, 1, 0]));
  it('frequency 0.5, twice: 2 − 1; presence 0.5, once: 2 − 0.5; the prompt does not count', () => {
    expect([...adjust(logits, { ...plain, frequencyPenalty: 0.5 }, context)]).toEqual([1, -2, 1, 0]);
    expect([...adjust(logits, { ...plain, presencePenalty: 0.5 }, context)]).toEqual([1.5, -2, 1, 0]);
  });
  it('adds biases, and forbids stop tokens before the third token', () => {
    const biased = { ...plain, logitBias: new Map([[2, 3]]) };
    expect([...adjust(logits, biased, context)]).toEqual([2, -2, 4, 0]);
    expect([...adjust(logits, { ...plain, minNewTokens: 3 }, context)]).toEqual([2, -2, 1, -Infinity]);
    expect([...adjust(logits, { ...plain, minNewTokens: 2 }, context)]).toEqual([2, -2, 1, 0]);
  });
});

describe('draws', () => {
  it('with options: of logits log (3, 1) at temperature 1/2 the odds are 9 to 1', () => {
    const logits = Float32Array.of(Math.log(3), 0);
    const options = { temperature: 0.5, topK: 0, topP: 1 };
    const context = { prompt: [], ids: [], stopIds: new Set<number>() };
    expect(drawWithOptions(logits, 0.89, options, context).token).toBe(0);
    const draw = drawWithOptions(logits, 0.91, options, context);
    expect(draw.token).toBe(1);
    expect(draw.logProb).toBeCloseTo(Math.log(0.1), 6);
    // Truncated to one token, its probability is 1.
    expect(drawWithOptions(logits, 0.91, { ...options, topK: 1 }, context)).toEqual({ token: 0, logProb: 0 });
  });
  it('refuses logits that leave no token', () => {
    const options = { temperature: 1, topK: 1, topP: 1, minNewTokens: 1 };
    const context = { prompt: [], ids: [], stopIds: new Set([0, 1]) };
    expect(() => drawWithOptions(Float32Array.of(1, 2), 0.5, options, context)).toThrow(
      /expected a token with a finite logit, received a highest logit of -Infinity/,
    );
  });
  it('by block: the token of the plain inversion, also at block borders and among zeros', () => {
    const weights = Float32Array.of(0, 0, 0.25, 0.25, 0, 0, 0, 0, 0.5, 0, 1, 0);
    const sums = Float32Array.of(0.25, 0.25, 0.5, 1);
    const grouped = { weights, sums };
    for (let i = 0; i < 64; i++) {
      expect(drawByBlock(grouped, i / 64)).toEqual(drawFrom(weights, undefined, i / 64));
    }
    expect(drawByBlock(grouped, 1 - 2 ** -53)).toEqual({ token: 10, logProb: Math.log(0.5) });
    expect(drawByBlock(grouped, 0)).toEqual({ token: 2, logProb: Math.log(0.125) });
  });
  it('greedy by block: the first of the highest', () => {
    const logits = Float32Array.of(-5, 1, 3, 2, 3, 3);
    expect(greedyByBlock({ logits, peaks: Float32Array.of(3, 3) })).toBe(2);
  });
  it('blocks divide the vocabulary and are as wide as there are many, as nearly as possible', () => {
    // 2048 = 2¹¹: 32 and 64 give 32 + 64 both. 151936 = 2⁷ · 1187. 50257 = 29 · 1733. 7 is prime.
    expect([1, 16, 2048, 151936, 50257, 7].map(blockWidth)).toEqual([1, 4, 32, 128, 29, 1]);
  });
});

describe('fingerprint', () => {
  it('sees one changed number, two changed signs and exchanged numbers', () => {
    const of = (...numbers: number[]): string => fingerprint([Float32Array.from(numbers)]);
    const wanted = of(1, 2, 3, 4, 5);
    expect(of(1, 2, 3, 4, 5)).toBe(wanted);
    const changed = [of(1, 2, 3, 4, 6), of(-1, 2, 3, 4, -5), of(5, 2, 3, 4, 1), of(2, 1, 3, 4, 5)];
    expect(new Set([wanted, ...changed]).size).toBe(5);
  });
});
