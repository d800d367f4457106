/** Float32 vectors in memory that engines, worker threads and WebAssembly kernels can all address. */
import { EngineError } from './errors.ts';

/** A WebAssembly memory, as far as it is used here (the types that come with Node leave it out). */
export interface WasmMemory {
  readonly buffer: SharedArrayBuffer;
  grow(pages: number): number;
}

declare const WebAssembly: {
  Memory: new (limits: { initial: number; maximum: number; shared: true }) => WasmMemory;
};

const PAGE = 65_536;
/** One page below 4 GiB, so that every address and every end of a vector is a 32-bit number. */
const MAXIMUM_PAGES = 65_535;
/** Each WebAssembly memory reserves gigabytes of addresses (not memory): not worth it for small vectors. */
const SMALLEST_BYTES = 1 << 20;
const ALIGNMENT = 64;

interface Arena {
  readonly memory: WasmMemory;
  used: number;
}

/** By every buffer that the memory has had: it gets a new one when it grows, and the old ones stay valid. */
const arenas = new WeakMap<ArrayBufferLike, Arena>();

/**
 * Zeroed float32 numbers in shared memory, starting on a 64-byte boundary.
 *
 * Vectors of 1 MiB and more live in WebAssembly memory. With `beside`, the new vector goes into the same memory when
 * it fits into its 4 GiB: kernels that read both then need no copies (docs/decisions/optimizer-loop.md). All vectors
 * of a memory are freed together.
 *
 * @param length number of float32 elements
 * @throws EngineError when the memory cannot be had
 */
export function sharedVector(length: number, beside?: Float32Array): Float32Array {
  const bytes = length * Float32Array.BYTES_PER_ELEMENT;
  try {
    if (bytes >= SMALLEST_BYTES && bytes <= MAXIMUM_PAGES * PAGE) {
      const vector = take(beside && arenas.get(beside.buffer), length) ?? take(createArena(), length);
      if (vector !== undefined) return vector;
    }
    return new Float32Array(new SharedArrayBuffer(bytes));
  } catch (cause) {
    throw new EngineError({
      where: 'sharedVector',
      expected: `${(bytes / 2 ** 30).toFixed(2)} GiB of memory`,
      received: 'a refusal by the runtime',
      fix: 'Use a smaller model or a machine with more memory',
      cause,
    });
  }
}

/** The WebAssembly memory that holds a vector made by `sharedVector`, or undefined when it lies elsewhere. */
export function wasmMemoryOf(vector: Float32Array): WasmMemory | undefined {
  return arenas.get(vector.buffer)?.memory;
}

/** Undefined where the process may not reserve that many addresses; the vector is then an ordinary shared buffer. */
function createArena(): Arena | undefined {
  try {
    return { memory: new WebAssembly.Memory({ initial: 0, maximum: MAXIMUM_PAGES, shared: true }), used: 0 };
  } catch {
    return undefined;
  }
}

/** The next free place of an arena; undefined when it has no room left. */
function take(arena: Arena | undefined, length: number): Float32Array | undefined {
  if (arena === undefined) return undefined;
  const start = Math.ceil(arena.used / ALIGNMENT) * ALIGNMENT;
  const end = start + length * Float32Array.BYTES_PER_ELEMENT;
  if (end > MAXIMUM_PAGES * PAGE) return undefined;
  const missing = Math.ceil((end - arena.memory.buffer.byteLength) / PAGE);
  if (missing > 0) arena.memory.grow(missing);
  arena.used = end;
  arenas.set(arena.memory.buffer, arena);
  return new Float32Array(arena.memory.buffer, start, length);
}
