/** Fused operations of transformers: normalisations, rotary positions, activations. */

import { ShapeError } from '../../core/errors.ts';
import { checkShapes, formatShape } from '../../core/shapes.ts';
import type { Lowering } from '../lowering.ts';
import { apply, applyOne, type Op, type Tensor } from '../tensor.ts';
import { mapValue, requireDType, value } from './common.ts';
import { add, cast, div, erf, erfOp, exp, greater, mul, neg, sub, tanh } from './elementwise.ts';
import { matmul } from './matmul.ts';
import { mean, sum } from './reduce.ts';
import { broadcastTo, reshape } from './shape.ts';

// ---------------------------------------------------------------- normalisation

interface NormAttributes {
  readonly epsilon: number;
}

/**
 * y = x · weight / sqrt(mean(x²) + ε) over the last axis; second output: the reciprocal root [..., 1].
 * @source Zhang & Sennrich 2019, "Root Mean Square Layer Normalization", eq. 4
 */
export const rmsNormOp: Op<NormAttributes> = {
  name: 'rmsNorm',
  infer([x, weight]) {
    requireDType('rmsNorm', x!, ['float32']);
    checkShapes('rmsNorm', { x: [x!, '... D'], weight: [weight!, 'D'] });
    return [x!, { dtype: 'float32', shape: [...x!.shape.slice(0, -1), 1] }];
  },
  evaluate([x, weight], { epsilon }, [, inverse]) {
    const D = x!.shape.at(-1)!;
    const y = new Float64Array(x!.data.length);
    const scales = new Float64Array(y.length / D);
    for (let row = 0; row < scales.length; row++) {
      let squares = 0;
      for (let j = 0; j < D; j++) squares += x!.data[row * D + j]! ** 2;
      scales[row] = 1 / Math.sqrt(squares / D + epsilon);
      for (let j = 0; j < D; j++) y[row * D + j] = x!.data[row * D + j]! * scales[row]! * weight!.data[j]!;
    }
    return [value(y, x!.shape), value(scales, inverse!.shape)];
  },
  gradient({ inputs: [x, weight], outputs: [, inverse], cotangents: [g, gInverse] }) {
    // The reciprocal root gets a cotangent only from a gradient that is differentiated again.
    const viaInverse = gInverse && mul(x!, inverseSlope(inverse!, gInverse, x!));
    if (g === undefined) return [viaInverse];
    // With r the reciprocal root: dL/dx = r g∘w − x r³/D Σ(g∘x∘w), dL/dw = Σ over rows of r g∘x. Both sums are products
    // with a vector, so that g∘x is written once and read twice.
    const D = x!.shape.at(-1)!;
    const rows = reshape(mul(g, x!), [-1, D]);
    const along = reshape(matmul(rows, reshape(weight!, [D, 1]), { alpha: 1 / D }), inverse!.shape);
    const cubed = mul(inverse!, mul(inverse!, inverse!));
    const dx = sub(mul(mul(g, weight!), inverse!), mul(x!, mul(along, cubed)));
    return [
      viaInverse === undefined ? dx : add(dx, viaInverse),
      reshape(matmul(reshape(inverse!, [1, -1]), rows), [D]),
    ];
  },
  lower: (lowering, inputs, { attributes: { epsilon } }) =>
    lowering.node('SimplifiedLayerNormalization', inputs, {
      attributes: { axis: { int: -1 }, epsilon: { float: epsilon }, stash_type: { int: 1 } },
      outputs: 2,
    }),
};
/** Root-mean-square normalisation of the last axis: x [..., D], weight [D] → [..., D]. */
export const rmsNorm = (x: Tensor, weight: Tensor, epsilon: number): Tensor =>
  applyOne(rmsNormOp, [x, weight], { epsilon });

/**
 * y = (x − mean) / sqrt(var + ε) · weight + bias over the last axis; further outputs: mean and reciprocal root [..., 1].
 * @source Ba, Kiros & Hinton 2016, "Layer Normalization"
 */
