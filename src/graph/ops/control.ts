/** Operations that carry values through unchanged but change what is differentiated, or when it is computed. */
import { sizeOf } from '../../core/shapes.ts';
import { applyOne, type Op, type Tensor } from '../tensor.ts';

/** Its value is a constant to differentiation. */
export const stopGradientOp: Op<Record<string, never>> = {
  name: 'stopGradient',
  infer: ([x]) => [x!],
  evaluate: ([x]) => [x!],
  lower: (_lowering, [x]) => [x!],
};
export const stopGradient = (x: Tensor): Tensor => applyOne(stopGradientOp, [x], {});

/**
 * `x`, but not computed before `dependencies` are: the barrier that keeps recomputation late and chunks apart.
 * `optimize` drops dependencies that nothing else needs, so that waiting never causes work.
 */
export const afterOp: Op<Record<string, never>> = {
  name: 'after',
  infer: ([x]) => [x!],
  evaluate: ([x]) => [x!],
  gradient: ({ inputs, cotangents: [g] }) => inputs.map((_, index) => (index === 0 ? g : undefined)),
  lower(lowering, [x, ...dependencies], { inputs: [target, ...waited] }) {
    // One element of each dependency compared with itself, as a scalar; one without elements has nothing to wait for.
    const conditions = dependencies.flatMap((name, index) => {
      if (sizeOf(waited[index]!.shape) === 0) return [];
      let scalar = name;
      if (waited[index]!.rank > 0) {
        const [flat] = lowering.node('Reshape', [name, lowering.ints([-1])]);
        const [first] = lowering.node('Slice', [flat!, lowering.ints([0]), lowering.ints([1])]);
        scalar = lowering.node('Reshape', [first!, lowering.ints([])])[0]!;
      }
      return lowering.node('Equal', [scalar, scalar]);
    });
    if (conditions.length === 0) return [x!];
    const ready = conditions.reduce((all, next) => lowering.node('And', [all, next])[0]!);
    if (target!.dtype !== 'bool') return lowering.node('Where', [ready, x!, x!]); // x whatever they are, NaN included
    const [waiting] = lowering.node('Not', [ready]);
    return lowering.node('Or', [x!, lowering.node('And', [ready, waiting!])[0]!]);
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
