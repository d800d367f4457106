/**
 * The inner loops over flat vectors, in WebAssembly SIMD: four floats per instruction, no dependence on a tool chain.
 * Vectors of one WebAssembly memory (`sharedVector(length, beside)`) are worked on in place; others pass through a
 * small scratch memory block by block, at about a third of the speed (docs/decisions/optimizer-loop.md). Both ways do
 * the same operations in the same order: results are equal to the bit.
 */
import { EngineError } from '../core/errors.ts';
import { sharedVector, type WasmMemory, wasmMemoryOf } from '../core/shared-vector.ts';
import {
  assemble,
  type Code,
  code,
  type FunctionBuilder,
  type FunctionSource,
  type Local,
} from './assembler.ts';

declare const WebAssembly: {
  Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  Instance: new (
    module: object,
    imports: { readonly host: { readonly memory: WasmMemory } },
  ) => { readonly exports: unknown };
};

const { i32, f32x4, f64, f64x2, v128, doWhile } = code;

/**
 * Numbers that form one partial sum, and that pass through the scratch memory at a time: four vectors of a block
 * (128 KiB) stay in a core's second-level cache.
 */
const BLOCK = 8192;
/** Numbers per call on vectors in place: V8 replaces its first, slow code for a kernel between calls only. */
const IN_PLACE = 1 << 16;

/** Vectors that each kernel reads, how many of them (the last ones) it writes, and its scalars. */
const kernels = {
  adam: { vectors: 4, written: 3, scalars: 10 },
  momentum: { vectors: 3, written: 2, scalars: 6 },
  descend: { vectors: 2, written: 1, scalars: 3 },
  add: { vectors: 2, written: 1, scalars: 0 },
} as const;

export type KernelName = keyof typeof kernels;

/**
 * Applies a kernel to [start, end) of vectors of equal length. With numbers rounded to float32 at each operation:
 *
 * - `adam` (g; w, m, v) with (s, c, β₁, β₁', β₂, β₂', d, η, r, ε): g' = s·g + c·w, m = β₁m + β₁'g', v = β₂v + β₂'g'²,
 *   w = w − (d·w + η·m / (√v·r + ε)).
 * - `momentum` (g; w, b) with (s, c, μ, η, p, q): g' = s·g + c·w, b = μb + g', w = w − η(p·g' + q·b).
 * - `descend` (g; w) with (s, c, η): w = w − η(s·g + c·w).
 * - `add` (x; y): y = y + x.
 *
 * Vectors after the semicolon are changed in place.
 */
export function applyKernel(
  name: KernelName,
  vectors: readonly Float32Array[],
  { start, end }: { readonly start: number; readonly end: number },
  scalars: readonly number[] = [],
): void {
  const memory = commonMemory(vectors);
  const whole = memory === undefined ? start : end - ((end - start) % 4);
  if (memory !== undefined) {
    const kernel = exportsOf(memory)[name];
    for (let from = start; from < whole; from += IN_PLACE) {
      const addresses = vectors.map((vector) => vector.byteOffset + 4 * from);
      kernel(...addresses, addresses[0]! + 4 * Math.min(IN_PLACE, whole - from), ...scalars);
    }
  }
  const scratch = scratchMemory();
  const kernel = scratch.exports[name];
  const firstWritten = vectors.length - kernels[name].written;
  for (let from = whole; from < end; from += BLOCK) {
    const to = Math.min(from + BLOCK, end);
    const parts = vectors.map((vector) => vector.subarray(from, to));
    for (const [index, part] of parts.entries()) scratch.blocks[index]!.set(part);
    // Past the end of a short block the kernel rounds up to whole vectors of four; what it makes there is dropped.
    kernel(
      ...scratch.addresses.slice(0, vectors.length),
      scratch.addresses[0]! + 4 * (to - from),
      ...scalars,
    );
    for (const [index, part] of parts.entries()) {
      if (index >= firstWritten) part.set(scratch.blocks[index]!.subarray(0, to - from));
    }
  }
}

