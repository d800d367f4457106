/** Small programs over named float32 inputs of one shape. */
import type { Engine } from '../../src/engine/engine.ts';
import { trace } from '../../src/graph/program.ts';
import type { Tensor, TensorType } from '../../src/graph/tensor.ts';

export function placeholders(inputs: object, shape: readonly number[]): Record<string, TensorType> {
  return Object.fromEntries(Object.keys(inputs).map((name) => [name, { dtype: 'float32' as const, shape }]));
}

export async function runProgram(
  engine: Engine,
  types: Record<string, TensorType>,
  inputs: Readonly<Record<string, readonly number[]>>,
  f: (inputs: Readonly<Record<string, Tensor>>) => Tensor,
): Promise<number[]> {
  const program = trace(types, (x) => ({ out: f(x) }));
  const executable = await engine.compile(program);
  const arrays = Object.fromEntries(
    Object.entries(inputs).map(([name, list]) => [name, Float32Array.from(list)]),
  );
  const { out } = await executable.run(arrays);
  executable.dispose();
  return Array.from(out!.data as Float32Array);
}
