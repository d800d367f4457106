/** What every engine over ONNX Runtime sessions shares: lowering, entry checks, and who may free what when. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EngineError } from '../core/errors.ts';
import type { HostArray } from '../core/host-tensor.ts';
import { optimize } from '../graph/optimize.ts';
import type { Program } from '../graph/program.ts';
import type { OnnxModel } from '../onnx/model.ts';
import { lowerProgram } from '../onnx/program-to-onnx.ts';
import { programSpecs, requireAlive, requireIdle, resolveBindings, runOnce } from './bindings.ts';
import type { Arrays, Binding, CompileOptions, Engine, Executable, OpTime, TensorSpec } from './engine.ts';
import { summarizeProfile } from './profile.ts';

/** Memory of one tensor, under its name in the model. */
export interface BoundTensor extends TensorSpec {
  readonly data: HostArray;
}

/** A session's prepared call. Its owner makes one run at a time and disposes it after the last. */
export interface SessionBinding {
  run(): Promise<void>;
  runSync(): void;
  dispose(): void;
}

/** A model that ONNX Runtime has loaded. Its owner disposes it after its bindings. */
export interface Session {
  /** Ties memory to inputs and outputs, and keeps the arrays alive until the binding is disposed. */
  bind(inputs: readonly BoundTensor[], outputs: readonly BoundTensor[]): SessionBinding;
  /** Ends profiling: the profile is then complete in the folder given on creation. */
  endProfiling(): void;
  dispose(): void;
}

export interface SessionOptions {
  /** Names the session in errors. */
  readonly where: string;
  /** Start of the path of a file to write a profile to. */
  readonly profilePrefix?: string;
}

export interface SessionEngineOptions {
  readonly name: string;
  readonly profile: boolean;
  createSession(model: OnnxModel, options: SessionOptions): Promise<Session>;
}

/** An engine over a way to create sessions. */
export function createSessionEngine(options: SessionEngineOptions): Engine {
  const alive = new Set<Executable>();
  let disposed = false;
  return {
    name: options.name,
    async compile(program, compileOptions = {}) {
      requireAlive(options.name, disposed);
      const executable = await compileProgram(options, program, compileOptions, () =>
        alive.delete(executable),
      );
      alive.add(executable);
      // The engine may have been disposed while the session was being made.
      if (disposed) executable.dispose();
      requireAlive(options.name, disposed);
      return executable;
    },
    dispose() {
      disposed = true;
      for (const executable of alive) executable.dispose();
    },
  };
}

async function compileProgram(
  engine: SessionEngineOptions,
  program: Program,
  { constants = {}, name = 'program' }: CompileOptions,
  onDispose: () => void,
): Promise<Executable> {
  const where = `${engine.name}(${name})`;
  const specs = programSpecs(where, program, constants);
  const model = lowerProgram(optimize(program), { name, constants });
  const profile = engine.profile ? profileFolder() : undefined;
  let session: Session;
  try {
    session = await engine.createSession(model, {
      where,
      ...(profile === undefined ? {} : { profilePrefix: profile.prefix }),
    });
  } catch (error) {
    profile?.remove();
    throw error;
  }

  // A model's output may have another name than the program's, but not another place. The model itself is let go.
  const modelOutputs = model.outputs;
  const bindings = new Set<Binding>();
  // What holds the session: the executable until its disposal, and each binding.
  let holders = 1;
  let disposed = false;
  let times: readonly OpTime[] | undefined;
  // Native memory goes when nothing can touch it any more: a session after its last binding, a binding after its last run.
  const release = (): void => {
    if (--holders > 0) return;
    session.dispose();
    profile?.remove();
  };

  const bind = (inputs: Arrays, outputs: Arrays = {}): Binding => {
    requireAlive(where, disposed);
    const results = resolveBindings(where, specs, { inputs, outputs }, false);
    const native = session.bind(
      specs.inputs.map((spec) => ({ ...spec, data: inputs[spec.name]! })),
      modelOutputs.map((output, index) => ({ ...output, data: results[specs.outputs[index]!.name]!.data })),
    );
    holders++;
    const binding = createBinding(where, native, results, release);
    const tracked: Binding = {
      ...binding,
      dispose() {
        bindings.delete(tracked);
        binding.dispose();
      },
    };
    bindings.add(tracked);
    return tracked;
  };

  return {
    name,
    inputs: specs.inputs,
    outputs: specs.outputs,
    bind,
    run: (inputs, outputs) => runOnce(bind, inputs, outputs),
    profile() {
      requireAlive(where, disposed);
      if (profile === undefined) throw notProfiled(where);
      if (times === undefined) {
        session.endProfiling();
        times = summarizeProfile(profile.read());
        profile.remove();
      }
      return times;
    },
    dispose() {
      if (disposed) return;
      disposed = true;
      for (const binding of bindings) binding.dispose();
      release();
      onDispose();
    },
  };
}

function createBinding(
  where: string,
  native: SessionBinding,
  outputs: Binding['outputs'],
  released: () => void,
): Binding {
  let disposed = false;
  let busy = false;
  const release = (): void => {
    native.dispose();
    released();
  };
  return {
    outputs,
    async run() {
      requireAlive(where, disposed);
      requireIdle(where, busy);
      busy = true;
      try {
        await native.run();
      } finally {
        busy = false;
        if (disposed) release();
      }
    },
    runSync() {
      requireAlive(where, disposed);
      requireIdle(where, busy);
      native.runSync();
    },
    dispose() {
      if (disposed) return;
      disposed = true;
      if (!busy) release();
    },
  };
}

/** A fresh folder for one profile: ONNX Runtime adds the time of day to the file's name. */
function profileFolder(): { readonly prefix: string; read(): string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'heed-profile-'));
  return {
    prefix: join(folder, 'profile'),
    read() {
      const [file] = readdirSync(folder);
      return file === undefined ? '' : readFileSync(join(folder, file), 'utf8');
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function notProfiled(where: string): EngineError {
  return new EngineError({
    where,
    expected: 'an engine created with profile: true',
    received: 'profile: false',
    fix: 'Create the engine with profile: true',
  });
}
