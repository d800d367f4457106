import { describe, expect, it } from 'vitest';
import { EngineError } from '../core/errors.ts';
import { mul } from '../graph/ops/elementwise.ts';
import { type Program, trace } from '../graph/program.ts';
import type { Executable } from './engine.ts';
import { createInterpreter } from './interpreter.ts';
import { createProgramCache } from './program-cache.ts';

const times = (factor: number): Program =>
  trace({ x: { dtype: 'float32', shape: [1] } }, ({ x }) => ({ y: mul(x, factor) }));
const x = Float64Array.of(3);
const isDisposed = (executable: Executable): boolean => {
  try {
    executable.bind({ x });
    return false;
  } catch (error) {
    expect((error as Error).message).toContain('disposed');
    return true;
  }
};
/** Lets the disposal of an executable, which waits for its compilation, happen. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('createProgramCache', () => {
  it('compiles once per signature and names the executable after it', async () => {
    const cache = createProgramCache(createInterpreter(), { limit: 2 });
    let built = 0;
    const build = (): Program => {
      built++;
      return times(2);
    };
    const [first, second] = await Promise.all([cache.get('a', build), cache.get('a', build)]);
    expect(first).toBe(second);
    expect([built, first.name, cache.size]).toEqual([1, 'a', 1]);
    expect([...(await first.run({ x })).y!.data]).toEqual([6]);
  });

  it('disposes the least recently used beyond the limit, and only that', async () => {
    const cache = createProgramCache(createInterpreter(), { limit: 2 });
    const a = await cache.get('a', () => times(1));
    const b = await cache.get('b', () => times(2));
    await cache.get('a', () => times(1));
    const c = await cache.get('c', () => times(3));
    await settled();
    expect([a, b, c].map(isDisposed)).toEqual([false, true, false]);
    expect(cache.size).toBe(2);
    const again = await cache.get('b', () => times(2));
    expect(again).not.toBe(b);
    await settled();
    expect([a, again, c].map(isDisposed)).toEqual([true, false, false]);
  });

  it('tries again after a program that did not compile', async () => {
    const cache = createProgramCache(createInterpreter(), { limit: 2 });
    await expect(cache.get('a', () => times(1), { constants: { z: x } })).rejects.toThrow(EngineError);
    expect(cache.size).toBe(0);
    expect((await cache.get('a', () => times(1))).name).toBe('a');
  });

  it('disposes all with itself and then refuses', async () => {
    const cache = createProgramCache(createInterpreter(), { limit: 3 });
    const executables = [await cache.get('a', () => times(1)), await cache.get('b', () => times(2))];
    cache.dispose();
    await settled();
    expect(executables.map(isDisposed)).toEqual([true, true]);
    expect(cache.size).toBe(0);
    await expect(cache.get('a', () => times(1))).rejects.toThrow(/disposed/);
  });

  it('refuses a limit that keeps nothing', () => {
    for (const limit of [0, -1, 1.5, Number.NaN]) {
      expect(() => createProgramCache(createInterpreter(), { limit })).toThrow(/positive integer/);
    }
  });
});
