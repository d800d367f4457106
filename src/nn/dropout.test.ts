import { afterAll, describe, expect, it } from 'vitest';
import { createRng } from '../core/rng.ts';
import type { Engine } from '../engine/engine.ts';
import { createInterpreter } from '../engine/interpreter.ts';
import { createOrtEngine } from '../engine/ort/ort-engine.ts';
import { trace } from '../graph/program.ts';
import { DROPOUT_PRIME, drawFeatureKeys, drawTokenKeys, dropout } from './dropout.ts';

describe('dropout', () => {
  const ort = createOrtEngine({ threads: 1 });
  afterAll(() => ort.dispose());

  async function mask(
    engine: Engine,
    { N, I, rate, seed = 1, step = 0 }: { N: number; I: number; rate: number; seed?: number; step?: number },
  ): Promise<number[]> {
    const program = trace(
      {
        x: { dtype: 'float32', shape: [1, N, I] },
        tokens: { dtype: 'int64', shape: [2, N] },
        features: { dtype: 'int64', shape: [I] },
      },
      ({ x, tokens, features }) => ({ y: dropout(x, { tokens, features }, rate) }),
    );
    const rng = createRng(seed);
    const executable = await engine.compile(program);
    const { y } = await executable.run({
      x: new Float32Array(N * I).fill(1),
      tokens: drawTokenKeys(N, rng.split('tokens'), step),
      features: drawFeatureKeys(I, rng.split('features')),
    });
    executable.dispose();
    return Array.from(y!.data as Float32Array);
  }

  it('is the worked example: z = (a·v + b) mod p, kept from rate·p on, over 1 − rate', async () => {
    // p/2 = 33 554 429.5, rounded up. (3·10 + 5) = 35 is below it; (3·20 000 000 + 5) = 60 000 005 is not;
    // 3·30 000 000 + 5 − p = 22 891 146 is below it again.
    const program = trace(
      {
        x: { dtype: 'float32', shape: [1, 3] },
        tokens: { dtype: 'int64', shape: [2, 1] },
        features: { dtype: 'int64', shape: [3] },
      },
      ({ x, tokens, features }) => ({ y: dropout(x, { tokens, features }, 0.5) }),
    );
    const { y } = await (await createInterpreter().compile(program)).run({
      x: Float64Array.of(1, 2, 3),
      tokens: BigInt64Array.of(3n, 5n),
      features: BigInt64Array.of(10n, 20_000_000n, 30_000_000n),
    });
    expect(Array.from(y!.data as Float64Array)).toEqual([0, 4, 0]);
  });

  it('gives the interpreter and ONNX Runtime the same mask', async () => {
    const shape = { N: 40, I: 30, rate: 0.3 };
    const reference = await mask(createInterpreter(), shape);
    expect((await mask(ort, shape)).map((y) => y > 0)).toEqual(reference.map((y) => y > 0));
  });

  it('drops the asked share, of each token and each feature, without pairs that go together', async () => {
    const [N, I, rate] = [400, 256, 0.1];
    const dropped = (await mask(ort, { N, I, rate })).map((y) => (y === 0 ? 1 : 0) - rate);
    const at = (t: number, i: number): number => dropped[t * I + i]!;
    const sum = (count: number, f: (n: number) => number): number => {
      let total = 0;
      for (let n = 0; n < count; n++) total += f(n);
      return total;
    };
    const deviation = Math.sqrt(rate * (1 - rate));
    // Five standard errors each.
    expect(Math.abs(sum(N * I, (n) => dropped[n]!))).toBeLessThan(5 * deviation * Math.sqrt(N * I));
    for (let i = 0; i < I; i++)
      expect(Math.abs(sum(N, (t) => at(t, i)))).toBeLessThan(5 * deviation * Math.sqrt(N));
    // Neighbouring features of a token and neighbouring tokens of a feature: the mean product of two independent
    // centred draws is 0 with deviation rate·(1 − rate)/√n.
    const neighbours = sum(N, (t) => sum(I - 1, (i) => at(t, i) * at(t, i + 1)));
    const following = sum(N - 1, (t) => sum(I, (i) => at(t, i) * at(t + 1, i)));
    expect(Math.abs(neighbours)).toBeLessThan(5 * deviation ** 2 * Math.sqrt(N * I));
    expect(Math.abs(following)).toBeLessThan(5 * deviation ** 2 * Math.sqrt(N * I));
    expect(Math.max(...(await mask(ort, { N, I, rate })))).toBeCloseTo(1 / (1 - rate), 6);
  });

  it('is a function of seed and step: the same again, another at the next step', async () => {
    const shape = { N: 16, I: 16, rate: 0.5 };
    const first = await mask(ort, shape);
    expect(await mask(ort, shape)).toEqual(first);
    for (const other of [{ step: 1 }, { seed: 2 }]) {
      const changed = (await mask(ort, { ...shape, ...other })).filter((y, n) => y !== first[n]).length;
      expect(changed).toBeGreaterThan(64);
      expect(changed).toBeLessThan(192);
    }
  });

  it('draws keys in their ranges, of tokens one by one', () => {
    const rng = createRng(3);
    const keys = drawTokenKeys(50, rng, 7, 1);
    expect([...keys].every((key) => key >= 0n && key < BigInt(DROPOUT_PRIME))).toBe(true);
    expect([...keys.subarray(0, 50)].every((key) => key > 0n)).toBe(true);
    expect(drawTokenKeys(20, rng, 7, 1).subarray(0, 20)).toEqual(keys.subarray(0, 20));
  });

  it('names keys of another shape', () => {
    expect(() =>
      trace(
        {
          x: { dtype: 'float32', shape: [2, 3] },
          tokens: { dtype: 'int64', shape: [2, 1] },
          features: { dtype: 'int64', shape: [3] },
        },
        ({ x, tokens, features }) => ({ y: dropout(x, { tokens, features }, 0.5) }),
      ),
    ).toThrow(/dropout: expected keys of 2 tokens and 3 features, received int64\[2, 1\]/);
  });
});
