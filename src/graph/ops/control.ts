/** Operations that carry values through unchanged but change what is differentiated, or when it is computed. */
import { applyOne, type Op, type Tensor } from '../tensor.ts';

/** Its value is a constant to differentiation. */
export const stopGradientOp: Op<Record<string, never>> = {
  name: 'stopGradient',
  infer: ([x]) => [x!],
  evaluate: ([x]) => [x!],
  lower: (_lowering, [x]) => [x!],
};
export const stopGradient = (x: Tensor): Tensor => applyOne(stopGradientOp, [x], {});

/** `x`, but not computed before `dependencies` are: the barrier that keeps recomputation late and chunks apart. */
export const afterOp: Op<Record<string, never>> = {
  name: 'after',
  infer: ([x]) => [x!],
  evaluate: ([x]) => [x!],
  gradient: ({ inputs, cotangents: [g] }) => inputs.map((_, index) => (index === 0 ? g : undefined)),
  lower(lowering, [x, ...dependencies], { inputs }) {
    // where(d == d, x, x) over one element of each dependency: x whatever d is, NaN included.
    let condition: string | undefined;
    for (const [index, name] of dependencies.entries()) {
      const rank = inputs[index + 1]!.rank;
      const [flat] = rank === 0 ? [name] : lowering.node('Reshape', [name, lowering.ints([-1])]);
      const [first] =
        rank === 0 ? [flat] : lowering.node('Slice', [flat!, lowering.ints([0]), lowering.ints([1])]);
      const [scalar] = lowering.node('Reshape', [first!, lowering.ints([1])]);
      const [same] = lowering.node('Equal', [scalar!, scalar!]);
      condition = condition === undefined ? same! : lowering.node('And', [condition, same!])[0]!;
    }
    return condition === undefined ? [x!] : lowering.node('Where', [condition, x!, x!]);
  },
};
export const after = (x: Tensor, dependencies: readonly Tensor[]): Tensor =>
  dependencies.length === 0 ? x : applyOne(afterOp, [x, ...dependencies], {});

export interface CustomAttributes {
  /** How many of the inputs are the outputs of the forward function; the others are what it is differentiated by. */
  readonly outputCount: number;
  readonly backward: (
    primals: readonly Tensor[],
    outputs: readonly Tensor[],
    cotangents: readonly (Tensor | undefined)[],
  ) => readonly (Tensor | undefined)[];
}

/** Outputs of a function with a gradient of its own. Inputs: its outputs, then its primals. */
export const customOp: Op<CustomAttributes> = {
  name: 'custom',
  infer: (inputs, { outputCount }) => inputs.slice(0, outputCount),
  evaluate: (inputs, { outputCount }) => inputs.slice(0, outputCount),
  gradient({ inputs, outputs, cotangents, attributes: { outputCount, backward } }) {
    const primals = inputs.slice(outputCount);
    return [...new Array<undefined>(outputCount), ...backward(primals, outputs, cotangents)];
  },
  lower: (_lowering, inputs, { attributes: { outputCount } }) => inputs.slice(0, outputCount),
};
