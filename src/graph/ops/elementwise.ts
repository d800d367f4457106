/** Elementwise arithmetic, comparison and selection, with NumPy broadcasting. */
import { ShapeError } from '../../core/errors.ts';
import { broadcastShapes, type DType, type Shape, sizeOf } from '../../core/shapes.ts';
import type { Lowering } from '../lowering.ts';
import {
  applyOne,
  type GradientContext,
  type Op,
  type Tensor,
  type TensorType,
  type Value,
} from '../tensor.ts';
import { broadcastIndex, constantLike, mapValue, requireDType, requireSameDType, value } from './common.ts';
import { sumTo } from './reduce.ts';

type None = Record<string, never>;
const none: None = {};

/** A tensor, or a number that takes the dtype of the other operand. */
export type Operand = Tensor | number;

// ---------------------------------------------------------------- unary

interface UnaryRule {
  readonly name: string;
  readonly f: (x: number) => number;
  /** dL/dx from input x, output y and cotangent g; missing = no gradient. */
  readonly df?: (x: Tensor, y: Tensor, g: Tensor) => Tensor;
  readonly lower: string | ((lowering: Lowering, x: string) => string);
  readonly dtypes?: readonly DType[];
}

function unary(rule: UnaryRule): Op<None> {
  const { name, f, df, lower, dtypes = ['float32'] } = rule;
  return {
    name,
    infer([x]) {
      requireDType(name, x!, dtypes);
      return [x!];
    },
    evaluate: ([x]) => [mapValue(x!, f)],
    ...(df === undefined
      ? {}
      : {
          gradient: ({ inputs, outputs, cotangents }: GradientContext<None>) => [
            df(inputs[0]!, outputs[0]!, cotangents[0]!),
          ],
        }),
    lower: (lowering, [x]) =>
      typeof lower === 'string' ? lowering.node(lower, [x!]) : [lower(lowering, x!)],
  };
}

const numeric: readonly DType[] = ['float32', 'int32', 'int64'];