export const layerNormOp: Op<NormAttributes> = {
  name: 'layerNorm',
  infer([x, weight, bias]) {
    requireDType('layerNorm', x!, ['float32']);
    checkShapes('layerNorm', { x: [x!, '... D'], weight: [weight!, 'D'], bias: [bias!, 'D'] });
    const row = { dtype: 'float32' as const, shape: [...x!.shape.slice(0, -1), 1] };
    return [x!, row, row];
  },
  evaluate([x, weight, bias], { epsilon }, [, row]) {
    const D = x!.shape.at(-1)!;
    const y = new Float64Array(x!.data.length);
    const means = new Float64Array(y.length / D);
    const scales = new Float64Array(y.length / D);
    for (let r = 0; r < means.length; r++) {
      const data = x!.data.subarray(r * D, (r + 1) * D);
      means[r] = data.reduce((total, v) => total + v, 0) / D;
      const variance = data.reduce((total, v) => total + (v - means[r]!) ** 2, 0) / D;
      scales[r] = 1 / Math.sqrt(variance + epsilon);
      for (let j = 0; j < D; j++)
        y[r * D + j] = (data[j]! - means[r]!) * scales[r]! * weight!.data[j]! + bias!.data[j]!;
    }
    return [value(y, x!.shape), value(means, row!.shape), value(scales, row!.shape)];
  },
  gradient({ inputs: [x, weight], outputs: [, average, inverse], cotangents: [g, gAverage, gInverse] }) {
    const centred = sub(x!, average!);
    // Mean and reciprocal root get cotangents only from a gradient that is differentiated again.
    const further: Tensor[] = [];
    if (gAverage !== undefined) further.push(broadcastTo(mul(gAverage, 1 / x!.shape.at(-1)!), x!.shape));
    if (gInverse !== undefined) further.push(mul(centred, inverseSlope(inverse!, gInverse, x!)));
    if (g === undefined) return further.length === 0 ? [] : [further.reduce((a, b) => add(a, b))];
    const normalized = mul(centred, inverse!); // [..., D]
    const scaled = mul(g, weight!);
    const centre = mean(scaled, { axes: -1, keepDims: true });
    const projection = mean(mul(scaled, normalized), { axes: -1, keepDims: true });
    const dx = mul(inverse!, sub(sub(scaled, centre), mul(normalized, projection)));
    const axes = leadingAxes(x!);
    return [further.reduce((a, b) => add(a, b), dx), sum(mul(g, normalized), { axes }), sum(g, { axes })];
  },
  lower: (lowering, inputs, { attributes: { epsilon } }) =>
    lowering.node('LayerNormalization', inputs, {
      attributes: { axis: { int: -1 }, epsilon: { float: epsilon } },
      outputs: 3,
    }),
};
/** Layer normalisation of the last axis: x [..., D], weight [D], bias [D] → [..., D]. */
export const layerNorm = (x: Tensor, weight: Tensor, bias: Tensor, epsilon: number): Tensor =>
  apply(layerNormOp, [x, weight, bias], { epsilon })[0]!;

/** r = (v + ε)^(−1/2), v the mean square of D deviations: dr/dx = −r³/D times the deviation. Returns [..., 1]. */
const inverseSlope = (inverse: Tensor, cotangent: Tensor, x: Tensor): Tensor =>
  mul(mul(cotangent, -1 / x.shape.at(-1)!), mul(inverse, mul(inverse, inverse)));

const leadingAxes = (x: Tensor): number[] => [...x.shape.keys()].slice(0, -1);

// ---------------------------------------------------------------- rotary positions

/**
 * Rotates pairs (i, i + E/2) of each head by the angle of its position.
 * x [B, H, T, E], positions int64 [B, T], cosines and sines [M, E/2] by position → [B, H, T, E].
 * @source Su et al. 2021, "RoFormer", eq. 34, in the half-split layout of Hugging Face's Llama
 */
export const rotaryOp: Op<Record<string, never>> = {
  name: 'rotary',
  infer([x, positions, cosines, sines]) {
    requireDType('rotary', x!, ['float32']);
    requireDType('rotary(positions)', positions!, ['int64']);
    const { E, R } = checkShapes('rotary', {
      x: [x!, 'B H T E'],
      positions: [positions!, 'B T'],
      cosines: [cosines!, 'M R'],
      sines: [sines!, 'M R'],
    });
    if (E !== 2 * R!) {
      throw new ShapeError({
        where: 'rotary',
        expected: `tables of width ${E! / 2}, half the head size ${E}`,
        received: formatShape(cosines!.shape),
      });
    }
    return [x!];
  },
  evaluate([x, positions, cosines, sines]) {
    const [B, H, T, E] = x!.shape as [number, number, number, number];
    const half = E / 2;
    const out = new Float64Array(x!.data.length);
    for (let b = 0; b < B; b++) {
      for (let h = 0; h < H; h++) {
        for (let t = 0; t < T; t++) {
          const start = ((b * H + h) * T + t) * E;
          const row = positions!.data[b * T + t]! * half;
          for (let j = 0; j < half; j++) {
            const [c, s] = [cosines!.data[row + j]!, sines!.data[row + j]!];
            const [u, v] = [x!.data[start + j]!, x!.data[start + half + j]!];
            out[start + j] = u * c - v * s;
            out[start + half + j] = v * c + u * s;
          }
        }
      }
    }
    return [value(out, x!.shape)];
  },
  // The inverse rotation. The tables themselves are constants of the model.
  gradient: ({ inputs: [, positions, cosines, sines], cotangents: [g] }) => [
    rotary(g!, positions!, cosines!, neg(sines!)),
    undefined,
    undefined,
    undefined,
  ],
  lower: (lowering, inputs) =>
    lowering.node('RotaryEmbedding', inputs, {
      domain: 'com.microsoft',
      attributes: { interleaved: { int: 0 } },
    }),
};
export const rotary = (x: Tensor, positions: Tensor, cosines: Tensor, sines: Tensor): Tensor =>
  applyOne(rotaryOp, [x, positions, cosines, sines], {});

