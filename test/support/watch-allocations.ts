/** Every request for memory by a length, while a function runs: arrays, typed arrays and buffers. */

const sizes: Readonly<Record<string, number>> = {
  Array: 8,
  ArrayBuffer: 1,
  Uint8Array: 1,
  Int8Array: 1,
  Uint16Array: 2,
  Int16Array: 2,
  Int32Array: 4,
  Uint32Array: 4,
  Float32Array: 4,
  Float64Array: 8,
  BigInt64Array: 8,
  BigUint64Array: 8,
};

type Constructor = abstract new (...args: unknown[]) => object;

/**
 * Replaces the global constructors by ones that note the lengths they are given.
 *
 * @returns `largest`: bytes of the largest single request since the last call, and `restore`
 */
export function watchAllocations(): { largest(): number; restore(): void } {
  let most = 0;
  const scope = globalThis as unknown as Record<string, Constructor>;
  const originals = Object.fromEntries(Object.keys(sizes).map((name) => [name, scope[name]!]));
  for (const [name, size] of Object.entries(sizes)) {
    const note = (args: unknown[]): void => {
      if (typeof args[0] === 'number' && args.length === 1) most = Math.max(most, args[0] * size);
    };
    scope[name] = new Proxy(originals[name]!, {
      construct(target, args, self) {
        note(args);
        return Reflect.construct(target, args, self === scope[name] ? target : self) as object;
      },
      apply(target, self, args) {
        note(args);
        return Reflect.apply(target as unknown as () => unknown, self, args);
      },
    });
  }
  return {
    largest() {
      const found = most;
      most = 0;
      return found;
    },
    restore: () => Object.assign(scope, originals),
  };
}