/**
 * Σ x² in float64. Order: in each block of 8192, eight sums over the elements of equal index modulo 8, added pairwise;
 * then the blocks from first to last. It depends on nothing but the numbers.
 */
export function sumOfSquares(vector: Float32Array): number {
  const memory = wasmMemoryOf(vector);
  const inPlace = memory === undefined ? undefined : exportsOf(memory);
  const scratch = scratchMemory();
  let total = 0;
  for (let from = 0; from < vector.length; from += BLOCK) {
    const size = Math.min(BLOCK, vector.length - from);
    if (inPlace !== undefined && size === BLOCK) {
      const address = vector.byteOffset + 4 * from;
      total += inPlace.sumOfSquares(address, address + 4 * BLOCK);
    } else {
      const block = scratch.blocks[0]!;
      block.set(vector.subarray(from, from + size));
      block.fill(0, size);
      total += scratch.exports.sumOfSquares(scratch.addresses[0]!, scratch.addresses[0]! + 4 * BLOCK);
    }
  }
  return total;
}

function commonMemory(vectors: readonly Float32Array[]): WasmMemory | undefined {
  const memory = wasmMemoryOf(vectors[0]!);
  return vectors.every((vector) => wasmMemoryOf(vector) === memory) ? memory : undefined;
}

type Kernel = (...numbers: readonly number[]) => void;
interface Exports extends Readonly<Record<KernelName, Kernel>> {
  sumOfSquares(start: number, end: number): number;
}

interface Scratch {
  readonly exports: Exports;
  readonly blocks: readonly Float32Array[];
  readonly addresses: readonly number[];
}

/** One instance per memory, one compiled module in all, made when first used. */
const instances = new WeakMap<WasmMemory, Exports>();
let module: object | undefined;
let scratch: Scratch | undefined;

function exportsOf(memory: WasmMemory): Exports {
  let exports = instances.get(memory);
  if (exports === undefined) {
    module ??= new WebAssembly.Module(assemble(sources()));
    exports = new WebAssembly.Instance(module, { host: { memory } }).exports as Exports;
    instances.set(memory, exports);
  }
  return exports;
}

function scratchMemory(): Scratch {
  if (scratch === undefined) {
    const all = sharedVector(1 << 18);
    const memory = wasmMemoryOf(all);
    if (memory === undefined) {
      throw new EngineError({
        where: 'optimizer',
        expected: 'a shared WebAssembly memory',
        received: 'a refusal by the runtime',
        fix: 'Let the process reserve more addresses (ulimit -v unlimited)',
      });
    }
    const blocks = Array.from({ length: 4 }, (_, index) => all.subarray(index * BLOCK, (index + 1) * BLOCK));
    const exports = exportsOf(memory);
    scratch = { exports, blocks, addresses: blocks.map((block) => block.byteOffset) };
  }
  return scratch;
}

