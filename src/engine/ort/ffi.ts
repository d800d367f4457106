/**
 * ONNX Runtime's C API through a foreign-function interface: the one file that knows pointers.
 *
 * `OrtGetApiBase()->GetApi(version)` returns a table of functions whose order is part of the ABI: functions are only ever
 * appended (onnxruntime_c_api.h, struct OrtApi). Everything handed out is an opaque handle with a release function.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import koffi from 'koffi';
import { EngineError } from '../../core/errors.ts';
import { byteWidth, dtypeOf, type HostArray } from '../../core/host-tensor.ts';
import type { DType, Shape } from '../../core/shapes.ts';

/** Version of the function table asked for: old enough for every ONNX Runtime since 1.17. */
const apiVersion = 17;

/** Position of each function in the table, with its C signature. All return OrtStatus* unless noted. */
const table = {
  GetErrorMessage: [2, 'const char* GetErrorMessage(const void* status)'],
  CreateEnv: [3, 'void* CreateEnv(int level, const char* id, void* out)'],
  CreateSessionFromArray: [
    8,
    'void* CreateSessionFromArray(void* env, void* model, size_t length, void* options, void* out)',
  ],
  Run: [
    9,
    'void* Run(void* session, void* run_options, void* input_names, void* inputs, size_t input_count, void* output_names, size_t output_count, void* outputs)',
  ],
  CreateSessionOptions: [10, 'void* CreateSessionOptions(void* out)'],
  EnableProfiling: [14, 'void* EnableProfiling(void* options, void* prefix)'],
  SetSessionLogSeverityLevel: [22, 'void* SetSessionLogSeverityLevel(void* options, int level)'],
  SetSessionGraphOptimizationLevel: [23, 'void* SetSessionGraphOptimizationLevel(void* options, int level)'],
  SetIntraOpNumThreads: [24, 'void* SetIntraOpNumThreads(void* options, int threads)'],
  CreateTensorWithDataAsOrtValue: [
    49,
    'void* CreateTensorWithDataAsOrtValue(void* info, void* data, size_t bytes, void* shape, size_t rank, int type, void* out)',
  ],
  CreateCpuMemoryInfo: [69, 'void* CreateCpuMemoryInfo(int allocator, int memory, void* out)'],
  GetAllocatorWithDefaultOptions: [78, 'void* GetAllocatorWithDefaultOptions(void* out)'],
  AllocatorFree: [76, 'void* AllocatorFree(void* allocator, void* data)'],
  ReleaseStatus: [93, 'void ReleaseStatus(void* status)'],
  ReleaseSession: [95, 'void ReleaseSession(void* session)'],
  ReleaseValue: [96, 'void ReleaseValue(void* value)'],
  ReleaseSessionOptions: [100, 'void ReleaseSessionOptions(void* options)'],
  SessionEndProfiling: [110, 'void* SessionEndProfiling(void* session, void* allocator, void* out)'],
  AddSessionConfigEntry: [
    130,
    'void* AddSessionConfigEntry(void* options, const char* key, const char* value)',
  ],
  CreateAndRegisterAllocator: [144, 'void* CreateAndRegisterAllocator(void* env, void* info, void* arena)'],
  AddInitializer: [150, 'void* AddInitializer(void* options, const char* name, void* value)'],
} as const;
type ApiName = keyof typeof table;
type Native = ReturnType<ReturnType<typeof koffi.load>['func']>;

/** Opaque address of an object that ONNX Runtime owns. */
export type Handle = bigint & { readonly __handle: unique symbol };

export interface SessionSettings {
  readonly name: string;
  readonly threads: number;
  /** File name prefix of a profile, when profiling. */
  readonly profilePrefix?: string;
  /** Inputs' names and values to be used as initializers. The values must outlive the session. */
  readonly initializers: readonly { readonly name: string; readonly value: Handle }[];
}

