/** Two engines, one program: the float64 interpreter is the reference, ONNX Runtime has to come close in float32. */
import { expect } from 'vitest';
import type { HostArray } from '../../src/core/host-tensor.ts';
import { formatShape, type Shape } from '../../src/core/shapes.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { createInterpreter } from '../../src/engine/interpreter.ts';
import { createOrtEngine } from '../../src/engine/ort/ort-engine.ts';
import type { Program } from '../../src/graph/program.ts';

export interface AgreeOptions {
  /** Largest |difference| ÷ (largest finite |reference| of that output). */
  readonly tolerance?: number;
  /** The engine compared with the interpreter; ONNX Runtime on one thread when left out. */
  readonly engine?: Engine;
}

let ort: Engine | undefined;
/** One ONNX Runtime engine per test file, on one thread. */
export function sharedOrt(): Engine {
  ort ??= createOrtEngine({ threads: 1 });
  return ort;
}

/**
 * Runs a program on the interpreter and on ONNX Runtime, and compares every output.
 * The interpreter gets the same float32 numbers, so that only arithmetic differs. Elements that are not finite must be equal.
 *
 * @returns the outputs of ONNX Runtime by name
 */
export async function enginesAgree(
  program: Program,
  inputs: Readonly<Record<string, HostArray>>,
  { tolerance = 2e-6, engine = sharedOrt() }: AgreeOptions = {},
): Promise<Readonly<Record<string, HostArray>>> {
  const reference = await (await createInterpreter().compile(program)).run(inputs);
  const executable = await engine.compile(program);
  try {
    const results = await executable.run(inputs);
    for (const [name, { data, shape }] of Object.entries(reference))
      expectClose(name, results[name]!.data, data, shape, tolerance);
    return Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, data]));
  } finally {
    executable.dispose();
  }
}

/** Fails with the worst element and where it is when |given − wanted| exceeds `tolerance` × the largest finite |wanted|. */
export function expectClose(
  name: string,
  given: ArrayLike<number | bigint>,
  wanted: ArrayLike<number | bigint>,
  shape: Shape,
  tolerance: number,
): void {
  expect(given.length, `${name}: number of elements`).toBe(wanted.length);
  let scale = 0;
  for (let i = 0; i < wanted.length; i++) {
    const size = Math.abs(Number(wanted[i]));
    if (Number.isFinite(size)) scale = Math.max(scale, size);
  }
  let worst = { error: 0, at: 0 };
  for (let i = 0; i < wanted.length; i++) {
    const [x, y] = [Number(given[i]), Number(wanted[i])];
    if (Object.is(x, y) || x === y) continue;
    const error = Number.isFinite(x) && Number.isFinite(y) ? Math.abs(x - y) / (scale || 1) : Infinity;
    if (error > worst.error) worst = { error, at: i };
  }
  expect(
    worst.error,
    `${name}${formatShape(shape)}: worst element ${formatShape(indexOf(worst.at, shape))}: ` +
      `${given[worst.at]}, expected ${wanted[worst.at]} (largest magnitude ${scale})`,
  ).toBeLessThanOrEqual(tolerance);
}

function indexOf(flat: number, shape: Shape): number[] {
  const index: number[] = [];
  for (let axis = shape.length - 1, rest = flat; axis >= 0; axis--) {
    index.unshift(rest % shape[axis]!);
    rest = Math.floor(rest / shape[axis]!);
  }
  return index;
}
