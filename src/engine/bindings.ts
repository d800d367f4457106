/** Entry checks that every engine makes before it runs. */
import { EngineError } from '../core/errors.ts';
import { allocate, dtypeOf, type HostArray, type HostTensor } from '../core/host-tensor.ts';
import { formatShape, sizeOf } from '../core/shapes.ts';
import { suggest } from '../core/suggest.ts';
import type { Program } from '../graph/program.ts';
import type { Arrays, Executable, TensorSpec } from './engine.ts';

export interface ProgramSpecs {
  /** Inputs that must be bound: those not frozen. */
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

/** Names and types of a program's inputs and outputs, checking the frozen ones. */
export function programSpecs(where: string, program: Program, constants: Arrays): ProgramSpecs {
  const specs = (named: Program['inputs']): TensorSpec[] =>
    named.map(({ name, tensor }) => ({ name, dtype: tensor.dtype, shape: tensor.shape }));
  const all = specs(program.inputs);
  for (const [name, data] of Object.entries(constants))
    checkArray(where, 'constant', findSpec(where, 'input', name, all), data, false);
  return {
    inputs: all.filter(({ name }) => !Object.hasOwn(constants, name)),
    outputs: specs(program.outputs),
  };
}

/**
 * Checks arrays against a program and allocates the outputs that were not given.
 *
 * @param float64 allow Float64Array for float32 tensors, and make fresh float32 outputs so (the interpreter)
 * @throws EngineError naming the array: unknown, missing, of another type or size
 */
export function resolveBindings(
  where: string,
  { inputs, outputs }: ProgramSpecs,
  given: { readonly inputs: Arrays; readonly outputs: Arrays },
  float64: boolean,
): Readonly<Record<string, HostTensor>> {
  for (const name of Object.keys(given.inputs)) findSpec(where, 'input', name, inputs);
  for (const name of Object.keys(given.outputs)) findSpec(where, 'output', name, outputs);
  for (const spec of inputs) {
    const data = given.inputs[spec.name];
    if (data === undefined) {
      throw new EngineError({
        where,
        expected: `an array for input "${spec.name}" (${spec.dtype}${formatShape(spec.shape)})`,
        received: 'none',
        fix: 'Bind every input of the program',
      });
    }
    checkArray(where, 'input', spec, data, float64);
  }
  return Object.fromEntries(
    outputs.map((spec) => {
      const fresh = float64 && spec.dtype === 'float32' ? 'float64' : spec.dtype;
      const data = given.outputs[spec.name] ?? allocate(fresh, sizeOf(spec.shape));
      checkArray(where, 'output', spec, data, float64);
      return [
        spec.name,
        { dtype: data instanceof Float64Array ? 'float64' : spec.dtype, shape: spec.shape, data },
      ];
    }),
  );
}

function findSpec(where: string, kind: string, name: string, specs: readonly TensorSpec[]): TensorSpec {
  const spec = specs.find((candidate) => candidate.name === name);
  if (spec !== undefined) return spec;
  const names = specs.map((candidate) => candidate.name);
  const near = suggest(name, names);
  const shown =
    names.length > 8 ? `one of ${names.length} names, ${names.slice(0, 8).join(', ')}, …` : names.join(', ');
  throw new EngineError({
    where,
    expected: `the name of an ${kind} (${shown})`,
    received: `"${name}"`,
    fix: near === undefined ? 'Check the spelling' : `Did you mean "${near}"?`,
  });
}

function checkArray(where: string, kind: string, spec: TensorSpec, data: HostArray, float64: boolean): void {
  const dtype = dtypeOf(data);
  const bytes = spec.dtype === 'uint8' && data instanceof Uint8Array;
  const accepted =
    dtype === spec.dtype || bytes || (float64 && dtype === 'float64' && spec.dtype === 'float32');
  if (!accepted) {
    throw new EngineError({
      where,
      expected: `${spec.dtype} for ${kind} "${spec.name}"`,
      received: dtype,
      fix: 'Bind an array of that type: engines do not convert',
    });
  }
  if (data.length !== sizeOf(spec.shape)) {
    throw new EngineError({
      where,
      expected: `${sizeOf(spec.shape)} elements for ${kind} "${spec.name}" of shape ${formatShape(spec.shape)}`,
      received: String(data.length),
      fix: 'Bind an array of exactly that size',
    });
  }
}

/** Throws the error for something that was disposed. */
export function requireAlive(where: string, disposed: boolean): void {
  if (disposed) {
    throw new EngineError({
      where,
      expected: 'an engine object in use',
      received: 'a disposed one',
      fix: 'Compile or bind again, and dispose only after the last run',
    });
  }
}

/** Throws the error for a second run of a binding before the first has ended. */
export function requireIdle(where: string, busy: boolean): void {
  if (busy) {
    throw new EngineError({
      where,
      expected: 'one run at a time per binding',
      received: 'a second one',
      fix: 'Await the first, or bind other arrays for it',
    });
  }
}

/** `Executable.run` of every engine: bind, run, dispose. */
export async function runOnce(
  bind: Executable['bind'],
  inputs: Arrays,
  outputs: Arrays | undefined,
): Promise<Readonly<Record<string, HostTensor>>> {
  const binding = bind(inputs, outputs);
  try {
    await binding.run();
    return binding.outputs;
  } finally {
    binding.dispose();
  }
}
