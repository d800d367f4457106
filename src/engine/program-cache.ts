import type { Program } from '../graph/program.ts';
import type { CompileOptions, Engine, Executable } from './engine.ts';

/** Compiled programs by signature; the least recently used is disposed when there are more than `limit`. */
export interface ProgramCache {
  /** The executable of a signature, compiled on first use. `build` must give the same program for the same signature. */
  get(signature: string, build: () => Program, options?: CompileOptions): Promise<Executable>;
  readonly size: number;
  dispose(): void;
}

/** An empty cache over an engine. */
export function createProgramCache(engine: Engine, { limit }: { readonly limit: number }): ProgramCache {
  // A Map iterates in insertion order: the first key is the least recently used.
  const entries = new Map<string, Promise<Executable>>();
  const release = (entry: Promise<Executable>): void => {
    entry.then(
      (executable) => executable.dispose(),
      () => undefined,
    );
  };
  return {
    get size() {
      return entries.size;
    },
    get(signature, build, options) {
      const known = entries.get(signature);
      if (known !== undefined) {
        entries.delete(signature);
        entries.set(signature, known);
        return known;
      }
      while (entries.size >= Math.max(limit, 1)) {
        const [oldest, entry] = entries.entries().next().value!;
        entries.delete(oldest);
        release(entry);
      }
      const compiled = engine.compile(build(), { name: signature, ...options });
      entries.set(signature, compiled);
      compiled.catch(() => entries.delete(signature));
      return compiled;
    },
    dispose() {
      for (const entry of entries.values()) release(entry);
      entries.clear();
    },
  };
}
