/**
 * The engine over onnxruntime-node's own JavaScript binding, for machines where koffi cannot load. Same results, slower:
 * `run` blocks the event loop, frozen constants travel through the model's bytes, and memory shared between threads is
 * copied on every run because the binding refuses it.
 */
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { EngineError } from '../../core/errors.ts';
import { allocate, byteWidth, type HostArray } from '../../core/host-tensor.ts';
import { sizeOf } from '../../core/shapes.ts';
import { encodeOnnx, type OnnxModel } from '../../onnx/model.ts';
import type { Engine, EngineOptions } from '../engine.ts';
import {
  type BoundTensor,
  createSessionEngine,
  type Session,
  type SessionBinding,
} from '../session-engine.ts';

/** The part of onnxruntime-node's native binding that is used: the synchronous session below its asynchronous API. */
interface NativeSession {
  loadModel(buffer: ArrayBufferLike, offset: number, length: number, options: object): void;
  run(
    feeds: Record<string, object>,
    fetches: Record<string, object | null>,
    options: object,
  ): Record<string, NativeTensor>;
  endProfiling(): void;
  dispose(): void;
}
interface NativeTensor {
  readonly data: HostArray;
}
interface Package {
  readonly Session: new () => NativeSession;
  readonly Tensor: new (dtype: string, data: HostArray, shape: readonly number[]) => NativeTensor;
}

/** Protobuf messages end at 2 GiB. */
const maximumModelBytes = 2 ** 31 - 1;

/**
 * Loads onnxruntime-node and returns an engine on it.
 *
 * @throws EngineError when the package is missing or does not load.
 */
export function createOrtNodeEngine(options: EngineOptions = {}): Engine {
  const library = loadPackage();
  const threads = options.threads ?? availableParallelism();
  return createSessionEngine({
    name: 'ort-node',
    profile: options.profile ?? false,
    async createSession(model, { where, profilePrefix }) {
      requireEncodable(where, model);
      const bytes = encodeOnnx(model);
      const session = new library.Session();
      attempt(where, () =>
        session.loadModel(bytes.buffer, bytes.byteOffset, bytes.byteLength, {
          intraOpNumThreads: threads,
          graphOptimizationLevel: 'all',
          logSeverityLevel: 4,
          extra: { session: { intra_op: { spin_duration_us: '200' } } },
          ...(profilePrefix === undefined ? {} : { enableProfiling: true, profileFilePrefix: profilePrefix }),
        }),
      );
      return sessionOf(library, session, where);
    },
  });
}

function loadPackage(): Package {
  const require = createRequire(import.meta.url);
  try {
    const { Tensor } = require('onnxruntime-node') as Pick<Package, 'Tensor'>;
    const native = require('onnxruntime-node/dist/binding.js') as {
      readonly binding: { readonly InferenceSession: Package['Session'] };
      initOrt(): void;
    };
    native.initOrt();
    return { Tensor, Session: native.binding.InferenceSession };
  } catch (cause) {
    throw new EngineError({
      where: 'createOrtNodeEngine',
      expected: 'the package onnxruntime-node with its native binding',
      received: cause instanceof Error ? cause.message : String(cause),
      fix: 'Run npm install onnxruntime-node on a supported platform (Linux, macOS or Windows), or use the engine "interpreter"',
      cause,
    });
  }
}

function requireEncodable(where: string, model: OnnxModel): void {
  const bytes = model.initializers.reduce(
    (sum, { dtype, shape }) => sum + sizeOf(shape) * byteWidth(dtype),
    0,
  );
  if (bytes <= maximumModelBytes) return;
  throw new EngineError({
    where,
    expected: `at most ${maximumModelBytes} bytes of constants`,
    received: String(bytes),
    fix: 'Leave the largest constants as inputs, or use the engine "ort"',
  });
}

function sessionOf({ Tensor }: Package, session: NativeSession, where: string): Session {
  return {
    bind(inputs, outputs): SessionBinding {
      const copiesIn: (() => void)[] = [];
      const copiesOut: (() => void)[] = [];
      const feeds: Record<string, NativeTensor> = {};
      const fetches: Record<string, NativeTensor> = {};
      for (const tensor of inputs) {
        const own = privateMemory(tensor);
        if (own !== tensor.data) copiesIn.push(() => copy(tensor.data, own));
        feeds[tensor.name] = new Tensor(tensor.dtype, own, tensor.shape);
      }
      for (const tensor of outputs) {
        const own = privateMemory(tensor);
        if (own !== tensor.data) copiesOut.push(() => copy(own, tensor.data));
        fetches[tensor.name] = new Tensor(tensor.dtype, own, tensor.shape);
      }
      const runSync = (): void => {
        for (const copyIn of copiesIn) copyIn();
        attempt(where, () => session.run(feeds, fetches, {}));
        for (const copyOut of copiesOut) copyOut();
      };
      return {
        runSync,
        run: () =>
          new Promise((resolve, reject) => {
            // The native call blocks; timers and input get a turn before it.
            setImmediate(() => {
              try {
                runSync();
                resolve();
              } catch (error) {
                reject(error as Error);
              }
            });
          }),
        dispose: () => undefined,
      };
    },
    endProfiling: () => session.endProfiling(),
    dispose: () => session.dispose(),
  };
}

/** The array itself, or a fresh one of its size where the binding cannot take it: it refuses memory shared between threads. */
function privateMemory({ data, dtype }: BoundTensor): HostArray {
  return data.buffer instanceof SharedArrayBuffer ? allocate(dtype, data.length) : data;
}

function copy(source: HostArray, target: HostArray): void {
  if (source instanceof BigInt64Array) (target as BigInt64Array).set(source);
  else (target as Float32Array).set(source as Float32Array);
}

function attempt(where: string, call: () => unknown): void {
  try {
    call();
  } catch (cause) {
    throw new EngineError({
      where,
      expected: 'ONNX Runtime to succeed',
      received: cause instanceof Error ? cause.message : String(cause),
      fix: 'If the program came from heed alone, this is a bug worth reporting with this message',
      cause,
    });
  }
}
