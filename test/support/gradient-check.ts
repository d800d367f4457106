/** Central differences against the traced gradient, in float64 on the interpreter. */
import { expect } from 'vitest';
import { createInterpreter } from '../../src/engine/interpreter.ts';
import { gradients } from '../../src/graph/gradient.ts';
import { constant, constantLike } from '../../src/graph/ops/common.ts';
import { add, mul } from '../../src/graph/ops/elementwise.ts';
import { sum } from '../../src/graph/ops/reduce.ts';
import { type Program, trace } from '../../src/graph/program.ts';
import type { Tensor } from '../../src/graph/tensor.ts';
import { points, type Sample, toArray } from './samples.ts';

export { points } from './samples.ts';

/** float32 unless `dtype` says otherwise; other dtypes are held fixed. */
export type Point = Omit<Sample, 'dtype'> & Partial<Pick<Sample, 'dtype'>>;

type Function = (...inputs: Tensor[]) => Tensor | readonly Tensor[];

/** Σ w·f(x) over all float32 outputs, with fixed uneven weights w in [0.5, 1.5): no two elements can stand in for each other. All 1 when not `weighted`. */
export function weightedSum(outputs: Tensor | readonly Tensor[], weighted = true): Tensor {
  const list = ('dtype' in outputs ? [outputs] : outputs).filter((output) => output.dtype === 'float32');
  const parts = list.map((output, index) => {
    if (!weighted) return sum(output);
    const { shape, data } = points(output.shape, 7 + index, 0.5, 1.5);
    return sum(mul(output, constant({ dtype: 'float32', shape, data: Float32Array.from(data) })));
  });
  return parts.length === 0 ? constantLike({ dtype: 'float32', shape: [] }, 0) : parts.reduce(add);
}

/** A program with inputs x0, x1, …, outputs y0, y1, … of `f`, `loss` = weightedSum, and its gradients g0, g1, … by the float32 inputs. */
export function gradientProgram(f: Function, inputs: readonly Point[]): Program {
  const types = Object.fromEntries(
    inputs.map(({ shape, dtype = 'float32' }, index) => [`x${index}`, { dtype, shape }]),
  );
  return trace(types, (named) => {
    const xs = inputs.map((_, index) => named[`x${index}`]!);
    const outputs = f(...xs);
    const list = 'dtype' in outputs ? [outputs] : outputs;
    const loss = weightedSum(outputs);
    const variables = xs.filter((x) => x.dtype === 'float32');
    const slopes = new Map(gradients(loss, variables).map((g, index) => [variables[index]!, g]));
    return {
      ...Object.fromEntries(list.map((y, index) => [`y${index}`, y])),
      loss,
      ...Object.fromEntries(xs.flatMap((x, index) => (slopes.has(x) ? [[`g${index}`, slopes.get(x)!]] : []))),
    };
  });
}

/**
 * Checks dL/dx for L = weightedSum(f(x)) against (L(x + h) − L(x − h)) / 2h for every element of every float32 input,
 * with h = `step`. `tolerance` bounds |difference| / max(1, |gradient|).
 */
export async function checkGradient(
  f: Function,
  inputs: readonly Point[],
  { tolerance = 1e-6, step = 1e-5 }: { tolerance?: number; step?: number } = {},
): Promise<void> {
  const program = gradientProgram(f, inputs);
  const executable = await createInterpreter().compile(program);
  const arrays = Object.fromEntries(
    inputs.map(({ data, shape, dtype = 'float32' }, index) => [
      `x${index}`,
      dtype === 'float32' ? Float64Array.from(data) : toArray({ dtype, shape, data }),
    ]),
  );
  const binding = executable.bind(arrays);
  binding.runSync();
  const traced = inputs.map((_, index) => (binding.outputs[`g${index}`]?.data as Float64Array)?.slice());
  const loss = (): number => {
    binding.runSync();
    return (binding.outputs.loss!.data as Float64Array)[0]!;
  };
  let worst = { difference: -1, where: '' };
  inputs.forEach((_, index) => {
    const x = arrays[`x${index}`]!;
    if (!(x instanceof Float64Array)) return;
    for (let i = 0; i < x.length; i++) {
      const at = x[i]!;
      x[i] = at + step;
      const distance = x[i]! - (at - step);
      const above = loss();
      x[i] = at - step;
      const below = loss();
      x[i] = at;
      const numeric = (above - below) / distance;
      const given = traced[index]![i]!;
      // What the two losses lose to rounding before they are subtracted is not the gradient's fault.
      const rounding = (8 * Number.EPSILON * Math.max(Math.abs(above), Math.abs(below))) / distance;
      const error = Math.max(0, Math.abs(given - numeric) - rounding) / Math.max(1, Math.abs(numeric));
      const difference = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
      if (difference > worst.difference) {
        worst = {
          difference,
          where: `input ${index}, element ${i} (x = ${at}): traced ${given}, numeric ${numeric}`,
        };
      }
    }
  });
  expect(worst.difference, `gradient at ${worst.where}`).toBeLessThan(tolerance);
}
