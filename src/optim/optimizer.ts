/** Updates of a flat weight vector, each one pass over memory; results are PyTorch's up to float32 rounding. */
import { CheckpointError, ConfigError, ShapeError } from '../core/errors.ts';
import { sharedVector } from '../core/shared-vector.ts';
import { applyKernel } from './kernels.ts';

/** A stretch [start, end) of the flat vector. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

export interface OptimizerStep {
  /** Changed in place. Vectors of another length than the optimizer's `size` throw `ShapeError`. */
  readonly weights: Float32Array;
  /** dL/dw, same layout. Not changed. */
  readonly gradients: Float32Array;
  readonly learningRate: number;
  /** Multiplies the gradients as they are read (clipping). */
  readonly gradientScale: number;
}

/** What has to be stored to continue: the number of steps taken and the moment vectors by name. */
export interface OptimizerState {
  readonly steps: number;
  readonly moments: Readonly<Record<string, Float32Array>>;
}

export interface Optimizer {
  readonly name: string;
  step(update: OptimizerStep): void;
  /** The live vectors, not copies. */
  state(): OptimizerState;
  /** Copies a stored state in. Throws `CheckpointError` when it belongs to another optimizer or model. */
  load(state: OptimizerState): void;
}

interface VectorOptions {
  /** Length of the flat vector. */
  readonly size: number;
  /**
   * The weights, or another vector made by `sharedVector`: the moments are put into the same memory, which makes steps
   * about three times faster. Changes no number.
   */
  readonly beside?: Float32Array;
  /** Weight decay λ; 0 (the default) switches it off. What it multiplies is the optimizer's to say. */
  readonly weightDecay?: number;
  /** Stretches that decay; the whole vector when left out. Usually the matrices, not norms and biases. */
  readonly decayed?: readonly Range[];
}

export interface AdamOptions extends VectorOptions {
  /** β₁, decay of the mean of gradients per step, in [0, 1); default 0.9, as in the paper. */
  readonly beta1?: number;
  /** β₂, decay of the mean of squared gradients per step, in [0, 1); default 0.999, as in the paper. */
  readonly beta2?: number;
  /** ε, added to the root in the denominator, above 0; default 1e-8, as in the paper. */
  readonly epsilon?: number;
}

/**
 * AdamW: weight decay apart from the gradient ("decoupled"). With g the scaled gradient, η the learning rate of the
 * step and t the number of steps taken, this one included:
 *
 *     m ← β₁m + (1 − β₁)g        v ← β₂v + (1 − β₂)g²
 *     w ← w − (η·λ·w + η·m/(1 − β₁ᵗ) / (√v/√(1 − β₂ᵗ) + ε))
 *
 * Weights and moments are float32 and rounded at each operation; factors that are the same for all weights, bias
 * corrections among them, are computed in float64 first. PyTorch multiplies w by 1 − ηλ, rounded to float32, before the
 * update; here the decay joins the update, so that it does not vanish when ηλ is below 2⁻²⁵.
 *
 * @throws ConfigError on a β outside [0, 1), an ε that is 0 in float32, or a negative λ
 * @source Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2, with
 *   the decay multiplied by the learning rate as in PyTorch's `AdamW`
 * @example
 * const optimizer = adamW({ size: 1, weightDecay: 0.1 });
 * optimizer.step({ weights, gradients, learningRate: 0.01, gradientScale: 1 });
 * // weights [2], gradients [-3]: the first step is one learning rate against the sign; 2 − (0.002 − 0.01) = 2.008
 */
export function adamW(options: AdamOptions): Optimizer {
  return adamLike('adamw', options, true);
}

/**
 * Adam: as `adamW`, but weight decay is part of the gradient, g ← g + λw, before the moments.
 *
 * @throws ConfigError as `adamW`
 * @source Kingma & Ba 2015, arXiv:1412.6980, algorithm 1
 */
export function adam(options: AdamOptions): Optimizer {
  return adamLike('adam', options, false);
}

function adamLike(name: string, options: AdamOptions, decoupled: boolean): Optimizer {
  const { size, beside, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 } = options;
  check(name, 'beta1', beta1, 'a number in [0, 1)', beta1 >= 0 && beta1 < 1);
  check(name, 'beta2', beta2, 'a number in [0, 1)', beta2 >= 0 && beta2 < 1);
  // A weight that never had a gradient must get 0 / ε, not 0 / 0.
  check(name, 'epsilon', epsilon, 'a number above 1e-37', epsilon > 1e-37);
  const segments = splitByDecay(name, options);
  const first = sharedVector(size, beside);
  const second = sharedVector(size, beside);
  let steps = 0;
  return {
    name,
    step({ weights, gradients, learningRate, gradientScale }) {
      checkSize(`${name}(weights)`, weights, size);
      checkSize(`${name}(gradients)`, gradients, size);
      steps++;
      const rate = learningRate / (1 - beta1 ** steps);
      const root = 1 / Math.sqrt(1 - beta2 ** steps);
      for (const segment of segments) {
        const lambda = segment.decays ? weightDecay : 0;
        const [couple, decay] = decoupled ? [0, learningRate * lambda] : [lambda, 0];
        applyKernel('adam', [gradients, weights, first, second], segment, [
          ...[gradientScale, couple, beta1, 1 - beta1, beta2, 1 - beta2],
          ...[decay, rate, root, epsilon],
        ]);
      }
    },
    state: () => ({ steps, moments: { first, second } }),
    load(state) {
      copyMoments(name, state, { first, second });
      steps = state.steps;
    },
  };
}

