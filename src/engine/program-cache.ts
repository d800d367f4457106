import { EngineError } from '../core/errors.ts';
import type { Program } from '../graph/program.ts';
import type { CompileOptions, Engine, Executable } from './engine.ts';

/**
 * Compiled programs by signature; the least recently used is disposed when there are more than `limit`. Ask for an
 * executable again before each use instead of keeping it: one that was kept may have been disposed meanwhile.
 */
export interface ProgramCache {
  /** The executable of a signature, compiled on first use. `build` must give the same program for the same signature. */
  get(signature: string, build: () => Program, options?: CompileOptions): Promise<Executable>;
  readonly size: number;
  dispose(): void;
}

/**
 * An empty cache over an engine.
 *
 * @param limit most executables kept, at least 1. Each costs its constants, its prepacked weights and its threads.
 * @throws EngineError when `limit` is not a positive integer.
 */
export function createProgramCache(engine: Engine, { limit }: { readonly limit: number }): ProgramCache {
  if (!(Number.isInteger(limit) && limit >= 1)) {
    throw new EngineError({
      where: 'createProgramCache(limit)',
      expected: 'a positive integer',
      received: String(limit),
      fix: 'Allow at least one program',
    });
  }
  // A Map iterates in insertion order: the first key is the least recently used.
  const entries = new Map<string, Promise<Executable>>();
  const release = (entry: Promise<Executable>): void => {
    entry.then(
      (executable) => executable.dispose(),
      () => undefined,
    );
  };
  let disposed = false;
  return {
    get size() {
      return entries.size;
    },
    get(signature, build, options) {
      if (disposed) return Promise.reject(disposedError());
      const known = entries.get(signature);
      if (known !== undefined) {
        entries.delete(signature);
        entries.set(signature, known);
        return known;
      }
      while (entries.size >= limit) {
        const [oldest, entry] = entries.entries().next().value!;
        entries.delete(oldest);
        release(entry);
      }
      const compiled = engine.compile(build(), { name: signature, ...options });
      entries.set(signature, compiled);
      // A failure is not remembered: the next call tries again.
      compiled.catch(() => {
        if (entries.get(signature) === compiled) entries.delete(signature);
      });
      return compiled;
    },
    dispose() {
      disposed = true;
      for (const entry of entries.values()) release(entry);
      entries.clear();
    },
  };
}

function disposedError(): EngineError {
  return new EngineError({
    where: 'ProgramCache.get',
    expected: 'a cache in use',
    received: 'a disposed one',
    fix: 'Create another with createProgramCache()',
  });
}