/** WebAssembly of all kernels. */
function sources(): FunctionSource[] {
  return [
    elementwise(
      'adam',
      ([g, w, m, v], [scale, couple, beta1, keep1, beta2, keep2, decay, rate, root, epsilon], keep) => {
        const weight = keep(w!);
        const gradient = keep(f32x4.add(f32x4.mul(scale!, g!), f32x4.mul(couple!, weight.get)));
        const first = keep(f32x4.add(f32x4.mul(beta1!, m!), f32x4.mul(keep1!, gradient.get)));
        const square = f32x4.mul(gradient.get, gradient.get);
        const second = keep(f32x4.add(f32x4.mul(beta2!, v!), f32x4.mul(keep2!, square)));
        const denominator = f32x4.add(f32x4.mul(f32x4.sqrt(second.get), root!), epsilon!);
        const change = f32x4.add(
          f32x4.mul(decay!, weight.get),
          f32x4.div(f32x4.mul(rate!, first.get), denominator),
        );
        return [f32x4.sub(weight.get, change), first.get, second.get];
      },
    ),
    elementwise('momentum', ([g, w, b], [scale, couple, mu, rate, ofGradient, ofBuffer], keep) => {
      const weight = keep(w!);
      const gradient = keep(f32x4.add(f32x4.mul(scale!, g!), f32x4.mul(couple!, weight.get)));
      const buffer = keep(f32x4.add(f32x4.mul(mu!, b!), gradient.get));
      const direction = f32x4.add(f32x4.mul(ofGradient!, gradient.get), f32x4.mul(ofBuffer!, buffer.get));
      return [f32x4.sub(weight.get, f32x4.mul(rate!, direction)), buffer.get];
    }),
    elementwise('descend', ([g, w], [scale, couple, rate], keep) => {
      const weight = keep(w!);
      const gradient = f32x4.add(f32x4.mul(scale!, g!), f32x4.mul(couple!, weight.get));
      return [f32x4.sub(weight.get, f32x4.mul(rate!, gradient))];
    }),
    elementwise('add', ([x, y]) => [f32x4.add(y!, x!)]),
    {
      name: 'sumOfSquares',
      parameters: ['i32', 'i32'],
      result: 'f64',
      body([pointer, end], builder) {
        const sums = [0, 1, 2, 3].map(() => builder.local('v128'));
        const pair = builder.local('v128');
        return [
          ...doWhile(
            [
              ...sums.flatMap((sum, index) => [
                ...pair.set(f64x2.promoteLow(v128.load64(pointer!.get, 8 * index))),
                ...sum.set(f64x2.add(sum.get, f64x2.mul(pair.get, pair.get))),
              ]),
              ...pointer!.set(i32.add(pointer!.get, i32.const(32))),
            ],
            i32.lessThan(pointer!.get, end!.get),
          ),
          ...pair.set(
            f64x2.add(f64x2.add(sums[0]!.get, sums[1]!.get), f64x2.add(sums[2]!.get, sums[3]!.get)),
          ),
          ...f64.add(f64x2.extract(pair.get, 0), f64x2.extract(pair.get, 1)),
        ];
      },
    },
  ];
}

/**
 * A kernel that goes over its vectors four elements at a time. Its parameters are the address of each vector, the
 * address where the first vector ends, and the scalars.
 *
 * @param build from the loaded vectors and the scalars in all four lanes to the new values of the written vectors;
 *   `keep` stores a value that is used more than once.
 */
function elementwise(
  name: KernelName,
  build: (
    vectors: readonly Code[],
    scalars: readonly Code[],
    keep: (value: Code) => Local,
  ) => readonly Code[],
): FunctionSource {
  const { vectors, written, scalars } = kernels[name];
  return {
    name,
    parameters: [...new Array<'i32'>(vectors + 1).fill('i32'), ...new Array<'f32'>(scalars).fill('f32')],
    body(parameters, builder: FunctionBuilder) {
      const pointers = parameters.slice(0, vectors);
      const end = parameters[vectors]!;
      const splats = parameters
        .slice(vectors + 1)
        .map((scalar) => ({ scalar, lanes: builder.local('v128') }));
      const steps: number[] = [];
      const keep = (value: Code): Local => {
        const kept = builder.local('v128');
        steps.push(...kept.set(value));
        return kept;
      };
      const results = build(
        pointers.map((pointer) => v128.load(pointer.get)),
        splats.map(({ lanes }) => lanes.get),
        keep,
      );
      const stores = results.flatMap((result, index) =>
        v128.store(pointers[vectors - written + index]!.get, result),
      );
      const advance = pointers.flatMap((pointer) => pointer.set(i32.add(pointer.get, i32.const(16))));
      return [
        ...splats.flatMap(({ scalar, lanes }) => lanes.set(f32x4.splat(scalar.get))),
        ...doWhile([...steps, ...stores, ...advance], i32.lessThan(pointers[0]!.get, end.get)),
      ];
    },
  };
}
