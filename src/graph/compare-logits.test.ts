import { describe, expect, it } from 'vitest';
import { enginesAgree, expectClose } from '../../test/support/engines-agree.ts';
import { checkGradient, gradientProgram, points } from '../../test/support/gradient-check.ts';
import { placeholder, type Sample, toArray } from '../../test/support/samples.ts';
import { createInterpreter } from '../engine/interpreter.ts';
import { type CompareLogitsOptions, compareLogits } from './compare-logits.ts';
import { constant } from './ops/common.ts';
import { stopGradient } from './ops/control.ts';
import { div, mul, sub, tanh } from './ops/elementwise.ts';
import { matmul } from './ops/matmul.ts';
import { logSoftmax, softmax, sum } from './ops/reduce.ts';
import { optimize } from './optimize.ts';
import type { Tensor } from './tensor.ts';

const [N, D, E, V] = [7, 3, 2, 5];
const inputs: readonly Sample[] = [
  points([N, D], 1, -3, 3),
  points([V, D], 2),
  points([N, E], 3, -3, 3),
  points([V, E], 4),
];

/** KL(second ‖ first) as the loss, and the first's entropy as a figure. */
const comparison = {
  loss: (a: Tensor, b: Tensor): Tensor =>
    sum(mul(softmax(b), sub(logSoftmax(b), logSoftmax(a))), { axes: 1 }),
  figures: (a: Tensor) => ({ entropy: sum(mul(softmax(a), logSoftmax(a)), { axes: 1 }) }),
};

interface Options extends CompareLogitsOptions {
  readonly cap?: number;
}

const traced =
  ({ cap, ...options }: Options) =>
  (...[hidden, head, hidden2, head2]: readonly Tensor[]): readonly Tensor[] => {
    const { loss, figures } = compareLogits(
      { hidden: hidden!, head: head!, cap },
      { hidden: hidden2!, head: head2! },
      comparison,
      options,
    );
    return [loss, figures.entropy];
  };

/** The same by whole matrices. */
const plain =
  ({ cap, temperature = 1 }: Options) =>
  (...[hidden, head, hidden2, head2]: readonly Tensor[]): readonly Tensor[] => {
    const products = matmul(hidden!, head!, { transposeB: true });
    const first = div(cap === undefined ? products : mul(tanh(div(products, cap)), cap), temperature);
    const second = stopGradient(div(matmul(hidden2!, head2!, { transposeB: true }), temperature));
    return [comparison.loss(first, second), stopGradient(comparison.figures(first).entropy)];
  };

const bound = Object.fromEntries(inputs.map((x, index) => [`x${index}`, toArray(x)]));

// Caps and temperatures are powers of 2: numbers in a graph are float32.
const variants: readonly Options[] = [
  {},
  { chunk: 1 },
  { chunk: 3 },
  { chunk: 100 },
  { chunk: 2, temperature: 0.5, cap: 2 },
];

describe.each(variants.map((options) => [JSON.stringify(options), options] as const))(
  'compareLogits %s',
  (_text, options) => {
    it('equals the whole matrices, in numbers and in the gradients of every input', async () => {
      const results = async (f: (...xs: readonly Tensor[]) => readonly Tensor[]) =>
        (await createInterpreter().compile(gradientProgram(f, inputs))).run(bound);
      const [given, wanted] = [await results(traced(options)), await results(plain(options))];
      for (const [name, { data, shape }] of Object.entries(wanted))
        expectClose(name, given[name]!.data, data, shape, 1e-12);
      // The second model is a constant: no gradient reaches it.
      expect(Array.from(given.g2!.data, Number).every((g) => g === 0)).toBe(true);
      expect(Array.from(given.g1!.data, Number).some((g) => g !== 0)).toBe(true);
    });

    it('is the same in ONNX Runtime', () =>
      enginesAgree(optimize(gradientProgram(traced(options), inputs)), bound, { tolerance: 5e-6 }));
  },
);

it('has the gradient of central differences', async () => {
  const [hidden2, head2] = inputs
    .slice(2)
    .map(({ shape, data }) => ({ dtype: 'float32' as const, shape, data: Float32Array.from(data) }));
  await checkGradient(
    (hidden, head) => traced({ chunk: 3 })(hidden!, head!, constant(hidden2!), constant(head2!))[0]!,
    inputs.slice(0, 2),
  );
});

it('refuses other vocabularies, no tokens and a chunk of none', () => {
  const call =
    (rows: number, vocabulary: number, chunk = 4) =>
    () =>
      compareLogits(
        { hidden: placeholder([rows, D]), head: placeholder([V, D]) },
        { hidden: placeholder([rows, E]), head: placeholder([vocabulary, E]) },
        comparison,
        { chunk },
      );
  expect(call(N, V)).not.toThrow();
  expect(call(N, V + 1)).toThrow(/second.head/);
  expect(call(0, V)).toThrow(/at least one token/);
  expect(call(N, V, 0)).toThrow(/chunk.*at least 1/);
});