/** Arguments of `Run`, prepared once. The arrays stay referenced here, since native code reads them. */
export interface RunArguments {
  readonly session: Handle;
  readonly inputNames: BigUint64Array;
  readonly inputs: BigUint64Array;
  readonly outputNames: BigUint64Array;
  readonly outputs: BigUint64Array;
  readonly keep: readonly unknown[];
}

/** The functions that the engine uses, typed. */
export interface OrtLibrary {
  readonly path: string;
  createSession(model: Uint8Array, settings: SessionSettings): Handle;
  releaseSession(session: Handle): void;
  /** A tensor over the memory of `data`; `data` must outlive it. */
  createTensor(data: HostArray, dtype: DType, shape: Shape): Handle;
  releaseTensor(tensor: Handle): void;
  /** Null-terminated names and the array of pointers to them. */
  nameTable(names: readonly string[]): { readonly pointers: BigUint64Array; readonly keep: unknown };
  runSync(name: string, run: RunArguments): void;
  run(name: string, run: RunArguments): Promise<void>;
  /** Ends profiling; returns the path of the file written. */
  endProfiling(session: Handle): string;
}

/** ONNX tensor element types by dtype (onnxruntime_c_api.h, ONNXTensorElementDataType). */
const elementTypes: Readonly<Record<DType, number>> = { float32: 1, int32: 6, int64: 7, bool: 9 };

const libraryNames: Readonly<Partial<Record<NodeJS.Platform, string>>> = {
  linux: 'libonnxruntime.so.1',
  darwin: 'libonnxruntime.dylib',
  win32: 'onnxruntime.dll',
};

/** Path of the library inside the `onnxruntime-node` package. Throws `EngineError` when there is none for this platform. */
export function findLibrary(): string {
  const require = createRequire(import.meta.url);
  let root: string;
  try {
    root = dirname(require.resolve('onnxruntime-node/package.json'));
  } catch (cause) {
    throw missing('the package onnxruntime-node is not installed', cause);
  }
  const directory = join(root, 'bin', 'napi-v6', process.platform, process.arch);
  const path = join(directory, libraryNames[process.platform] ?? '');
  if (libraryNames[process.platform] === undefined || !existsSync(path)) {
    throw missing(`none for ${process.platform}-${process.arch} in onnxruntime-node`);
  }
  return path;
}

function missing(received: string, cause?: unknown): EngineError {
  return new EngineError({
    where: 'onnxruntime',
    expected: 'the ONNX Runtime library',
    received,
    fix: 'Run `npm install onnxruntime-node` on a supported platform (Linux, macOS or Windows; x64 or arm64), or use the engine "interpreter"',
    cause,
  });
}

let loaded: OrtLibrary | undefined;
/** Handles of loaded libraries: koffi unloads a library whose handle is collected, under the feet of decoded functions. */
const kept: unknown[] = [];

/** Loads the library once per process. */
export function loadOrt(path: string = findLibrary()): OrtLibrary {
  loaded ??= open(path);
  return loaded;
}

