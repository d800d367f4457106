/**
 * All weights of a model in one block of shared memory.
 *
 * Training, scoring and generation bind the same memory, so nothing is copied between them; worker threads see it too.
 * Gradients and optimizer moments are blocks of the same layout, so that clipping and updates are single passes over
 * `flat`.
 */
import { ConfigError, ShapeError } from '../core/errors.ts';
import type { Rng } from '../core/rng.ts';
import { formatShape, type Shape, sizeOf } from '../core/shapes.ts';
import { sharedVector } from '../core/shared-vector.ts';
import type { QuantizedLayout } from '../graph/ops/quantized.ts';
import type { LinearLayout } from './linear.ts';

/** How a new model draws a parameter: around 0, with standard deviation `std`, or evenly in ±`bound`. */
export type Initializer =
  | { readonly kind: 'normal'; readonly std: number }
  | { readonly kind: 'uniform'; readonly bound: number }
  | { readonly kind: 'zeros' }
  | { readonly kind: 'ones' };

/** One weight tensor. Names are those of the Hugging Face checkpoint, such as `model.norm.weight`. */
export interface ParameterSpec {
  readonly name: string;
  readonly shape: Shape;
  /** Leave out for tensors that are always loaded; `initialize` refuses those. */
  readonly init?: Initializer;
  /** How the matrix of a linear layer is stored; left out for everything else. Adapters attach to these. */
  readonly linear?: LinearLayout;
  /** Not trained: it has no gradient and no optimizer state. */
  readonly frozen?: boolean;
  /** Element type; float32 when left out. Others are frozen. */
  readonly dtype?: 'uint8';
  /** The weight that packed integers stand for, and how they are packed. */
  readonly holds?: ParameterSpec;
  readonly quantized?: QuantizedLayout;
}

/** Every tensor starts on such a boundary: a cache line, and the widest vector register. */
const ALIGNMENT_FLOATS = 64 / Float32Array.BYTES_PER_ELEMENT;

/** Arrays of frozen tensors by name: views of other parameters, which are shared and not copied. */
export type FrozenArrays = Readonly<Record<string, Float32Array | Uint8Array>>;

/**
 * Named float32 tensors in one contiguous stretch of shared memory, in the order of their specs. Each starts at a
 * multiple of 64 bytes; the gaps are zero and must stay zero (a gradient, a moment or an update of 0 keeps them so).
 *
 * They may lie over frozen ones in other memory: `arrays`, `view` and `has` know both, and everything that trains
 * (`specs`, `flat`, `count`, `like`) only what is trained.
 */
export class Parameters {
  readonly specs: readonly ParameterSpec[];
  /** The memory of `flat`, and of vectors beside it. */
  readonly buffer: SharedArrayBuffer;
  /** The whole vector with the zeros between tensors. A norm or a sum over it is that over all parameters. */
  readonly flat: Float32Array;
  /** Number of parameters, without the zeros between tensors. */
  readonly count: number;
  readonly #layout: Layout;
  readonly #views = new Map<string, Float32Array>();
  readonly #frozen: FrozenArrays;

  /** Use `allocateParameters`. The vector goes into the memory of `beside` where that is possible. */
  constructor(layout: Layout, beside?: Float32Array, frozen: FrozenArrays = {}) {
    this.#frozen = frozen;
    this.specs = layout.specs;
    this.count = layout.count;
    this.#layout = layout;
    this.flat = sharedVector(layout.length, beside);
    this.buffer = this.flat.buffer as SharedArrayBuffer;
    for (const [index, { name }] of layout.specs.entries()) {
      const start = layout.starts[index]!;
      this.#views.set(name, this.flat.subarray(start, start + layout.sizes[index]!));
    }
  }

  has(name: string): boolean {
    return this.#views.has(name) || Object.hasOwn(this.#frozen, name);
  }

  /** Memory of one tensor, row-major. Throws `ShapeError` for an unknown name. */
  view(name: string): Float32Array {
    const view = this.#views.get(name) ?? this.#frozen[name];
    if (view instanceof Uint8Array) {
      throw new ShapeError({
        where: `Parameters.view(${JSON.stringify(name)})`,
        expected: 'a tensor of float32 numbers',
        received: 'packed integers',
        fix: 'Read them from arrays()',
      });
    }
    if (view === undefined) {
      throw new ShapeError({
        where: `Parameters.view(${JSON.stringify(name)})`,
        expected: `one of ${this.specs.length} parameters (${preview(this.specs.map((spec) => spec.name))})`,
        received: 'an unknown name',
        fix: 'Use a name from parameters.specs',
      });
    }
    return view;
  }

