/** The engine for this machine. Native libraries are loaded only here, and only the one that is used. */
import { EngineError } from '../core/errors.ts';
import type { Engine, EngineOptions } from './engine.ts';

/** `ort`: ONNX Runtime through its C API. `ort-node`: the same through onnxruntime-node. `interpreter`: float64, slow, no library. */
export const engineNames = ['ort', 'ort-node', 'interpreter'] as const;
export type EngineName = (typeof engineNames)[number];

export interface CreateEngineOptions extends EngineOptions {
  /** Default: `ort`, and `ort-node` where it does not load. A named engine is never replaced by another. */
  readonly engine?: EngineName;
  /** Path of a libonnxruntime for `ort` instead of the one in the package onnxruntime-node. */
  readonly library?: string;
  /** Receives one message when the fallback is used. */
  readonly log?: (message: string) => void;
}

/**
 * Creates an engine.
 *
 * @throws EngineError when the named engine, or without a name every engine over ONNX Runtime, cannot be loaded, or
 *   `threads` is not a positive integer.
 * @example
 * const engine = await createEngine({ threads: 2, log: console.error });
 */
export async function createEngine(options: CreateEngineOptions = {}): Promise<Engine> {
  const { engine, library, log, ...engineOptions } = options;
  const { threads } = engineOptions;
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1)) {
    throw new EngineError({
      where: 'createEngine(threads)',
      expected: 'a positive integer',
      received: String(threads),
      fix: 'Leave it out to use all cores',
    });
  }
  const ortOptions = { ...engineOptions, ...(library === undefined ? {} : { library }) };
  switch (engine) {
    case 'ort':
      return createOrt(ortOptions);
    case 'ort-node':
      return createOrtNode(engineOptions);
    case 'interpreter':
      return (await import('./interpreter.ts')).createInterpreter(engineOptions);
    case undefined:
      break;
    default:
      throw new EngineError({
        where: 'createEngine(engine)',
        expected: engineNames.join(', '),
        received: String(engine satisfies never),
        fix: 'Name one of these, or leave it out',
      });
  }
  try {
    return await createOrt(ortOptions);
  } catch (error) {
    const fallback = await createOrtNode(engineOptions);
    const reason = error instanceof Error ? error.message : String(error);
    log?.(`using the slower engine ort-node, because the engine ort did not load: ${reason}`);
    return fallback;
  }
}

async function createOrt(options: EngineOptions & { readonly library?: string }): Promise<Engine> {
  const { createOrtEngine } = await import('./ort/ort-engine.ts');
  return createOrtEngine(options);
}

async function createOrtNode(options: EngineOptions): Promise<Engine> {
  const { createOrtNodeEngine } = await import('./ort-node/ort-node-engine.ts');
  return createOrtNodeEngine(options);
}
