/**
 * ONNX Runtime's C API through koffi. The only file that knows pointers: what it hands out is typed and has `dispose()`.
 *
 * The library exports one symbol, `OrtGetApiBase`; its `GetApi(version)` returns a table of functions whose order is part of
 * the ABI and only ever appended to. Every function used here is older than version 17, the one asked for.
 *
 * @source onnxruntime_c_api.h of ONNX Runtime 1.22, struct OrtApi (positions and signatures)
 */
import koffi from 'koffi';
import { EngineError } from '../../core/errors.ts';
import { byteWidth, type HostArray } from '../../core/host-tensor.ts';
import type { DType } from '../../core/shapes.ts';
import type { BoundTensor, Session, SessionBinding } from '../session-engine.ts';

type Pointer = bigint;
/** A pointer to an OrtStatus; null is success. */
type Status = Pointer | null;
type Native<A extends unknown[], R> = ((...args: A) => R) & {
  async(...args: [...A, (error: Error | null, result: R) => void]): void;
};

/** Served by every ONNX Runtime from 1.17 on. */
const apiVersion = 17;

/** `OrtLoggingLevel.FATAL`: problems come back as status messages, so nothing is printed. */
const logNothing = 4;

/**
 * koffi runs native code on stacks of its own. A matrix product overflows one of 64 KiB (measured), and koffi's default off
 * the main thread, 128 KiB, leaves too little to rely on. The pages are only reserved until they are used.
 */
const asyncStackBytes = 4 * 1024 * 1024;

/** `ONNXTensorElementDataType`. */
const elementTypes: Readonly<Record<DType, number>> = {
  ...{ float32: 1, uint8: 2, int32: 6, int64: 7, bool: 9 },
};

/** `GraphOptimizationLevel`. */
const optimizationLevels = { none: 0, basic: 1, extended: 2, all: 99 } as const;
export type OptimizationLevel = keyof typeof optimizationLevels;

const pointer = 'void *';
const path = process.platform === 'win32' ? 'str16' : 'str';

/** Position, result and arguments of each function that is used. */
const signatures = {
  GetErrorMessage: [2, 'str', [pointer]],
  CreateEnv: [3, pointer, ['int', 'str', pointer]],
  CreateSessionFromArray: [8, pointer, [pointer, pointer, 'size_t', pointer, pointer]],
  CreateSessionOptions: [10, pointer, [pointer]],
  EnableProfiling: [14, pointer, [pointer, path]],
  DisableMemPattern: [17, pointer, [pointer]],
  SetSessionGraphOptimizationLevel: [23, pointer, [pointer, 'int']],
  SetIntraOpNumThreads: [24, pointer, [pointer, 'int']],
  CreateTensorWithDataAsOrtValue: [
    49,
    pointer,
    [pointer, pointer, 'size_t', pointer, 'size_t', 'int', pointer],
  ],
  CreateCpuMemoryInfo: [69, pointer, ['int', 'int', pointer]],
  AllocatorFree: [76, pointer, [pointer, pointer]],
  GetAllocatorWithDefaultOptions: [78, pointer, [pointer]],
  ReleaseStatus: [93, 'void', [pointer]],
  ReleaseSession: [95, 'void', [pointer]],
  ReleaseValue: [96, 'void', [pointer]],
  ReleaseSessionOptions: [100, 'void', [pointer]],
  SessionEndProfiling: [110, pointer, [pointer, pointer, pointer]],
  AddSessionConfigEntry: [130, pointer, [pointer, 'str', 'str']],
  RunWithBinding: [133, pointer, [pointer, pointer, pointer]],
  CreateIoBinding: [134, pointer, [pointer, pointer]],
  ReleaseIoBinding: [135, 'void', [pointer]],
  BindInput: [136, pointer, [pointer, 'str', pointer]],
  BindOutput: [137, pointer, [pointer, 'str', pointer]],
  CreateAndRegisterAllocator: [144, pointer, [pointer, pointer, pointer]],
  AddExternalInitializers: [210, pointer, [pointer, pointer, pointer, 'size_t']],
} as const satisfies Record<string, readonly [number, string, readonly string[]]>;

type Argument = Pointer | number | string | ArrayBufferView | null;
type Api = {
  readonly [N in keyof typeof signatures]: Native<
    Argument[],
    (typeof signatures)[N][1] extends 'str' ? string : Status
  >;
};

export interface SessionSettings {
  /** Names the session in errors. */
  readonly where: string;
  readonly threads: number;
  readonly optimization: OptimizationLevel;
  /** Session configuration entries, keys as in onnxruntime_session_options_config_keys.h. */
  readonly config: Readonly<Record<string, string>>;
  /** Numbers of the initializers that the model declares as external. Copied while the session is created. */
  readonly external: readonly BoundTensor[];
  /** Start of the path of a file to write the profile to. */
  readonly profilePrefix?: string;
}

