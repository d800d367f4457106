/** Updates of a flat weight vector. Each is one pass over memory; formulas are those of the papers, equal to PyTorch's. */
import { CheckpointError } from '../core/errors.ts';

/** A stretch [start, end) of the flat vector. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

export interface OptimizerStep {
  /** Changed in place. */
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

export interface AdamOptions {
  /** Length of the flat vector. */
  readonly size: number;
  /** Decay of the mean of gradients; 0.9 in the paper. */
  readonly beta1?: number;
  /** Decay of the mean of squared gradients; 0.999 in the paper. */
  readonly beta2?: number;
  /** Added to the root in the denominator; 1e-8 in the paper. */
  readonly epsilon?: number;
  /** Decoupled (AdamW) or coupled (Adam) weight decay; 0 switches it off. */
  readonly weightDecay?: number;
  /** Stretches that decay; the whole vector when left out. Usually the matrices, not norms and biases. */
  readonly decayed?: readonly Range[];
}

/**
 * AdamW: m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², w ← w − η·λ·w − η·(m/(1−β₁ᵗ)) / (√(v/(1−β₂ᵗ)) + ε).
 * Moments are float32; bias corrections are float64.
 *
 * @source Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2
 */
export function adamW(options: AdamOptions): Optimizer {
  return adamLike('adamw', options, true);
}

/**
 * Adam: as `adamW`, with weight decay added to the gradient (g + λw) before the moments.
 *
 * @source Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1
 */
export function adam(options: AdamOptions): Optimizer {
  return adamLike('adam', options, false);
}

function adamLike(name: string, options: AdamOptions, decoupled: boolean): Optimizer {
  const { size, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 } = options;
  const first = sharedVector(size);
  const second = sharedVector(size);
  const segments = splitByDecay(
    size,
    weightDecay === 0 ? [] : (options.decayed ?? [{ start: 0, end: size }]),
  );
  let steps = 0;
  return {
    name,
    step({ weights, gradients, learningRate, gradientScale }) {
      steps++;
      const rate = learningRate / (1 - beta1 ** steps);
      const root = 1 / Math.sqrt(1 - beta2 ** steps);
      const keep1 = 1 - beta1;
      const keep2 = 1 - beta2;
      for (const { start, end, decays } of segments) {
        const shrink = decays && decoupled ? 1 - learningRate * weightDecay : 1;
        const coupled = decays && !decoupled ? weightDecay : 0;
        for (let i = start; i < end; i++) {
          const w = weights[i]!;
          const g = gradients[i]! * gradientScale + coupled * w;
          const m = beta1 * first[i]! + keep1 * g;
          const v = beta2 * second[i]! + keep2 * g * g;
          first[i] = m;
          second[i] = v;
          weights[i] = w * shrink - (rate * m) / (Math.sqrt(v) * root + epsilon);
        }
      }
    },
    state: () => ({ steps, moments: { first, second } }),
    load(state) {
      copyMoments(name, state, { first, second });
      steps = state.steps;
    },
  };
}

export interface SgdOptions {
  readonly size: number;
  /** Weight of the running sum of gradients; 0 is plain gradient descent. */
  readonly momentum?: number;
  /** Look ahead along the momentum. */
  readonly nesterov?: boolean;
  /** Added to the gradient times the weight. */
  readonly weightDecay?: number;
  readonly decayed?: readonly Range[];
}

/**
 * Gradient descent with momentum: b ← μb + g (b = g at the first step), w ← w − η·b, or w − η·(g + μb) with Nesterov.
 *
 * @source Sutskever et al. 2013, in the form of PyTorch (the learning rate multiplies the buffer)
 */
export function sgd({
  size,
  momentum = 0,
  nesterov = false,
  weightDecay = 0,
  decayed,
}: SgdOptions): Optimizer {
  const buffer = sharedVector(momentum === 0 ? 0 : size);
  const segments = splitByDecay(size, weightDecay === 0 ? [] : (decayed ?? [{ start: 0, end: size }]));
  let steps = 0;
  return {
    name: 'sgd',
    step({ weights, gradients, learningRate, gradientScale }) {
      steps++;
      for (const { start, end, decays } of segments) {
        const decay = decays ? weightDecay : 0;
        for (let i = start; i < end; i++) {
          const g = gradients[i]! * gradientScale + decay * weights[i]!;
          let direction = g;
          if (momentum !== 0) {
            const b = momentum * buffer[i]! + g;
            buffer[i] = b;
            direction = nesterov ? g + momentum * b : b;
          }
          weights[i] = weights[i]! - learningRate * direction;
        }
      }
    },
    state: () => ({ steps, moments: momentum === 0 ? {} : { momentum: buffer } }),
    load(state) {
      copyMoments('sgd', state, momentum === 0 ? {} : { momentum: buffer });
      steps = state.steps;
    },
  };
}

function sharedVector(size: number): Float32Array {
  return new Float32Array(new SharedArrayBuffer(size * Float32Array.BYTES_PER_ELEMENT));
}

/** Covers [0, size) by stretches that decay and stretches that do not. */
function splitByDecay(size: number, decayed: readonly Range[]): (Range & { readonly decays: boolean })[] {
  const segments: (Range & { decays: boolean })[] = [];
  let at = 0;
  for (const { start, end } of [...decayed].sort((a, b) => a.start - b.start)) {
    if (start > at) segments.push({ start: at, end: start, decays: false });
    if (end > Math.max(start, at)) segments.push({ start: Math.max(start, at), end, decays: true });
    at = Math.max(at, end);
  }
  if (at < size) segments.push({ start: at, end: size, decays: false });
  return segments;
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