export const negOp = unary({
  name: 'neg',
  f: (x) => -x,
  df: (_x, _y, g) => neg(g),
  lower: 'Neg',
  dtypes: numeric,
});
export const absOp = unary({
  name: 'abs',
  f: Math.abs,
  df: (x, _y, g) => mul(g, sign(x)),
  lower: 'Abs',
  dtypes: numeric,
});
export const signOp = unary({
  name: 'sign',
  f: Math.sign,
  df: (x) => constantLike(x, 0),
  lower: 'Sign',
  dtypes: numeric,
});
export const floorOp = unary({ name: 'floor', f: Math.floor, df: (x) => constantLike(x, 0), lower: 'Floor' });
export const expOp = unary({ name: 'exp', f: Math.exp, df: (_x, y, g) => mul(g, y), lower: 'Exp' });
export const logOp = unary({ name: 'log', f: Math.log, df: (x, _y, g) => div(g, x), lower: 'Log' });
export const sqrtOp = unary({
  name: 'sqrt',
  f: Math.sqrt,
  df: (_x, y, g) => div(mul(g, 0.5), y),
  lower: 'Sqrt',
});
export const reciprocalOp = unary({
  name: 'reciprocal',
  f: (x) => 1 / x,
  df: (_x, y, g) => neg(mul(g, mul(y, y))),
  lower: 'Reciprocal',
});
export const sinOp = unary({ name: 'sin', f: Math.sin, df: (x, _y, g) => mul(g, cos(x)), lower: 'Sin' });
export const cosOp = unary({ name: 'cos', f: Math.cos, df: (x, _y, g) => neg(mul(g, sin(x))), lower: 'Cos' });
export const tanhOp = unary({
  name: 'tanh',
  f: Math.tanh,
  df: (_x, y, g) => mul(g, sub(1, mul(y, y))),
  lower: 'Tanh',
});
/** 1 / (1 + exp(−x)). ONNX Runtime's is accurate to 1e-7 absolute, and 0 below −18: for logarithms use graph/stable.ts. */
export const sigmoidOp = unary({
  name: 'sigmoid',
  f: (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x))),
  df: (_x, y, g) => mul(g, mul(y, sub(1, y))),
  lower: 'Sigmoid',
});
/** log(1 + x) without losing small x: log(u)·x/(u − 1) with u = 1 + x (Higham, Accuracy and Stability, problem 1.5). */
export const log1pOp = unary({
  name: 'log1p',
  f: Math.log1p,
  df: (x, _y, g) => div(g, add(1, x)),
  lower(lowering, x) {
    const one = lowering.scalar(1, 'float32');
    const [u] = lowering.node('Add', [x, one]);
    const [delta] = lowering.node('Sub', [u!, one]);
    const [log] = lowering.node('Log', [u!]);
    // log(u) is the answer where 1 + x was exact, +Infinity included; x is where 1 + x rounded to 1.
    const [exact] = lowering.node('Equal', [delta!, x]);
    const [tiny] = lowering.node('Equal', [u!, one]);
    const [divisor] = lowering.node('Where', [tiny!, one, delta!]);
    const [ratio] = lowering.node('Div', [x, divisor!]);
    const [scaled] = lowering.node('Mul', [log!, ratio!]);
    const [inexact] = lowering.node('Where', [tiny!, x, scaled!]);
    return lowering.node('Where', [exact!, log!, inexact!])[0]!;
  },
});
/** exp(x) − 1 without losing small x: tanh(x/2)·(exp(x) + 1), for x small enough that exp(x) is finite. */
export const expm1Op = unary({
  name: 'expm1',
  f: Math.expm1,
  df: (x, _y, g) => mul(g, exp(x)), // not y + 1, which is 0 far below 0
  lower(lowering, x) {
    const [half] = lowering.node('Mul', [x, lowering.scalar(0.5, 'float32')]);
    const [t] = lowering.node('Tanh', [half!]);
    const [e] = lowering.node('Exp', [x]);
    const [e1] = lowering.node('Add', [e!, lowering.scalar(1, 'float32')]);
    return lowering.node('Mul', [t!, e1!])[0]!;
  },
});
export const erfOp = unary({
  name: 'erf',
  f: erfValue,
  df: (x, _y, g) => mul(g, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI))),
  lower: 'Erf',
});
export const notOp = unary({ name: 'not', f: (x) => 1 - x, lower: 'Not', dtypes: ['bool'] });

/**
 * erf by the series 2/√π · exp(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1·3·…·(2n + 1)) for |x| < 3, whose terms all have one sign, or by the
 * continued fraction of erfc: a few units in the last place of float64.
 */
function erfValue(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 3) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  }
  let fraction = 0;
  for (let k = 60; k >= 1; k--) fraction = k / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + fraction)));
}

export const neg = (x: Tensor): Tensor => applyOne(negOp, [x], none);
export const abs = (x: Tensor): Tensor => applyOne(absOp, [x], none);
export const sign = (x: Tensor): Tensor => applyOne(signOp, [x], none);
export const floor = (x: Tensor): Tensor => applyOne(floorOp, [x], none);
export const exp = (x: Tensor): Tensor => applyOne(expOp, [x], none);
/** Natural logarithm; see `graph/stable.ts` before writing `log(1 + exp(x))`. */
export const log = (x: Tensor): Tensor => applyOne(logOp, [x], none);
export const sqrt = (x: Tensor): Tensor => applyOne(sqrtOp, [x], none);
export const reciprocal = (x: Tensor): Tensor => applyOne(reciprocalOp, [x], none);
export const sin = (x: Tensor): Tensor => applyOne(sinOp, [x], none);
export const cos = (x: Tensor): Tensor => applyOne(cosOp, [x], none);
export const tanh = (x: Tensor): Tensor => applyOne(tanhOp, [x], none);
export const sigmoid = (x: Tensor): Tensor => applyOne(sigmoidOp, [x], none);
export const log1p = (x: Tensor): Tensor => applyOne(log1pOp, [x], none);
export const expm1 = (x: Tensor): Tensor => applyOne(expm1Op, [x], none);
export const erf = (x: Tensor): Tensor => applyOne(erfOp, [x], none);
export const not = (x: Tensor): Tensor => applyOne(notOp, [x], none);
export const square = (x: Tensor): Tensor => mul(x, x);