export interface OrtLibrary {
  createSession(model: Uint8Array, settings: SessionSettings): Promise<Session>;
}

const loaded = new Map<string, OrtLibrary>();
/** What native code holds only the address of, and the collector must therefore not take. */
const pinned = new Set<object>();

/**
 * Loads the library and makes the process-wide environment, once per path. Both stay until the process ends.
 *
 * @throws EngineError when the file is missing, not loadable, or too old.
 */
export function loadLibrary(libraryPath: string): OrtLibrary {
  const known = loaded.get(libraryPath);
  if (known !== undefined) return known;
  enlargeAsyncStack();
  const api = loadApi(libraryPath);
  const env = made(api, 'CreateEnv', (out) => api.CreateEnv(logNothing, 'heed', out));
  const [arenaAllocator, defaultMemory] = [1, 0];
  const memory = made(api, 'CreateCpuMemoryInfo', (out) =>
    api.CreateCpuMemoryInfo(arenaAllocator, defaultMemory, out),
  );
  // One arena for all sessions: programs run in turn, so the peak is the largest of them, not their sum.
  // The environment is shared by all threads of the process, so another thread may have registered it before.
  const registered = api.CreateAndRegisterAllocator(env, memory, null);
  if (registered !== null) api.ReleaseStatus(registered);
  const library: OrtLibrary = {
    createSession: (model, settings) => createSession({ api, env, memory }, model, settings),
  };
  loaded.set(libraryPath, library);
  return library;
}

function enlargeAsyncStack(): void {
  const { async_stack_size: current = 0 } = koffi.config();
  if (current >= asyncStackBytes) return;
  try {
    koffi.config({ async_stack_size: asyncStackBytes });
  } catch (cause) {
    throw new EngineError({
      where: 'loadLibrary',
      expected: `koffi stacks of ${asyncStackBytes} bytes for asynchronous calls`,
      received: `${current} bytes, fixed because another library was loaded through koffi first`,
      fix: `Call koffi.config({ async_stack_size: ${asyncStackBytes} }) before loading the other library, or use the engine "ort-node"`,
      cause,
    });
  }
}

function loadApi(libraryPath: string): Api {
  let table: Pointer | null;
  try {
    const library = koffi.load(libraryPath);
    // koffi unloads a library whose handle is collected, under the feet of the functions decoded below.
    pinned.add(library);
    const base = library.func('OrtGetApiBase', pointer, [])() as Pointer;
    const getApi = koffi.decode(base, pointer) as Pointer;
    table = koffi.call(getApi, koffi.proto(pointer, ['uint32_t']), apiVersion) as Pointer | null;
  } catch (cause) {
    throw new EngineError({
      where: 'loadLibrary',
      expected: `an ONNX Runtime library at ${libraryPath}`,
      received: cause instanceof Error ? cause.message : String(cause),
      fix: 'Reinstall onnxruntime-node on this machine, correct the option "library", or use the engine "ort-node" or "interpreter"',
      cause,
    });
  }
  if (table === null) {
    throw new EngineError({
      where: 'loadLibrary',
      expected: `an ONNX Runtime with C API version ${apiVersion} (release 1.${apiVersion} or later)`,
      received: `an older library at ${libraryPath}`,
      fix: 'Install the onnxruntime-node version that heed asks for',
    });
  }
  const width = koffi.sizeof(pointer);
  const functions = Object.entries(signatures).map(([name, [position, result, args]]) => {
    const address = koffi.decode(table, position * width, pointer) as Pointer;
    return [name, koffi.decode(address, koffi.proto(result, [...args]))];
  });
  return Object.fromEntries(functions) as Api;
}

/** Throws what an OrtStatus says, and frees it. */
function check(api: Api, where: string, status: Status): void {
  if (status === null) return;
  const message = api.GetErrorMessage(status);
  api.ReleaseStatus(status);
  throw new EngineError({
    where,
    expected: 'ONNX Runtime to succeed',
    received: message.trim(),
    fix: 'If the program came from heed alone, this is a bug worth reporting with this message',
  });
}

/** The pointer that a constructor writes to its last argument. */
function made(api: Api, where: string, create: (out: BigUint64Array) => Status): Pointer {
  const out = new BigUint64Array(1);
  check(api, where, create(out));
  return out[0]!;
}

/** Address of a typed array's first element, also inside a SharedArrayBuffer. Valid while the array is alive and attached. */
function addressOf(data: HostArray | Uint8Array): Pointer {
  // Small arrays live on the JavaScript heap, where they may move, until their buffer is asked for.
  void data.buffer;
  return koffi.address(data);
}

interface Context {
  readonly api: Api;
  readonly env: Pointer;
  readonly memory: Pointer;
}