  /** Views of all tensors by name: what `Executable.bind` takes. */
  arrays(): Record<string, Float32Array | Uint8Array> {
    return { ...this.#frozen, ...Object.fromEntries(this.#views) };
  }

  /** Bytes of the frozen tensors. */
  get frozenBytes(): number {
    return Object.values(this.#frozen).reduce((total, { byteLength }) => total + byteLength, 0);
  }

  /** New zeros for what is trained, for gradients; in the same memory, which makes updates fast. */
  like(): Parameters {
    return new Parameters(this.#layout, this.flat);
  }

  /** New memory with the same numbers for what is trained, over the same frozen arrays. */
  copy(): Parameters {
    const copy = new Parameters(this.#layout, this.flat, this.#frozen);
    copy.flat.set(this.flat);
    return copy;
  }

  /** Copies all numbers of a block with the same layout. Throws `ShapeError` when the layouts differ. */
  copyFrom(other: Parameters): void {
    if (other.#layout !== this.#layout) {
      const index = firstDifference(this.specs, other.specs);
      if (index !== undefined) {
        throw new ShapeError({
          where: 'Parameters.copyFrom',
          expected: describe(this.specs[index]),
          received: describe(other.specs[index]),
          fix: 'Copy between parameters of the same model configuration',
        });
      }
    }
    this.flat.set(other.flat);
  }
}

/**
 * Zeroed memory for tensors, in the order given.
 *
 * @throws ShapeError when a name comes twice or a dimension is not a non-negative integer.
 * @throws EngineError when the memory cannot be had.
 * @example
 * const parameters = allocateParameters([{ name: 'norm.weight', shape: [8], init: { kind: 'ones' } }]);
 * parameters.view('norm.weight').length; // 8, in a block of 64 bytes
 */
export function allocateParameters(specs: readonly ParameterSpec[]): Parameters {
  return new Parameters(layOut(specs));
}

/**
 * Zeroed memory for the specs that are not `frozen`, over arrays of those that are.
 *
 * @param frozen arrays of at least the frozen specs
 * @throws ShapeError as `allocateParameters`, and when a frozen array is missing or of another size
 */
export function allocateOver(specs: readonly ParameterSpec[], frozen: FrozenArrays): Parameters {
  const fixed = specs.filter((spec) => spec.frozen === true);
  for (const { name, shape } of fixed) {
    const size = frozen[name]?.length;
    if (size === sizeOf(shape)) continue;
    throw new ShapeError({
      where: `allocateOver(${name})`,
      expected: `an array of ${sizeOf(shape)} numbers for shape ${formatShape(shape)}`,
      received: size === undefined ? 'none' : `${size}`,
      fix: 'Pass the parameters of the base model',
    });
  }
  return new Parameters(
    layOut(specs.filter((spec) => spec.frozen !== true)),
    undefined,
    Object.fromEntries(fixed.map(({ name }) => [name, frozen[name]!])),
  );
}

/**
 * Draws every parameter by its initializer. Each tensor draws from the stream of its own
 * name, so that adding or reordering tensors leaves the others as they were.
 *
 * @param specs those to draw; all when left out
 * @throws ConfigError when a tensor has no initializer.
 * @example initialize(parameters, createRng(0).split('initialize'));
 */
export function initialize(
  parameters: Parameters,
  rng: Pick<Rng, 'split'>,
  specs: readonly ParameterSpec[] = parameters.specs,
): void {
  for (const { name, init } of specs) {
    const view = parameters.view(name);
    switch (init?.kind) {
      case 'normal':
        rng.split(name).fillNormal(view, init.std);
        break;
      case 'uniform': {
        const stream = rng.split(name);
        for (let i = 0; i < view.length; i++) view[i] = init.bound * (2 * stream.uniform(i) - 1);
        break;
      }
      case 'zeros':
        view.fill(0);
        break;
      case 'ones':
        view.fill(1);
        break;
      case undefined:
        throw new ConfigError({
          where: `initialize(${name})`,
          expected: 'a parameter with an initializer',
          received: 'none',
          fix: 'Give its spec an `init`, or load the model from a checkpoint',
        });
    }
  }
}

interface Layout {
  readonly specs: readonly ParameterSpec[];
  /** First element of each tensor in the vector. */
  readonly starts: readonly number[];
  readonly sizes: readonly number[];
  readonly count: number;
  /** Elements of the vector with the zeros between tensors. */
  readonly length: number;
}

function layOut(specs: readonly ParameterSpec[]): Layout {
  const seen = new Set<string>();
  const starts: number[] = [];
  const sizes: number[] = [];
  let count = 0;
  let length = 0;
  for (const { name, shape } of specs) {
    const where = `allocateParameters(${name})`;
    if (seen.has(name)) {
      throw new ShapeError({
        where,
        expected: 'distinct names',
        received: 'this one twice',
        fix: 'Name it once',
      });
    }
    if (shape.some((dimension) => !Number.isInteger(dimension) || dimension < 0)) {
      throw new ShapeError({
        where,
        expected: 'non-negative integer dimensions',
        received: formatShape(shape),
        fix: 'Check the sizes in the model configuration',
      });
    }
    seen.add(name);
    const size = sizeOf(shape);
    starts.push(length);
    sizes.push(size);
    count += size;
    length += Math.ceil(size / ALIGNMENT_FLOATS) * ALIGNMENT_FLOATS;
  }
  return { specs: [...specs], starts, sizes, count, length };
}

/** Index of the first spec whose name or shape differs; undefined when the layouts are the same. */
function firstDifference(a: readonly ParameterSpec[], b: readonly ParameterSpec[]): number | undefined {
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    if (describe(a[index]) !== describe(b[index])) return index;
  }
  return undefined;
}

function describe(spec: ParameterSpec | undefined): string {
  return spec === undefined ? 'no further parameter' : `${spec.name} ${formatShape(spec.shape)}`;
}

function preview(names: readonly string[]): string {
  return names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')}, …`;
}