// ---------------------------------------------------------------- power and clamp

/** x^exponent for a constant exponent. */
export const powOp: Op<{ exponent: number }> = {
  name: 'pow',
  infer([x]) {
    requireDType('pow', x!, ['float32']);
    return [x!];
  },
  evaluate: ([x], { exponent }) => [mapValue(x!, (v) => v ** exponent)],
  gradient: ({ inputs: [x], cotangents: [g], attributes: { exponent } }) => [
    mul(g!, mul(pow(x!, exponent - 1), exponent)),
  ],
  lower: (lowering, [x], { attributes }) =>
    lowering.node('Pow', [x!, lowering.scalar(attributes.exponent, 'float32')]),
};
export const pow = (x: Tensor, exponent: number): Tensor =>
  exponent === 0 ? constantLike(x, 1) : exponent === 1 ? x : applyOne(powOp, [x], { exponent });

/** min(max(x, low), high). The gradient passes where low ≤ x ≤ high. */
export const clampOp: Op<{ low: number; high: number }> = {
  name: 'clamp',
  infer([x], { low, high }) {
    requireDType('clamp', x!, ['float32']);
    if (!(low <= high))
      throw new ShapeError({ where: 'clamp', expected: 'low ≤ high', received: `${low} and ${high}` });
    return [x!];
  },
  evaluate: ([x], { low, high }) => [mapValue(x!, (v) => Math.min(Math.max(v, low), high))],
  gradient({ inputs: [x], cotangents: [g], attributes: { low, high } }) {
    const inside = and(greaterEqual(x!, low), lessEqual(x!, high));
    return [where(inside, g!, 0)];
  },
  lower: (lowering, [x], { attributes: { low, high } }) =>
    lowering.node('Clip', [
      x!,
      low === Number.NEGATIVE_INFINITY ? '' : lowering.scalar(low, 'float32'),
      high === Number.POSITIVE_INFINITY ? '' : lowering.scalar(high, 'float32'),
    ]),
};
export const clamp = (x: Tensor, low: number, high: number): Tensor => applyOne(clampOp, [x], { low, high });

// ---------------------------------------------------------------- binary

interface BinaryRule {
  readonly name: string;
  readonly f: (a: number, b: number, dtype: DType) => number;
  /** Cotangents before they are summed to the operands' shapes. */
  readonly df?: (a: Tensor, b: Tensor, y: Tensor, g: Tensor) => readonly [Tensor, Tensor];
  readonly lower: string;
  readonly dtypes: readonly DType[];
  readonly result?: DType;
}

function binary({ name, f, df, lower, dtypes, result }: BinaryRule): Op<None> {
  return {
    name,
    infer([a, b]) {
      requireDType(name, a!, dtypes);
      requireSameDType(name, a!, b!);
      return [{ dtype: result ?? a!.dtype, shape: broadcastShapes(name, a!.shape, b!.shape) }];
    },
    evaluate: ([a, b], _attributes, [y]) => [evaluateBinary(a!, b!, y!, f)],
    ...(df === undefined
      ? {}
      : {
          gradient({ inputs: [a, b], outputs: [y], cotangents: [g] }: GradientContext<None>) {
            const [da, db] = df(a!, b!, y!, g!);
            return [sumTo(da, a!.shape), sumTo(db, b!.shape)];
          },
        }),
    lower: (lowering, inputs) => lowering.node(lower, inputs),
  };
}

function evaluateBinary(
  a: Value,
  b: Value,
  type: TensorType,
  f: (a: number, b: number, dtype: DType) => number,
): Value {
  const out = new Float64Array(sizeOf(type.shape));
  const indexA = broadcastIndex(a.shape, type.shape);
  const indexB = broadcastIndex(b.shape, type.shape);
  for (let i = 0; i < out.length; i++) out[i] = f(a.data[indexA(i)]!, b.data[indexB(i)]!, type.dtype);
  return value(out, type.shape);
}

