/** The engine over ONNX Runtime's C API: memory is bound, never copied, and runs leave the event loop free. */
import { availableParallelism } from 'node:os';
import { encodeOnnx, type OnnxInitializer } from '../../onnx/model.ts';
import type { Engine, EngineOptions } from '../engine.ts';
import { type BoundTensor, createSessionEngine } from '../session-engine.ts';
import { loadLibrary, type OptimizationLevel } from './ffi.ts';
import { findLibrary } from './library.ts';

export interface OrtEngineOptions extends EngineOptions {
  /** Path of a libonnxruntime to load instead of the one in the package onnxruntime-node. */
  readonly library?: string;
  /** How far ONNX Runtime rewrites the graph; default `all`. Lower levels compile faster. */
  readonly optimization?: OptimizationLevel;
  /** Session configuration entries of ONNX Runtime, over heed's own. */
  readonly config?: Readonly<Record<string, string>>;
}

/** Constants above this size stay out of the model's bytes: no copy through protobuf, no 2 GiB limit. */
const inlineBytes = 1024;

/**
 * How long a worker thread waits busily for the next piece of work before it sleeps. ONNX Runtime's own default is tens of
 * milliseconds: it makes a run of another session twice as slow, because that session's worker has to share a core with
 * the waiting one, and burns a core after every run. No waiting at all costs a wake-up in every run.
 *
 * Median ms of a run of two 256³ products, two threads on two quiet cores:
 *
 * | | back to back | after 2 ms of host work | alternating two sessions | processor ms in 5 idle ms |
 * |---|---|---|---|---|
 * | default | 0.46 | 0.60 | 0.92 | 4.2 |
 * | 200 µs | 0.46 | 0.64 | 0.58 | 0.4 |
 * | no waiting (`session.force_spinning_stop`) | 0.50 | 0.82 | 0.53 | 0.2 |
 */
const waiting = { 'session.intra_op.spin_duration_us': '200' };

/** Keeps ONNX Runtime from undoing what the gradient of `matmul` does on purpose: transpose, then multiply. */
const keptTransposes = { 'optimization.disable_specified_optimizers': 'MatmulTransposeFusion' };

const defaultConfig = { ...waiting, ...keptTransposes };

/**
 * Loads ONNX Runtime and returns an engine on it.
 *
 * @throws EngineError when the library is missing or does not load.
 */
export function createOrtEngine(options: OrtEngineOptions = {}): Engine {
  const library = loadLibrary(options.library ?? findLibrary());
  const settings = {
    threads: options.threads ?? availableParallelism(),
    optimization: options.optimization ?? ('all' as const),
    config: { ...defaultConfig, ...options.config },
  };
  return createSessionEngine({
    name: 'ort',
    profile: options.profile ?? false,
    createSession: (model, { where, profilePrefix }) =>
      library.createSession(
        encodeOnnx({ ...model, initializers: model.initializers.map(withoutLargeData) }),
        {
          ...settings,
          where,
          external: model.initializers.filter(isLarge),
          ...(profilePrefix === undefined ? {} : { profilePrefix }),
        },
      ),
  });
}

function isLarge(initializer: OnnxInitializer): initializer is BoundTensor {
  return initializer.data !== undefined && initializer.data.byteLength > inlineBytes;
}

function withoutLargeData(initializer: OnnxInitializer): OnnxInitializer {
  const { name, dtype, shape } = initializer;
  return isLarge(initializer) ? { name, dtype, shape } : initializer;
}
