import { describe, expect, it } from 'vitest';
import { enginesAgree, expectClose } from '../../test/support/engines-agree.ts';
import { checkGradient, gradientProgram, points } from '../../test/support/gradient-check.ts';
import { i64, placeholder, type Sample, toArray } from '../../test/support/samples.ts';
import { createInterpreter } from '../engine/interpreter.ts';
import { checkpoint, gradients } from './gradient.ts';
import { div, mul, tanh } from './ops/elementwise.ts';
import { pick } from './ops/indexing.ts';
import { matmul } from './ops/matmul.ts';
import { argmax, logSoftmax, mean, sum, topK } from './ops/reduce.ts';
import { optimize } from './optimize.ts';
import { printProgram, trace } from './program.ts';
import { softmaxEntropy } from './stable.ts';
import type { Tensor } from './tensor.ts';
import { defaultChunk, type TokenLogProbsOptions, tokenLogProbs } from './token-log-probs.ts';

const N = 7;
const D = 3;
const V = 5;
const hidden = points([N, D], 1, -3, 3);
const head = points([V, D], 2);
const labels = i64([0, 4, 2, 2, 1, 3, 4]);
const inputs: readonly Sample[] = [hidden, head, labels];
const bound = Object.fromEntries(inputs.map((x, index) => [`x${index}`, toArray(x)]));

const traced =
  (options: TokenLogProbsOptions) =>
  (h: Tensor, w: Tensor, ids: Tensor): readonly Tensor[] => {
    const { logProbs, entropy, greedy, labelLogits, meanLogits, top } = tokenLogProbs(h, w, ids, options);
    return [
      ...[logProbs, entropy, greedy, labelLogits],
      ...(meanLogits === undefined ? [] : [meanLogits]),
      ...(top === undefined ? [] : [top.logProbs, top.ids]),
    ];
  };

/** The same by the [N, V] matrix. Logits and top log-probs count for nothing in the gradient, as promised. */
const plain =
  ({ temperature = 1, topK: k, cap, meanLogits }: TokenLogProbsOptions) =>
  (h: Tensor, w: Tensor, ids: Tensor): readonly Tensor[] => {
    const products = matmul(h, w, { transposeB: true, alpha: cap === undefined ? 1 / temperature : 1 });
    const logits = cap === undefined ? products : mul(tanh(div(products, cap)), cap / temperature);
    const logProbs = logSoftmax(logits);
    const best = k === undefined ? undefined : topK(logProbs, k);
    return [
      pick(logProbs, ids),
      softmaxEntropy(logits),
      argmax(logits),
      pick(logits, ids),
      ...(meanLogits ? [mean(logits, { axes: 1 })] : []),
      ...(best ? [best.values, best.indices] : []),
    ];
  };

/** Outputs, and gradients of Σ w·logProbs + Σ v·entropy. */
async function results(f: (h: Tensor, w: Tensor, ids: Tensor) => readonly Tensor[]) {
  const program = gradientProgram((h, w, ids) => f(h!, w!, ids!).slice(0, 2), inputs);
  const values = trace(Object.fromEntries(inputs.map((x, i) => [`x${i}`, x])), (x) =>
    Object.fromEntries(f(x.x0!, x.x1!, x.x2!).map((y, i) => [`y${i}`, y])),
  );
  const engine = createInterpreter();
  return {
    ...(await (await engine.compile(values)).run(bound)),
    ...(await (await engine.compile(program)).run(bound)),
  };
}

const variants: readonly TokenLogProbsOptions[] = [
  {},
  ...[1, 2, 3, 7, 100].flatMap((chunk) => [true, false].map((recompute) => ({ chunk, recompute }))),
  { chunk: 3, temperature: 0.7 },
  { chunk: 3, temperature: 2.5, recompute: false },
  { chunk: 3, cap: 2 },
  { chunk: 3, cap: 8, recompute: false, meanLogits: true },
  // Caps and temperatures are powers of 2: numbers in a graph are float32, and 1/cap must be one.
  { cap: 4, temperature: 0.5, topK: 2, meanLogits: true },
  { chunk: 2, topK: 1 },
  { chunk: 3, topK: 3, temperature: 0.5 },
  { topK: V },
];

describe.each(variants.map((options) => [JSON.stringify(options), options] as const))(
  'tokenLogProbs %s',
  (_text, options) => {
    it('equals logSoftmax and pick over the whole matrix, gradients of hidden and head included', async () => {
      const [given, wanted] = [await results(traced(options)), await results(plain(options))];
      expect(Object.keys(given)).toEqual(Object.keys(wanted));
      for (const [name, { data, shape }] of Object.entries(wanted))
        expectClose(name, given[name]!.data, data, shape, 1e-12);
    });
    it('is the same in ONNX Runtime', async () => {
      const program = gradientProgram((h, w, ids) => traced(options)(h!, w!, ids!).slice(0, 2), inputs);
      await enginesAgree(program, bound, { tolerance: 5e-6 });
      const values = trace(Object.fromEntries(inputs.map((x, i) => [`x${i}`, x])), (x) =>
        Object.fromEntries(traced(options)(x.x0!, x.x1!, x.x2!).map((y, i) => [`y${i}`, y])),
      );
      await enginesAgree(values, bound, { tolerance: 5e-6 });
    });
  },
);