const quotient = (a: number, b: number, dtype: DType): number =>
  dtype === 'float32' ? a / b : Math.trunc(a / b);

export const addOp = binary({
  name: 'add',
  f: (a, b) => a + b,
  df: (_a, _b, _y, g) => [g, g],
  lower: 'Add',
  dtypes: numeric,
});
export const subOp = binary({
  name: 'sub',
  f: (a, b) => a - b,
  df: (_a, _b, _y, g) => [g, neg(g)],
  lower: 'Sub',
  dtypes: numeric,
});
export const mulOp = binary({
  name: 'mul',
  f: (a, b) => a * b,
  df: (a, b, _y, g) => [mul(g, b), mul(g, a)],
  lower: 'Mul',
  dtypes: numeric,
});
export const divOp = binary({
  name: 'div',
  f: quotient,
  df: (_a, b, y, g) => [div(g, b), neg(div(mul(g, y), b))],
  lower: 'Div',
  dtypes: numeric,
});
/** a − b·⌊a/b⌋ of integers: the remainder with the sign of b. */
export const remainderOp = binary({
  name: 'remainder',
  f: (a, b) => ((a % b) + b) % b,
  lower: 'Mod',
  dtypes: ['int32', 'int64'],
});
/** Ties share the gradient equally, as in PyTorch. */
export const maximumOp = binary({
  name: 'maximum',
  f: (a, b) => Math.max(a, b),
  df: (a, b, _y, g) => shareOut(greater(a, b), less(a, b), g),
  lower: 'Max',
  dtypes: numeric,
});
export const minimumOp = binary({
  name: 'minimum',
  f: (a, b) => Math.min(a, b),
  df: (a, b, _y, g) => shareOut(less(a, b), greater(a, b), g),
  lower: 'Min',
  dtypes: numeric,
});

function shareOut(first: Tensor, second: Tensor, g: Tensor): readonly [Tensor, Tensor] {
  const half = mul(g, 0.5);
  return [where(first, g, where(second, 0, half)), where(second, g, where(first, 0, half))];
}

const comparison = (name: string, f: (a: number, b: number) => boolean, lower: string): Op<None> =>
  binary({ name, f: (a, b) => (f(a, b) ? 1 : 0), lower, dtypes: numeric, result: 'bool' });

export const equalOp = comparison('equal', (a, b) => a === b, 'Equal');
export const lessOp = comparison('less', (a, b) => a < b, 'Less');
export const lessEqualOp = comparison('lessEqual', (a, b) => a <= b, 'LessOrEqual');
export const greaterOp = comparison('greater', (a, b) => a > b, 'Greater');
export const greaterEqualOp = comparison('greaterEqual', (a, b) => a >= b, 'GreaterOrEqual');
export const andOp = binary({ name: 'and', f: (a, b) => a * b, lower: 'And', dtypes: ['bool'] });
export const orOp = binary({ name: 'or', f: (a, b) => Math.max(a, b), lower: 'Or', dtypes: ['bool'] });

/** Turns a number into a scalar of the other operand's dtype. */
function operands(a: Operand, b: Operand): readonly [Tensor, Tensor] {
  if (typeof a === 'number') {
    if (typeof b === 'number') {
      throw new ShapeError({
        where: 'elementwise',
        expected: 'at least one tensor',
        received: `${a} and ${b}`,
      });
    }
    return [scalarLike(b, a), b];
  }
  return [a, typeof b === 'number' ? scalarLike(a, b) : b];
}

function scalarLike(x: TensorType, number: number): Tensor {
  return constantLike({ dtype: x.dtype, shape: [] }, number);
}

const binaryFunction =
  (op: Op<None>) =>
  (a: Operand, b: Operand): Tensor =>
    applyOne(op, operands(a, b), none);

