import { describe, expect, it } from 'vitest';
import { createRng } from '../../core/rng.ts';
import { bySuccess, inTurn, promptIndices } from './prompt-source.ts';

describe('promptIndices', () => {
  const rng = createRng(1);
  it('goes through every prompt once before any comes again, whatever the batches', () => {
    const drawn = [0, 1, 2].flatMap((iteration) => promptIndices(rng, 6, 4, 4 * iteration, true));
    expect(drawn.slice(0, 6).toSorted()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(drawn.slice(6).toSorted()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(drawn.slice(0, 6)).not.toEqual(drawn.slice(6));
  });
  it('keeps the order of the file when not shuffled, and fills a batch larger than the data', () => {
    expect(promptIndices(rng, 3, 4, 4, false)).toEqual([1, 2, 0, 1]);
    expect(promptIndices(rng, 2, 5, 0, true)).toHaveLength(5);
  });
});

it('in turn, goes on from a stored place', () => {
  const [straight, first, second] = [0, 1, 2].map(() => inTurn(createRng(4), 5, true));
  const all = [3, 4, 2].map((count) => straight!.take(count));
  const begun = first!.take(3);
  second!.load(first!.state());
  expect([begun, second!.take(4), second!.take(2)]).toEqual(all);
  expect(() => second!.load({ numbers: {}, vectors: {} })).toThrow(/a stored place in the prompts/);
});

describe('by success', () => {
  const source = (prompts = 30) => bySuccess({ rng: createRng(2), prompts, success: 1 });

  it('comes to prefer prompts that sometimes succeed', () => {
    const curriculum = source();
    // The first ten always succeed, the last ten never, the others every second time.
    const counts = [0, 0, 0];
    for (let iteration = 0; iteration < 200; iteration++) {
      const taken = curriculum.take(4);
      expect(new Set(taken).size).toBe(4);
      for (const prompt of taken) {
        const kind = Math.floor(prompt / 10);
        curriculum.observe(
          prompt,
          [
            [1, 1],
            [1, 0],
            [0, 0],
          ][kind]!,
        );
        if (iteration >= 100) counts[kind]!++;
      }
    }
    // Weights come to about 0.01, 0.26 and 0.01: 93 of 100.
    expect(counts[1]! / 400).toBeGreaterThan(0.8);
    expect(Math.min(counts[0]!, counts[2]!)).toBeGreaterThan(0);
    expect(curriculum.metrics()['curriculum/learnable']).toBeCloseTo(1 / 3, 1);
  });

  it('moves the rate of a prompt by a share of what was observed, and by nothing where nothing was', () => {
    const curriculum = source(2);
    const rates = (): number[] => [...curriculum.state().vectors['rates']!];
    curriculum.observe(0, []);
    expect(rates()).toEqual([0.5, 0.5]);
    // A score of 1 is a success, of 0.9 not: 0.5 + 0.3 · (1/4 − 0.5).
    curriculum.observe(1, [1, 0.9, 0, -1]);
    expect(rates()[1]).toBeCloseTo(0.425, 6);
    expect(curriculum.metrics()['curriculum/success']).toBeCloseTo((0.5 + 0.425) / 2, 6);
    for (let at = 0; at < 9; at++) curriculum.observe(0, [2]);
    expect(curriculum.metrics()['curriculum/learnable']).toBe(0.5);
  });

  // Weights 0.01, 0.26 and 0.01: 26 of 28, and 1 of 28 for each of the others.
  it('draws by p(1 − p) and a floor', () => {
    const curriculum = bySuccess({ rng: createRng(6), prompts: 3, success: 1 });
    curriculum.load({ numbers: { taken: 0 }, vectors: { rates: Float32Array.of(0, 0.5, 1) } });
    const counts = [0, 0, 0];
    for (let draw = 0; draw < 4000; draw++) counts[curriculum.take(1)[0]!]!++;
    expect(counts.map((count) => Math.round((28 * count) / 4000))).toEqual([1, 26, 1]);
    expect(curriculum.take(3).toSorted()).toEqual([0, 1, 2]);
  });

  it('goes on from a stored state, and refuses that of other prompts', () => {
    const [straight, resumed] = [source(), source()];
    for (const prompt of straight.take(5)) straight.observe(prompt, [1, 0, 0]);
    resumed.load(straight.state());
    expect(resumed.take(6)).toEqual(straight.take(6));
    expect(() => source(9).load(straight.state())).toThrow(/success rates of 9 prompts, received 30/);
    expect(() => source(3).take(4)).toThrow(/at least 4 prompts/);
  });
});