// ---------------------------------------------------------------- activations

function activation(
  name: string,
  f: (x: number) => number,
  /** Slope at x; y = f(x) is at hand. */
  df: (x: Tensor, y: Tensor) => Tensor,
  lower: (lowering: Lowering, x: string) => readonly string[],
): Op<Record<string, never>> {
  return {
    name,
    infer([x]) {
      requireDType(name, x!, ['float32']);
      return [x!];
    },
    evaluate: ([x]) => [mapValue(x!, f)],
    gradient: ({ inputs: [x], outputs: [y], cotangents: [g] }) => [mul(g!, df(x!, y!))],
    lower: (lowering, [x]) => lower(lowering, x!),
  };
}

/**
 * y = x · s with s = sigmoid(x); second output: s, which a gradient reads again. Where nothing does, ONNX Runtime makes one
 * operation of the two.
 * @source Hendrycks & Gimpel 2016 (SiLU); dy/dx = s + y (1 − s)
 */
export const siluOp: Op<Record<string, never>> = {
  name: 'silu',
  infer([x]) {
    requireDType('silu', x!, ['float32']);
    return [x!, x!];
  },
  evaluate([x]) {
    const s = mapValue(x!, (v) => 1 / (1 + Math.exp(-v)));
    return [
      value(
        x!.data.map((v, i) => v * s.data[i]!),
        x!.shape,
      ),
      s,
    ];
  },
  gradient({ outputs: [y, s], cotangents: [g, gSigmoid] }) {
    // The sigmoid gets a cotangent only from a gradient that is differentiated again.
    const viaSigmoid = gSigmoid && mul(gSigmoid, mul(s!, sub(1, s!)));
    if (g === undefined) return [viaSigmoid];
    // y − y s rather than y (1 − s): a pass over two whole tensors is faster than one with a scalar in front.
    const dx = mul(g, add(s!, sub(y!, mul(y!, s!))));
    return [viaSigmoid === undefined ? dx : add(dx, viaSigmoid)];
  },
  lower(lowering, [x]) {
    const [s] = lowering.node('Sigmoid', [x!]);
    return [...lowering.node('Mul', [x!, s!]), s!];
  },
};
export const silu = (x: Tensor): Tensor => apply(siluOp, [x], {})[0]!;

/** x · Φ(x) with the exact normal distribution. @source Hendrycks & Gimpel 2016 (GELU) */
export const geluOp = activation(
  'gelu',
  (x) =>
    0.5 *
    x *
    (1 + erfOp.evaluate([{ data: Float64Array.of(x / Math.SQRT2), shape: [1] }], {}, [])[0]!.data[0]!),
  (x) => {
    const cumulative = mul(add(erf(div(x, Math.SQRT2)), 1), 0.5);
    const density = mul(exp(mul(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return add(cumulative, mul(x, density));
  },
  (lowering, x) => lowering.node('Gelu', [x], { domain: 'com.microsoft' }),
);
export const gelu = (x: Tensor): Tensor => applyOne(geluOp, [x], {});

const geluScale = Math.sqrt(2 / Math.PI);
const geluCubic = 0.044715;
/** 0.5 x (1 + tanh(√(2/π)(x + 0.044715 x³))), the form GPT-2 was trained with. */
export const geluTanhOp = activation(
  'geluTanh',
  (x) => 0.5 * x * (1 + Math.tanh(geluScale * (x + geluCubic * x ** 3))),
  (x) => {
    const squared = mul(x, x);
    const t = tanh(mul(mul(x, add(mul(squared, geluCubic), 1)), geluScale));
    const inner = mul(add(mul(squared, 3 * geluCubic), 1), geluScale);
    return mul(add(add(t, 1), mul(mul(x, sub(1, mul(t, t))), inner)), 0.5);
  },
  (lowering, x) => lowering.node('Gelu', [x], { attributes: { approximate: { string: 'tanh' } } }),
);
export const geluTanh = (x: Tensor): Tensor => applyOne(geluTanhOp, [x], {});

/** max(x, 0). The gradient at 0 is 0. */
export const reluOp = activation(
  'relu',
  (x) => Math.max(x, 0),
  (x) => cast(greater(x, 0), 'float32'),
  (lowering, x) => lowering.node('Relu', [x]),
);
export const relu = (x: Tensor): Tensor => applyOne(reluOp, [x], {});
