/** The engine over ONNX Runtime's C API: memory is bound, never copied. */
import { readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { EngineError } from '../../core/errors.ts';
import type { HostArray } from '../../core/host-tensor.ts';
import { optimize } from '../../graph/optimize.ts';
import type { Program } from '../../graph/program.ts';
import { encodeOnnx } from '../../onnx/model.ts';
import { lowerProgram } from '../../onnx/program-to-onnx.ts';
import { type ProgramSpecs, programSpecs, requireAlive, resolveBindings } from '../bindings.ts';
import type {
  Arrays,
  Binding,
  CompileOptions,
  Engine,
  EngineOptions,
  Executable,
  OpTime,
} from '../engine.ts';
import { type Handle, loadOrt, type OrtLibrary, type RunArguments } from './ffi.ts';

/** Initializers above this size stay in their own memory instead of being copied into the model's bytes. */
const inlineBytes = 1 << 16;

/**
 * Loads ONNX Runtime and returns an engine on it.
 *
 * @throws EngineError when the library is missing or does not load
 */
export function createOrtEngine(options: EngineOptions = {}): Engine {
  const library = loadOrt();
  const threads = options.threads ?? availableParallelism();
  const alive = new Set<Executable>();
  let compiled = 0;
  return {
    name: 'ort',
    async compile(program, compileOptions = {}) {
      const executable = compileProgram(library, program, compileOptions, {
        threads,
        ...(options.profile === true
          ? { profilePrefix: join(tmpdir(), `heed-profile-${process.pid}-${compiled++}`) }
          : {}),
        onDispose: () => alive.delete(executable),
      });
      alive.add(executable);
      return executable;
    },
    dispose() {
      for (const executable of alive) executable.dispose();
    },
  };
}

interface CompileContext {
  readonly threads: number;
  readonly profilePrefix?: string;
  readonly onDispose: () => void;
}

function compileProgram(
  library: OrtLibrary,
  program: Program,
  { constants = {}, name = 'program' }: CompileOptions,
  context: CompileContext,
): Executable {
  const where = `ort(${name})`;
  const specs = programSpecs(where, program, constants);
  const model = lowerProgram(optimize(program), { name, constants });
  const large = model.initializers.flatMap(({ data, ...type }) =>
    data !== undefined && data.byteLength > inlineBytes ? [{ ...type, data }] : [],
  );
  const outside = new Set(large.map((initializer) => initializer.name));
  // Large constants become initializers over their own memory: no copy in the protobuf, no 2 GiB limit.
  const initializers = large.map(({ name: key, data, dtype, shape }) => ({
    name: key,
    value: library.createTensor(data, dtype, shape),
  }));
  let session: Handle;
  try {
    const bytes = encodeOnnx({
      ...model,
      initializers: model.initializers.map(({ data, ...type }) =>
        data === undefined || outside.has(type.name) ? type : { ...type, data },
      ),
    });
    session = library.createSession(bytes, {
      name: where,
      threads: context.threads,
      initializers,
      ...(context.profilePrefix === undefined ? {} : { profilePrefix: context.profilePrefix }),
    });
  } catch (error) {
    for (const { value } of initializers) library.releaseTensor(value);
    throw error;
  }
  const outputNames = model.outputs.map((output) => output.name);
  const state = { disposed: false, running: 0, profiled: false };
  const bindings = new Set<Binding>();

  const bind = (inputs: Arrays, outputs: Arrays = {}): Binding => {
    requireAlive(where, state.disposed);
    const binding = bindArrays(library, where, specs, outputNames, session, { inputs, outputs }, state, () =>
      bindings.delete(binding),
    );
    bindings.add(binding);
    return binding;
  };

  return {
    name,
    inputs: specs.inputs,
    outputs: specs.outputs,
    bind,
    async run(inputs, outputs) {
      const binding = bind(inputs, outputs);
      try {
        await binding.run();
        return binding.outputs;
      } finally {
        binding.dispose();
      }
    },
    profile(): readonly OpTime[] {
      requireAlive(where, state.disposed);
      if (context.profilePrefix === undefined || state.profiled) {
        throw new EngineError({
          where,
          expected: 'an executable that is being profiled',
          received: state.profiled ? 'one whose profile was taken' : 'profiling switched off',
          fix: 'Create the engine with profile: true and take the profile once',
        });
      }
      state.profiled = true;
      const path = library.endProfiling(session);
      const times = summarizeProfile(JSON.parse(readFileSync(path, 'utf8')) as ProfileEvent[]);
      rmSync(path, { force: true });
      return times;
    },
    dispose() {
      if (state.disposed) return;
      if (state.running > 0) {
        throw new EngineError({
          where,
          expected: 'no run in progress',
          received: `${state.running}`,
          fix: 'Await the runs before dispose()',
        });
      }
      for (const binding of bindings) binding.dispose();
      state.disposed = true;
      if (context.profilePrefix !== undefined && !state.profiled)
        rmSync(library.endProfiling(session), { force: true });
      library.releaseSession(session);
      for (const { value } of initializers) library.releaseTensor(value);
      large.length = 0;
      context.onDispose();
    },
  };
}

function bindArrays(
  library: OrtLibrary,
  where: string,
  specs: ProgramSpecs,
  outputNames: readonly string[],
  session: Handle,
  given: { readonly inputs: Arrays; readonly outputs: Arrays },
  state: { readonly disposed: boolean; running: number },
  onDispose: () => void,
): Binding {
  const results = resolveBindings(where, specs, given, false);
  const held: Handle[] = [];
  const tensor = (data: HostArray, spec: ProgramSpecs['inputs'][number]): bigint => {
    const handle = library.createTensor(data, spec.dtype, spec.shape);
    held.push(handle);
    return handle;
  };
  const inputNames = library.nameTable(specs.inputs.map((spec) => spec.name));
  const outputTable = library.nameTable(outputNames);
  const run: RunArguments = {
    session,
    inputNames: inputNames.pointers,
    inputs: BigUint64Array.from(specs.inputs, (spec) => tensor(given.inputs[spec.name]!, spec)),
    outputNames: outputTable.pointers,
    outputs: BigUint64Array.from(specs.outputs, (spec) => tensor(results[spec.name]!.data, spec)),
    keep: [inputNames.keep, outputTable.keep, given.inputs, results],
  };
  let disposed = false;
  let busy = false;
  const begin = (): void => {
    requireAlive(where, disposed || state.disposed);
    if (busy) {
      throw new EngineError({
        where,
        expected: 'one run at a time per binding',
        received: 'a second one',
        fix: 'Await the first, or bind the arrays again',
      });
    }
  };
  return {
    outputs: results,
    async run() {
      begin();
      busy = true;
      state.running++;
      try {
        await library.run(where, run);
      } finally {
        busy = false;
        state.running--;
      }
    },
    runSync() {
      begin();
      library.runSync(where, run);
    },
    dispose() {
      if (disposed) return;
      disposed = true;
      for (const handle of held) library.releaseTensor(handle);
      onDispose();
    },
  };
}

interface ProfileEvent {
  readonly cat?: string;
  readonly name?: string;
  readonly dur?: number;
  readonly args?: { readonly op_name?: string };
}

/** Sums the kernel events of ONNX Runtime's trace by operator, longest first. */
function summarizeProfile(events: readonly ProfileEvent[]): OpTime[] {
  const totals = new Map<string, { calls: number; microseconds: number }>();
  for (const { cat, name, dur, args } of events) {
    if (cat !== 'Node' || args?.op_name === undefined || !name?.endsWith('_kernel_time')) continue;
    const total = totals.get(args.op_name) ?? { calls: 0, microseconds: 0 };
    total.calls++;
    total.microseconds += dur ?? 0;
    totals.set(args.op_name, total);
  }
  return [...totals].map(([op, total]) => ({ op, ...total })).sort((a, b) => b.microseconds - a.microseconds);
}