describe('tokenLogProbs', () => {
  const first = (options: TokenLogProbsOptions) => (h: Tensor, w: Tensor, ids: Tensor) =>
    traced(options)(h, w, ids).slice(0, 2);

  it('has the gradients of central differences, each output alone and both, and its own gradient', async () => {
    for (const options of [{ chunk: 3 }, { chunk: 3, recompute: false }]) {
      const f = first(options);
      await checkGradient((h, w, ids) => f(h!, w!, ids!), inputs);
      await checkGradient((h, w, ids) => f(h!, w!, ids!)[0]!, inputs);
      await checkGradient((h, w, ids) => f(h!, w!, ids!)[1]!, inputs);
      await checkGradient(
        (h, w, ids) => {
          const [logProbs, entropy] = f(h!, w!, ids!);
          return gradients(sum(mul(logProbs!, entropy!)), [h!, w!]);
        },
        inputs,
        { tolerance: 1e-5 },
      );
    }
  });

  it('keeps certain and hopeless labels finite: logits of ±10⁴', async () => {
    const extreme: readonly Sample[] = [
      { dtype: 'float32', shape: [3, 1], data: [1e4, -1e4, 0] },
      { dtype: 'float32', shape: [3, 1], data: [1, 0, -1] },
      i64([0, 0, 2]),
    ];
    const program = gradientProgram((h, w, ids) => first({ chunk: 2 })(h!, w!, ids!), extreme);
    const outputs = await enginesAgree(
      program,
      Object.fromEntries(extreme.map((x, i) => [`x${i}`, toArray(x)])),
    );
    expect(Array.from(outputs.y0 as Float32Array)).toEqual([0, -2e4, expect.closeTo(-Math.log(3), 6)]);
    expect(Array.from(outputs.y1 as Float32Array)).toEqual([0, 0, expect.closeTo(Math.log(3), 6)]);
  });

  it('is right inside checkpoint, whose recomputation replays it', async () => {
    const inside = (h: Tensor, w: Tensor, ids: Tensor): readonly Tensor[] =>
      checkpoint((x) => first({ chunk: 3 })(x!, w, ids))(h);
    const [given, wanted] = [
      await results(inside),
      await results((h, w, ids) => first({ chunk: 3 })(h, w, ids)),
    ];
    for (const name of ['y0', 'y1', 'g0', 'g1'])
      expectClose(name, given[name]!.data, wanted[name]!.data, wanted[name]!.shape, 1e-12);
  });

  it('does no work for what is not asked for', () => {
    const types = Object.fromEntries(inputs.map((x, i) => [`x${i}`, x]));
    const text = (build: (h: Tensor, w: Tensor, ids: Tensor) => Record<string, Tensor>) =>
      printProgram(optimize(trace(types, (x) => build(x.x0!, x.x1!, x.x2!))));
    const count = (program: string, shape: string) => program.split(`: float32${shape}`).length - 1;
    const loss = (h: Tensor, w: Tensor, ids: Tensor) => sum(tokenLogProbs(h, w, ids, { chunk: 3 }).logProbs);
    // No entropy: no product of probabilities and logits per token.
    expect(text((h, w, ids) => ({ y: tokenLogProbs(h, w, ids, { chunk: 3 }).logProbs }))).not.toContain(
      '[3, 1, 1]',
    );
    expect(text((h, w, ids) => ({ y: tokenLogProbs(h, w, ids, { chunk: 3 }).entropy }))).toContain(
      '[3, 1, 1]',
    );
    // A frozen head: no product of its shape, although later chunks wait for earlier ones.
    expect(
      count(
        text((h, w, ids) => ({ g: gradients(loss(h, w, ids), [w])[0]! })),
        '[5, 3]',
      ),
    ).toBeGreaterThan(3);
    expect(
      count(
        text((h, w, ids) => ({ g: gradients(loss(h, w, ids), [h])[0]! })),
        '[5, 3]',
      ),
    ).toBe(1);
  });

  it('chooses chunks of 64 MiB of logits, and at least 16 tokens', () => {
    expect(defaultChunk(32_768)).toBe(512);
    expect(defaultChunk(151_936)).toBe(110);
    expect(defaultChunk(10_000_000)).toBe(16);
  });

  it.each([
    [{ chunk: 0 }, /tokenLogProbs\(chunk\): expected an integer of at least 1, received 0/],
    [{ chunk: 1.5 }, /tokenLogProbs\(chunk\): expected an integer of at least 1, received 1\.5/],
    [{ temperature: 0 }, /tokenLogProbs\(temperature\): expected a number above 0, received 0/],
    [{ temperature: Number.NaN }, /tokenLogProbs\(temperature\): expected a number above 0, received NaN/],
    [{ topK: 6 }, /topK: expected 1 ≤ k ≤ 5.*, received 6/],
  ] as const)('rejects %j', (options, message) => {
    expect(() =>
      tokenLogProbs(placeholder([N, D]), placeholder([V, D]), placeholder([N], 'int64'), options),
    ).toThrow(message);
  });

  it('rejects shapes that disagree', () => {
    const call = (h: number[], w: number[], ids: number[]) => () =>
      tokenLogProbs(placeholder(h), placeholder(w), placeholder(ids, 'int64'));
    expect(call([4, 3], [5, 2], [4])).toThrow(
      /tokenLogProbs\(head\): expected shape \[V=5, D=3\], received \[5, 2\]/,
    );
    expect(call([4, 3], [5, 3], [3])).toThrow(
      /tokenLogProbs\(labels\): expected shape \[N=4\], received \[3\]/,
    );
    expect(call([0, 3], [5, 3], [0])).toThrow(
      /tokenLogProbs\(hidden\): expected at least one token, received \[0, 3\]/,
    );
  });
});
