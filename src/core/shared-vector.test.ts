import { describe, expect, it } from 'vitest';
import { EngineError } from './errors.ts';
import { sharedVector, wasmMemoryOf } from './shared-vector.ts';

const large = 1 << 18; // 1 MiB

describe('sharedVector', () => {
  it('gives zeros in shared memory, with no WebAssembly memory for small vectors', () => {
    const small = sharedVector(5);
    expect([...small]).toEqual([0, 0, 0, 0, 0]);
    expect(small.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(wasmMemoryOf(small)).toBeUndefined();
    expect(sharedVector(large - 1, sharedVector(large)).buffer.byteLength).toBe(4 * (large - 1));
    expect(sharedVector(0).length).toBe(0);
  });

  it('puts a vector beside another: same memory, apart, aligned, zero, and the first stays valid', () => {
    const first = sharedVector(large + 1);
    const view = first.subarray(3, 9);
    first.fill(1);
    const second = sharedVector(large + 7, first);
    const third = sharedVector(large, view);
    const memory = wasmMemoryOf(first);
    expect(memory).toBeDefined();
    expect(wasmMemoryOf(second)).toBe(memory);
    expect(wasmMemoryOf(third)).toBe(memory);
    for (const vector of [first, second, third]) expect(vector.byteOffset % 64).toBe(0);
    expect(second.byteOffset).toBeGreaterThanOrEqual(first.byteOffset + first.byteLength);
    expect(third.byteOffset).toBeGreaterThanOrEqual(second.byteOffset + second.byteLength);
    expect(second.every((x) => x === 0)).toBe(true);
    second.fill(2);
    third.fill(3);
    expect(first.every((x) => x === 1)).toBe(true);
    // The memory's own view of the first vector, through the buffer it has now.
    expect(new Float32Array(memory!.buffer, first.byteOffset, 1)[0]).toBe(1);
    expect(wasmMemoryOf(sharedVector(large))).not.toBe(memory);
  });

  it('goes elsewhere when 4 GiB are full', () => {
    // Pages that nobody writes cost no memory.
    const most = sharedVector((2 ** 32 - 2 * 65_536) / 4);
    const next = sharedVector(large, most);
    expect(wasmMemoryOf(next)).toBeDefined();
    expect(wasmMemoryOf(next)).not.toBe(wasmMemoryOf(most));
  });

  it('says how much was asked for when there is no such memory', () => {
    expect(() => sharedVector(2 ** 50)).toThrow(EngineError);
    expect(() => sharedVector(2 ** 50)).toThrow('expected 4194304.00 GiB of memory');
  });
});
