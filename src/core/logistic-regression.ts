/** Logistic regression of two classes on vectors, with an intercept and an L2 penalty, in float64. */
import { DataError, NumericError } from './errors.ts';

/** A linear classifier: P(positive | x) = σ(weights · x + intercept). */
export interface LogisticClassifier {
  readonly weights: Float64Array; // [D]
  readonly intercept: number;
}

export interface LogisticOptions {
  /** C: multiplies the losses against the penalty ½‖w‖²; larger fits closer. Default 1. */
  readonly inversePenalty?: number;
}

/**
 * The w and b that minimise ½‖w‖² + C Σᵢ sᵢ · softplus(−yᵢ(w·xᵢ + b)), with y = ±1 and s = n / (2 · rows of the class), so that
 * both classes weigh the same. By Newton's method; each step solves for its direction with conjugate gradients, which need products
 * with the Hessian and never the D × D matrix itself.
 *
 * @param features n vectors [D]
 * @param labels n, true = the positive class
 * @throws DataError when a class has no row, or vectors differ in length; NumericError when a number is not finite
 * @source scikit-learn `LogisticRegression(class_weight="balanced")`, whose optimum this is
 * @example
 * fitLogistic([[0], [1], [2], [3]], [false, false, true, true]); // weights [0.958], intercept −1.437
 */
export function fitLogistic(
  features: readonly ArrayLike<number>[],
  labels: readonly boolean[],
  { inversePenalty = 1 }: LogisticOptions = {},
): LogisticClassifier {
  const size = features[0]?.length ?? 0;
  const scales = balanced(labels).map((scale) => scale * inversePenalty);
  checkFeatures(features, labels, size);
  /** w with b at the end. */
  let point = new Float64Array(size + 1);
  let current = evaluate(point);
  for (let round = 0; round < MOST_STEPS && norm(current.gradient) > current.tolerance; round++) {
    const direction = conjugateGradient(current);
    const slope = dot(current.gradient, direction);
    let [length, next] = [1, current];
    let moved = point;
    for (; length > 1e-10; length /= 2) {
      moved = point.map((x, i) => x + length * direction[i]!);
      next = evaluate(moved);
      if (next.value <= current.value + 1e-4 * length * slope) break;
    }
    // No step lowers the value any more: the optimum, up to rounding.
    if (length <= 1e-10 || next.value >= current.value) break;
    [point, current] = [moved, next];
  }
  return { weights: point.slice(0, size), intercept: point[size]! };

  function evaluate(at: Float64Array) {
    let value = 0;
    const gradient = new Float64Array(size + 1);
    /** s σ(z) σ(−z): the weight of a row in the Hessian. */
    const curvature = new Float64Array(features.length);
    let scale = 0;
    for (const [row, x] of features.entries()) {
      const sign = labels[row] ? 1 : -1;
      const margin = sign * linear(at, x);
      const miss = Math.exp(-softplus(margin)); // σ(−margin)
      value += scales[row]! * softplus(-margin);
      addScaled(gradient, x, -sign * scales[row]! * miss);
      curvature[row] = scales[row]! * miss * (1 - miss);
      scale += scales[row]!;
    }
    for (let i = 0; i < size; i++) {
      value += 0.5 * at[i]! ** 2;
      gradient[i]! += at[i]!;
    }
    return { value, gradient, curvature, tolerance: 1e-11 * scale };
  }

  /** H⁻¹ · (−gradient), with H = diag(1, …, 1, 0) + Σ curvature · x xᵀ, x with a 1 at its end. */
  function conjugateGradient({ gradient, curvature }: ReturnType<typeof evaluate>): Float64Array {
    const times = (v: Float64Array): Float64Array => {
      const product = v.slice();
      product[size] = 0;
      for (const [row, x] of features.entries()) addScaled(product, x, curvature[row]! * linear(v, x));
      return product;
    };
    const direction = new Float64Array(size + 1);
    const residual = gradient.map((x) => -x);
    let search = residual.slice();
    let squares = dot(residual, residual);
    const enough = 1e-20 * squares;
    for (let round = 0; round < 4 * (size + 1) && squares > enough; round++) {
      const product = times(search);
      const step = squares / dot(search, product);
      for (let i = 0; i <= size; i++) {
        direction[i]! += step * search[i]!;
        residual[i]! -= step * product[i]!;
      }
      const before = squares;
      squares = dot(residual, residual);
      search = search.map((x, i) => residual[i]! + (squares / before) * x);
    }
    return direction;
  }
}

/** w · x + b: the log-odds of the positive class, nats. */
export function logOdds({ weights, intercept }: LogisticClassifier, x: ArrayLike<number>): number {
  let sum = intercept;
  for (let i = 0; i < weights.length; i++) sum += weights[i]! * x[i]!;
  return sum;
}

const MOST_STEPS = 100;

/** log(1 + eˣ), without overflow. */
const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
const norm = (a: Float64Array): number => Math.sqrt(dot(a, a));

/** The product of x, with a 1 at its end, and v. */
function linear(v: Float64Array, x: ArrayLike<number>): number {
  let sum = v[x.length]!;
  for (let i = 0; i < x.length; i++) sum += v[i]! * x[i]!;
  return sum;
}

/** Adds `factor` · x, with a 1 at its end. */
function addScaled(total: Float64Array, x: ArrayLike<number>, factor: number): void {
  for (let i = 0; i < x.length; i++) total[i]! += factor * x[i]!;
  total[x.length]! += factor;
}

function balanced(labels: readonly boolean[]): number[] {
  const positive = labels.filter(Boolean).length;
  const counts = { true: positive, false: labels.length - positive };
  if (Math.min(counts.true, counts.false) === 0) {
    throw new DataError({
      where: 'fitLogistic',
      expected: 'rows of both classes',
      received: `${counts.true} positive and ${counts.false} negative`,
    });
  }
  return labels.map((label) => labels.length / (2 * counts[label ? 'true' : 'false']));
}

function checkFeatures(
  features: readonly ArrayLike<number>[],
  labels: readonly boolean[],
  size: number,
): void {
  const odd = features.find(({ length }) => length !== size);
  if (odd !== undefined || features.length !== labels.length) {
    throw new DataError({
      where: 'fitLogistic',
      expected: `${labels.length} vectors of ${size} numbers, one for each label`,
      received: odd === undefined ? `${features.length} vectors` : `one of ${odd.length} numbers`,
    });
  }
  const row = features.findIndex((x) => !Array.from(x).every(Number.isFinite));
  if (row >= 0) {
    throw new NumericError({
      where: `fitLogistic, vector ${row + 1}`,
      expected: 'finite numbers',
      received: Array.from(features[row]!).slice(0, 4).join(', '),
    });
  }
}
