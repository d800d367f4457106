/** The engine over ONNX Runtime's C API: memory is bound, never copied. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { EngineError } from '../../core/errors.ts';
import { optimize } from '../../graph/optimize.ts';
import type { Program } from '../../graph/program.ts';
import { encodeOnnx } from '../../onnx/model.ts';
import { lowerProgram } from '../../onnx/program-to-onnx.ts';
import { requireAlive, requireIdle, programSpecs, resolveBindings, runOnce } from '../bindings.ts';
import type {
  Arrays,
  Binding,
  CompileOptions,
  Engine,
  EngineOptions,
  Executable,
  OpTime,
} from '../engine.ts';
import { type BoundTensor, loadLibrary, type OptimizationLevel, type OrtLibrary } from './ffi.ts';
import { findLibrary } from './library.ts';
import { summarizeProfile } from './profile.ts';

export interface OrtEngineOptions extends EngineOptions {
  /** Path of a libonnxruntime to load instead of the one in the package onnxruntime-node. */
  readonly library?: string;
  /** How far ONNX Runtime rewrites the graph; default `all`. */
  readonly optimization?: OptimizationLevel;
  /** Session configuration entries of ONNX Runtime, over heed's own. */
  readonly config?: Readonly<Record<string, string>>;
}

/** Constants above this size stay out of the model's bytes: no copy through protobuf, no 2 GiB limit. */
const inlineBytes = 1024;

const defaultConfig = {};

/**
 * Loads ONNX Runtime and returns an engine on it.
 *
 * @throws EngineError when the library is missing or does not load.
 */
export function createOrtEngine(options: OrtEngineOptions = {}): Engine {
  const settings: Settings = {
    library: loadLibrary(options.library ?? findLibrary()),
    threads: options.threads ?? availableParallelism(),
    profile: options.profile ?? false,
    optimization: options.optimization ?? 'all',
    config: { ...defaultConfig, ...options.config },
  };
  const alive = new Set<Executable>();
  let disposed = false;
  return {
    name: 'ort',
    async compile(program, compileOptions = {}) {
      requireAlive('ort', disposed);
      const executable = await compileProgram(settings, program, compileOptions, () => alive.delete(executable));
      alive.add(executable);
      if (disposed) executable.dispose();
      requireAlive('ort', disposed);
      return executable;
    },
    dispose() {
      disposed = true;
      for (const executable of alive) executable.dispose();
    },
  };
}

interface Settings {
  readonly library: OrtLibrary;
  readonly threads: number;
  readonly profile: boolean;
  readonly optimization: OptimizationLevel;
  readonly config: Readonly<Record<string, string>>;
}

async function compileProgram(
  settings: Settings,
  program: Program,
  { constants = {}, name = 'program' }: CompileOptions,
  onDispose: () => void,
): Promise<Executable> {
  const where = `ort(${name})`;
  const specs = programSpecs(where, program, constants);
  const model = lowerProgram(optimize(program), { name, constants });
  const external = model.initializers.filter(isLarge);
  const bytes = encodeOnnx({
    ...model,
    initializers: model.initializers.map((initializer) => {
      const { data: _data, ...type } = initializer;
      return isLarge(initializer) ? type : initializer;
    }),
  });
  const profileFolder = settings.profile ? mkdtempSync(join(tmpdir(), 'heed-profile-')) : undefined;
  const removeProfile = (): void => {
    if (profileFolder !== undefined) rmSync(profileFolder, { recursive: true, force: true });
  };
  const session = await settings.library
    .createSession(bytes, {
      ...settings,
      name: where,
      external,
      ...(profileFolder === undefined ? {} : { profilePrefix: join(profileFolder, 'profile') }),
    })
    .catch((error: unknown) => {
      removeProfile();
      throw error;
    });

  const bindings = new Set<Binding>();
  let disposed = false;
  let times: readonly OpTime[] | undefined;

  const bind = (inputs: Arrays, outputs: Arrays = {}): Binding => {
    requireAlive(where, disposed);
    const results = resolveBindings(where, specs, { inputs, outputs }, false);
    const native = session.bind(
      specs.inputs.map((spec) => ({ ...spec, data: inputs[spec.name]! })),
      model.outputs.map((output, index) => ({ ...output, data: results[specs.outputs[index]!.name]!.data })),
    );
    let released = false;
    let busy = false;
    const binding: Binding = {
      outputs: results,
      async run() {
        requireAlive(where, released);
        requireIdle(where, busy);
        busy = true;
        try {
          await native.run();
        } finally {
          busy = false;
        }
      },
      runSync() {
        requireAlive(where, released);
        requireIdle(where, busy);
        native.runSync();
      },
      dispose() {
        released = true;
        native.dispose();
        bindings.delete(binding);
      },
    };
    bindings.add(binding);
    return binding;
  };

  return {
    name,
    inputs: specs.inputs,
    outputs: specs.outputs,
    bind,
    run: (inputs, outputs) => runOnce(bind, inputs, outputs),
    profile() {
      requireAlive(where, disposed);
      if (!settings.profile) throw notProfiled(where);
      if (times === undefined) {
        times = summarizeProfile(readFileSync(session.endProfiling(), 'utf8'));
        removeProfile();
      }
      return times;
    },
    dispose() {
      if (disposed) return;
      disposed = true;
      for (const binding of bindings) binding.dispose();
      session.dispose();
      removeProfile();
      onDispose();
    },
  };
}

function isLarge(initializer: { readonly data?: BoundTensor['data'] }): initializer is BoundTensor {
  return initializer.data !== undefined && initializer.data.byteLength > inlineBytes;
}

function notProfiled(where: string): EngineError {
  return new EngineError({
    where,
    expected: 'an engine created with profile: true',
    received: 'profile: false',
    fix: 'Create the engine with profile: true',
  });
}