export interface SgdOptions extends VectorOptions {
  /** μ, weight of the running sum of gradients, in [0, 1); default 0: plain gradient descent, without a vector of its own. */
  readonly momentum?: number;
  /** Look ahead along the momentum; default false. */
  readonly nesterov?: boolean;
}

/**
 * Gradient descent with momentum. With g the scaled gradient plus λw:
 *
 *     b ← μb + g (b = 0 before the first step)        w ← w − η·b, or w − η·(g + μb) with `nesterov`
 *
 * @throws ConfigError on a μ outside [0, 1), a negative λ, or `nesterov` without momentum
 * @source Sutskever, Martens, Dahl & Hinton 2013, equations 1–4, in PyTorch's form (η multiplies the buffer, not the
 *   gradient that enters it)
 */
export function sgd(options: SgdOptions): Optimizer {
  const name = 'sgd';
  const { size, beside, momentum = 0, nesterov = false, weightDecay = 0 } = options;
  check(name, 'momentum', momentum, 'a number in [0, 1)', momentum >= 0 && momentum < 1);
  check(name, 'nesterov', nesterov, 'momentum above 0 when it is set', !nesterov || momentum > 0);
  const segments = splitByDecay(name, options);
  const buffer = sharedVector(momentum === 0 ? 0 : size, beside);
  const moments: Record<string, Float32Array> = momentum === 0 ? {} : { momentum: buffer };
  let steps = 0;
  return {
    name,
    step({ weights, gradients, learningRate, gradientScale }) {
      checkSize(`${name}(weights)`, weights, size);
      checkSize(`${name}(gradients)`, gradients, size);
      steps++;
      for (const segment of segments) {
        const couple = segment.decays ? weightDecay : 0;
        if (momentum === 0) {
          applyKernel('descend', [gradients, weights], segment, [gradientScale, couple, learningRate]);
        } else {
          const parts = nesterov ? [1, momentum] : [0, 1];
          const scalars = [gradientScale, couple, momentum, learningRate, ...parts];
          applyKernel('momentum', [gradients, weights, buffer], segment, scalars);
        }
      }
    },
    state: () => ({ steps, moments }),
    load(state) {
      copyMoments(name, state, moments);
      steps = state.steps;
    },
  };
}

/** Adds `part` to `sum`, element by element: gradients of micro-batches. Throws `ShapeError` when lengths differ. */
export function addInto(sum: Float32Array, part: Float32Array): void {
  checkSize('addInto(part)', part, sum.length);
  applyKernel('add', [part, sum], { start: 0, end: sum.length });
}

/** Covers [0, size) by stretches that decay and stretches that do not. */
function splitByDecay(
  name: string,
  { size, weightDecay = 0, decayed = [{ start: 0, end: size }] }: VectorOptions,
): (Range & { readonly decays: boolean })[] {
  check(name, 'weightDecay', weightDecay, 'a number of 0 or more', weightDecay >= 0);
  const segments: (Range & { decays: boolean })[] = [];
  let at = 0;
  for (const { start, end } of weightDecay === 0 ? [] : decayed.toSorted((a, b) => a.start - b.start)) {
    check(name, 'decayed', `[${start}, ${end})`, `stretches within [0, ${size})`, start >= 0 && end <= size);
    if (start > at) segments.push({ start: at, end: start, decays: false });
    if (end > Math.max(start, at)) segments.push({ start: Math.max(start, at), end, decays: true });
    at = Math.max(at, end);
  }
  if (at < size) segments.push({ start: at, end: size, decays: false });
  return segments;
}

function checkSize(where: string, vector: Float32Array, size: number): void {
  if (vector.length === size) return;
  throw new ShapeError({
    where,
    expected: `${size} numbers`,
    received: `${vector.length}`,
    fix: 'Pass whole vectors of one layout',
  });
}

function check(name: string, option: string, received: unknown, expected: string, holds: boolean): void {
  if (holds) return;
  throw new ConfigError({
    where: `${name}(${option})`,
    expected,
    received: String(received),
    fix: 'Change this option of the optimizer',
  });
}

function copyMoments(
  name: string,
  { moments }: OptimizerState,
  own: Readonly<Record<string, Float32Array>>,
): void {
  const describe = (vectors: Readonly<Record<string, Float32Array>>): string =>
    Object.entries(vectors)
      .map(([key, vector]) => `${key}[${vector.length}]`)
      .sort()
      .join(', ') || 'no moments';
  if (describe(moments) !== describe(own)) {
    throw new CheckpointError({
      where: `optimizer ${name}`,
      expected: `a stored state with ${describe(own)}`,
      received: describe(moments),
      fix: 'Resume with the optimizer and model the run was started with',
    });
  }
  for (const [key, vector] of Object.entries(own)) vector.set(moments[key]!);
}
