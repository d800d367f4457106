/** Central differences against the traced gradient, in float64 on the interpreter. */
import { expect } from 'vitest';
import { type Shape, sizeOf } from '../../src/core/shapes.ts';
import { createInterpreter } from '../../src/engine/interpreter.ts';
import { constant } from '../../src/graph/ops/common.ts';
import { mul } from '../../src/graph/ops/elementwise.ts';
import { sum } from '../../src/graph/ops/reduce.ts';
import { gradients } from '../../src/graph/gradient.ts';
import { trace } from '../../src/graph/program.ts';
import type { Tensor } from '../../src/graph/tensor.ts';

export interface Point {
  readonly shape: Shape;
  readonly data: readonly number[] | Float64Array;
}

/** Deterministic numbers in [low, high): a fixed linear congruence, enough for test points. */
export function points(shape: Shape, seed = 1, low = -2, high = 2): Point {
  let state = (seed * 2654435761 + 12345) % 4294967296;
  const data = Float64Array.from({ length: sizeOf(shape) }, () => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return low + ((high - low) * state) / 4294967296;
  });
  return { shape, data };
}

/**
 * Checks dL/dx for L = Σ w·f(x) with fixed uneven weights w, against (L(x+h) − L(x−h)) / 2h for every element of every
 * input. `tolerance` bounds |difference| / max(1, |gradient|).
 */
export async function checkGradient(
  f: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Point[],
  { tolerance = 1e-6, step = 1e-5 }: { tolerance?: number; step?: number } = {},
): Promise<void> {
  const types = Object.fromEntries(
    inputs.map(({ shape }, index) => [`x${index}`, { dtype: 'float32' as const, shape }]),
  );
  const program = trace(types, (named) => {
    const xs = inputs.map((_, index) => named[`x${index}`]!);
    const y = f(...xs);
    const weights = points(y.shape, 7, 0.5, 1.5);
    const loss = sum(mul(y, weighted(weights)));
    return { loss, ...Object.fromEntries(gradients(loss, xs).map((g, index) => [`g${index}`, g])) };
  });
  const executable = await createInterpreter().compile(program);
  const arrays = Object.fromEntries(inputs.map(({ data }, index) => [`x${index}`, Float64Array.from(data)]));
  const binding = executable.bind(arrays);
  binding.runSync();
  const traced = inputs.map((_, index) => (binding.outputs[`g${index}`]!.data as Float64Array).slice());
  const loss = (): number => {
    binding.runSync();
    return (binding.outputs['loss']!.data as Float64Array)[0]!;
  };
  let worst = { difference: -1, where: '' };
  inputs.forEach((_, index) => {
    const x = arrays[`x${index}`]!;
    for (let i = 0; i < x.length; i++) {
      const at = x[i]!;
      const h = step * Math.max(1, Math.abs(at));
      x[i] = at + h;
      const above = loss();
      x[i] = at - h;
      const below = loss();
      x[i] = at;
      const numeric = (above - below) / (2 * h);
      const given = traced[index]![i]!;
      const difference = Number.isNaN(given) ? Number.POSITIVE_INFINITY : Math.abs(given - numeric) / Math.max(1, Math.abs(numeric));
      if (difference > worst.difference) {
        worst = { difference, where: `input ${index}, element ${i} (x = ${at}): traced ${given}, numeric ${numeric}` };
      }
    }
  });
  expect(worst.difference, `gradient at ${worst.where}`).toBeLessThan(tolerance);
}

function weighted({ shape, data }: Point): Tensor {
  return constant({ dtype: 'float32', shape, data: Float32Array.from(data) });
}