function createTensor({ api, memory }: Context, where: string, tensor: BoundTensor): Pointer {
  const shape = BigInt64Array.from(tensor.shape, BigInt);
  const bytes = tensor.data.length * byteWidth(tensor.dtype);
  return made(api, where, (out) =>
    api.CreateTensorWithDataAsOrtValue(
      memory,
      addressOf(tensor.data),
      bytes,
      shape,
      shape.length,
      elementTypes[tensor.dtype],
      out,
    ),
  );
}

async function createSession(
  context: Context,
  model: Uint8Array,
  settings: SessionSettings,
): Promise<Session> {
  const { api, env } = context;
  const { where, external } = settings;
  const options = made(api, where, (out) => api.CreateSessionOptions(out));
  const values: Pointer[] = [];
  const out = new BigUint64Array(1);
  const names = external.map(({ name }) => Buffer.from(`${name}\0`));
  const memory = [model, out, ...names, ...external];
  for (const held of memory) pinned.add(held);
  try {
    // A plan of the memory of the second run is one block beside what the first took piece by piece: twice the peak.
    check(api, where, api.DisableMemPattern(options));
    check(api, where, api.SetIntraOpNumThreads(options, settings.threads));
    check(
      api,
      where,
      api.SetSessionGraphOptimizationLevel(options, optimizationLevels[settings.optimization]),
    );
    const config = { 'session.use_env_allocators': '1', ...settings.config };
    for (const [key, value] of Object.entries(config)) {
      check(api, where, api.AddSessionConfigEntry(options, key, value));
    }
    if (settings.profilePrefix !== undefined) {
      check(api, where, api.EnableProfiling(options, settings.profilePrefix));
    }
    if (external.length > 0) {
      for (const tensor of external) values.push(createTensor(context, where, tensor));
      const nameTable = BigUint64Array.from(names, addressOf);
      const valueTable = BigUint64Array.from(values);
      check(api, where, api.AddExternalInitializers(options, nameTable, valueTable, external.length));
    }
    const status = await callAsync(api.CreateSessionFromArray, [env, model, model.byteLength, options, out]);
    check(api, where, status);
    return sessionOf(context, out[0]!, where);
  } finally {
    for (const value of values) api.ReleaseValue(value);
    api.ReleaseSessionOptions(options);
    for (const held of memory) pinned.delete(held);
  }
}

function callAsync<R>(fn: Native<Argument[], R>, args: Argument[]): Promise<R> {
  return new Promise((resolve, reject) => {
    fn.async(...args, (error: Error | null, result: R) => {
      if (error === null || error === undefined) resolve(result);
      else reject(error);
    });
  });
}

function sessionOf(context: Context, session: Pointer, where: string): Session {
  const { api } = context;
  return {
    bind: (inputs, outputs) => createBinding(context, session, where, inputs, outputs),
    endProfiling() {
      const allocator = made(api, where, (out) => api.GetAllocatorWithDefaultOptions(out));
      const path = made(api, where, (out) => api.SessionEndProfiling(session, allocator, out));
      check(api, where, api.AllocatorFree(allocator, path));
    },
    dispose: () => void api.ReleaseSession(session),
  };
}

function createBinding(
  context: Context,
  session: Pointer,
  where: string,
  inputs: readonly BoundTensor[],
  outputs: readonly BoundTensor[],
): SessionBinding {
  const { api } = context;
  const native = made(api, where, (out) => api.CreateIoBinding(session, out));
  const attach = (bind: Api['BindInput'], tensor: BoundTensor): void => {
    const value = createTensor(context, `${where}.${tensor.name}`, tensor);
    const status = bind(native, tensor.name, value);
    // The binding holds its own reference.
    api.ReleaseValue(value);
    check(api, `${where}.${tensor.name}`, status);
  };
  try {
    for (const tensor of inputs) attach(api.BindInput, tensor);
    for (const tensor of outputs) attach(api.BindOutput, tensor);
  } catch (error) {
    api.ReleaseIoBinding(native);
    throw error;
  }

  // The closure keeps every array alive as long as native code may touch its memory.
  const tensors = [...inputs, ...outputs];
  const arrays = tensors.map(({ data }) => data);
  const lengths = arrays.map((data) => data.length);
  const requireAttached = (): void => {
    // A transferred buffer leaves its array empty: running on would touch freed memory.
    for (let i = 0; i < arrays.length; i++) {
      if (arrays[i]!.length !== lengths[i]) throwDetached(where, tensors[i]!.name);
    }
  };
  return {
    runSync() {
      requireAttached();
      const status = api.RunWithBinding(session, null, native);
      if (status !== null) check(api, where, status);
    },
    async run() {
      requireAttached();
      check(api, where, await callAsync(api.RunWithBinding, [session, null, native]));
    },
    dispose: () => void api.ReleaseIoBinding(native),
  };
}

function throwDetached(where: string, name: string): never {
  throw new EngineError({
    where,
    expected: `the memory that was bound to "${name}"`,
    received: 'a buffer that was transferred, resized or detached since',
    fix: 'Bind memory that stays in place, for example a SharedArrayBuffer',
  });
}