export const add = binaryFunction(addOp);
export const sub = binaryFunction(subOp);
export const mul = binaryFunction(mulOp);
/** a / b; integers truncate towards zero. */
export const div = binaryFunction(divOp);
export const remainder = binaryFunction(remainderOp);
export const maximum = binaryFunction(maximumOp);
export const minimum = binaryFunction(minimumOp);
export const equal = binaryFunction(equalOp);
export const less = binaryFunction(lessOp);
export const lessEqual = binaryFunction(lessEqualOp);
export const greater = binaryFunction(greaterOp);
export const greaterEqual = binaryFunction(greaterEqualOp);
export const and = (a: Tensor, b: Tensor): Tensor => applyOne(andOp, [a, b], none);
export const or = (a: Tensor, b: Tensor): Tensor => applyOne(orOp, [a, b], none);
export const notEqual = (a: Operand, b: Operand): Tensor => not(equal(a, b));

// ---------------------------------------------------------------- selection and conversion

/** `condition ? a : b` per element. The branch not taken gets no gradient, whatever it holds. */
export const whereOp: Op<None> = {
  name: 'where',
  infer([condition, a, b]) {
    requireDType('where(condition)', condition!, ['bool']);
    requireSameDType('where', a!, b!);
    const branches = broadcastShapes('where', a!.shape, b!.shape);
    return [{ dtype: a!.dtype, shape: broadcastShapes('where', condition!.shape, branches) }];
  },
  evaluate([condition, a, b], _attributes, [y]) {
    const out = new Float64Array(sizeOf(y!.shape));
    const indexC = broadcastIndex(condition!.shape, y!.shape);
    const indexA = broadcastIndex(a!.shape, y!.shape);
    const indexB = broadcastIndex(b!.shape, y!.shape);
    for (let i = 0; i < out.length; i++) {
      out[i] = condition!.data[indexC(i)] !== 0 ? a!.data[indexA(i)]! : b!.data[indexB(i)]!;
    }
    return [value(out, y!.shape)];
  },
  gradient: ({ inputs: [condition, a, b], cotangents: [g] }) => [
    undefined,
    sumTo(where(condition!, g!, 0), a!.shape),
    sumTo(where(condition!, 0, g!), b!.shape),
  ],
  lower(lowering, [condition, a, b], { outputs: [y] }) {
    if (y!.dtype !== 'bool') return lowering.node('Where', [condition!, a!, b!]);
    // ONNX Runtime has no Where for bool: (c ∧ a) ∨ (¬c ∧ b).
    const [taken] = lowering.node('And', [condition!, a!]);
    const [otherwise] = lowering.node('Not', [condition!]);
    const [other] = lowering.node('And', [otherwise!, b!]);
    return lowering.node('Or', [taken!, other!]);
  },
};
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  const [x, y] = operands(a, b);
  return applyOne(whereOp, [condition, x, y], none);
}

/** ONNX TensorProto.DataType of each dtype. */
export const onnxTypes: Readonly<Record<DType, number>> = {
  ...{ float32: 1, uint8: 2, int32: 6, int64: 7, bool: 9 },
};

/** Conversion of dtype; float to integer truncates towards zero. Only float32 → float32 carries a gradient. */
export const castOp: Op<{ dtype: DType }> = {
  name: 'cast',
  infer: ([x], { dtype }) => [{ dtype, shape: x!.shape }],
  evaluate: ([x], { dtype }) => [
    mapValue(x!, dtype === 'float32' ? (v) => v : dtype === 'bool' ? (v) => (v === 0 ? 0 : 1) : Math.trunc),
  ],
  lower: (lowering, [x], { attributes }) =>
    lowering.node('Cast', [x!], { attributes: { to: { int: onnxTypes[attributes.dtype] } } }),
};
export const cast = (x: Tensor, dtype: DType): Tensor =>
  x.dtype === dtype ? x : applyOne(castOp, [x], { dtype });

/** A tensor of one repeated number. */
export const full = (shape: Shape, number: number, dtype: DType = 'float32'): Tensor =>
  constantLike({ dtype, shape }, number);