function open(path: string): OrtLibrary {
  let base: bigint;
  try {
    const library = koffi.load(path);
    kept.push(library);
    base = library.func('void* OrtGetApiBase()')() as bigint;
  } catch (cause) {
    throw missing(`${path}, which does not load`, cause);
  }
  const getApi = koffi.decode(
    koffi.decode(base, 'void*'),
    koffi.proto('void* GetApi(uint32_t version)'),
  ) as Native;
  const api = getApi(apiVersion) as bigint | null;
  if (api === null) throw missing(`a library without API version ${apiVersion}`);
  const functions = Object.fromEntries(
    Object.entries(table).map(([name, [position, signature]]) => [
      name,
      koffi.decode(koffi.decode(api, position * 8, 'void*'), koffi.proto(signature)) as Native,
    ]),
  ) as Record<ApiName, Native>;

  const check = (where: string, status: bigint | null): void => {
    if (status === null || status === 0n) return;
    const message = functions.GetErrorMessage(status) as string;
    functions.ReleaseStatus(status);
    throw new EngineError({
      where,
      expected: 'ONNX Runtime to accept the call',
      received: message,
      fix: 'If the program came from heed alone, this is a bug worth reporting with this message',
    });
  };
  const slot = new BigUint64Array(1);
  /** Calls a function whose last argument receives a pointer. */
  const create = (where: string, name: ApiName, ...args: unknown[]): Handle => {
    slot[0] = 0n;
    check(where, functions[name](...args, slot));
    return slot[0] as Handle;
  };

  const environment = create('onnxruntime', 'CreateEnv', 3, 'heed');
  const memory = create('onnxruntime', 'CreateCpuMemoryInfo', 1, 0);
  const anchor = new Uint8Array(8); // address for tensors without elements
  // One arena for all sessions: programs run in turn, so the peak is the largest of them, not their sum.
  check('onnxruntime', functions.CreateAndRegisterAllocator(environment, memory, null));

  const runArguments = (run: RunArguments): unknown[] => [
    run.session,
    null,
    run.inputNames,
    run.inputs,
    run.inputs.length,
    run.outputNames,
    run.outputs.length,
    run.outputs,
  ];

  return {
    path,
    createSession(model, { name, threads, profilePrefix, initializers }) {
      const options = create(name, 'CreateSessionOptions');
      try {
        check(name, functions.SetIntraOpNumThreads(options, threads));
        check(name, functions.SetSessionGraphOptimizationLevel(options, 99));
        check(name, functions.SetSessionLogSeverityLevel(options, 3));
        check(name, functions.AddSessionConfigEntry(options, 'session.use_env_allocators', '1'));
        if (profilePrefix !== undefined) {
          const text =
            process.platform === 'win32'
              ? Buffer.from(`${profilePrefix}\0`, 'utf16le')
              : Buffer.from(`${profilePrefix}\0`);
          check(name, functions.EnableProfiling(options, text));
        }
        for (const { name: key, value } of initializers)
          check(name, functions.AddInitializer(options, key, value));
        return create(name, 'CreateSessionFromArray', environment, model, model.byteLength, options);
      } finally {
        functions.ReleaseSessionOptions(options);
      }
    },
    releaseSession: (session) => void functions.ReleaseSession(session),
    createTensor(data, dtype, shape) {
      if (byteWidth(dtypeOf(data)) !== byteWidth(dtype)) {
        throw new EngineError({ where: 'createTensor', expected: dtype, received: dtypeOf(data) });
      }
      const address = data.length === 0 ? koffi.address(anchor) : koffi.address(data);
      const dimensions = BigInt64Array.from(shape, BigInt);
      return create(
        'createTensor',
        'CreateTensorWithDataAsOrtValue',
        memory,
        address,
        data.byteLength,
        dimensions.length === 0 ? null : dimensions,
        dimensions.length,
        elementTypes[dtype],
      );
    },
    releaseTensor: (tensor) => void functions.ReleaseValue(tensor),
    nameTable(names) {
      const texts = names.map((name) => Buffer.from(`${name}\0`));
      return { pointers: BigUint64Array.from(texts, (text) => koffi.address(text)), keep: texts };
    },
    runSync: (name, run) => check(name, functions.Run(...runArguments(run)) as bigint | null),
    run: (name, run) =>
      new Promise((resolve, reject) => {
        functions.Run.async(...runArguments(run), (error: unknown, status: bigint | null) => {
          try {
            if (error != null) throw error;
            check(name, status);
            resolve();
          } catch (failure) {
            reject(failure as Error);
          }
        });
      }),
    endProfiling(session) {
      const allocator = create('profile', 'GetAllocatorWithDefaultOptions');
      const text = create('profile', 'SessionEndProfiling', session, allocator);
      const path = koffi.decode(text, 'char', -1) as string;
      check('profile', functions.AllocatorFree(allocator, text));
      return path;
    },
  };
}
