/** Batched matrix product with transposed operands and a scale, so that gradients need no transposes. */
import { ShapeError } from '../../core/errors.ts';
import { broadcastShapes, formatShape, sizeOf } from '../../core/shapes.ts';
import { applyOne, type Op, type Tensor } from '../tensor.ts';
import { broadcastIndex, requireDType, value } from './common.ts';
import { sumTo } from './reduce.ts';
import { reshape, transpose } from './shape.ts';

export interface MatmulOptions {
  /** Use aᵀ (its last two axes exchanged). */
  readonly transposeA?: boolean;
  /** Use bᵀ: the layout of Hugging Face linear weights, [out, in]. */
  readonly transposeB?: boolean;
  /** Multiplies the product; 1 when left out. */
  readonly alpha?: number;
}

type MatmulAttributes = Required<MatmulOptions>;

/** [rows, columns] of the last two axes after an optional exchange. */
function matrixShape(shape: readonly number[], transposed: boolean): readonly [number, number] {
  const rows = shape.at(-2)!;
  const columns = shape.at(-1)!;
  return transposed ? [columns, rows] : [rows, columns];
}

export const matmulOp: Op<MatmulAttributes> = {
  name: 'matmul',
  infer([a, b], { transposeA, transposeB }) {
    requireDType('matmul(a)', a!, ['float32']);
    requireDType('matmul(b)', b!, ['float32']);
    const given = `${formatShape(a!.shape)}${transposeA ? 'ᵀ' : ''} and ${formatShape(b!.shape)}${transposeB ? 'ᵀ' : ''}`;
    if (a!.shape.length < 2 || b!.shape.length < 2) {
      throw new ShapeError({ where: 'matmul', expected: 'matrices (rank 2 or more)', received: given });
    }
    const [m, k] = matrixShape(a!.shape, transposeA);
    const [k2, n] = matrixShape(b!.shape, transposeB);
    if (k !== k2) {
      throw new ShapeError({
        where: 'matmul',
        expected: `equal inner dimensions`,
        received: `${given}: ${k} and ${k2}`,
        fix: 'Set transposeA or transposeB, or reshape',
      });
    }
    const batch = broadcastShapes('matmul', a!.shape.slice(0, -2), b!.shape.slice(0, -2));
    return [{ dtype: 'float32', shape: [...batch, m, n] }];
  },
  evaluate([a, b], { transposeA, transposeB, alpha }, [y]) {
    const [m, k] = matrixShape(a!.shape, transposeA);
    const n = y!.shape.at(-1)!;
    const batch = y!.shape.slice(0, -2);
    const batchA = broadcastIndex(a!.shape.slice(0, -2), batch);
    const batchB = broadcastIndex(b!.shape.slice(0, -2), batch);
    const [aRow, aColumn] = transposeA ? [1, m] : [k, 1];
    const [bRow, bColumn] = transposeB ? [1, k] : [n, 1];
    const out = new Float64Array(sizeOf(y!.shape));
    for (let batchIndex = 0; batchIndex < sizeOf(batch); batchIndex++) {
      const offsetA = batchA(batchIndex) * m * k;
      const offsetB = batchB(batchIndex) * k * n;
      for (let i = 0; i < m; i++) {
        const row = (batchIndex * m + i) * n;
        for (let p = 0; p < k; p++) {
          const left = alpha * a!.data[offsetA + i * aRow + p * aColumn]!;
          const base = offsetB + p * bRow;
          for (let j = 0; j < n; j++) out[row + j] = out[row + j]! + left * b!.data[base + j * bColumn]!;
        }
      }
    }
    return [value(out, y!.shape)];
  },
  gradient({ inputs: [a, b], cotangents: [g], attributes: { transposeA, transposeB, alpha } }) {
    const da = transposeA
      ? matmul(b!, g!, { transposeA: transposeB, transposeB: true, alpha })
      : matmul(g!, b!, { transposeB: !transposeB, alpha });
    const db =
      transposeB && !transposeA && a!.rank === 2 && g!.rank === 2
        ? weightGradient(a!, g!, alpha)
        : transposeB
          ? matmul(g!, a!, { transposeA: true, transposeB: transposeA, alpha })
          : matmul(a!, g!, { transposeA: !transposeA, alpha });
    return [sumTo(da, a!.shape), sumTo(db, b!.shape)];
  },
  lower(lowering, inputs, { inputs: [a], outputs: [y], attributes: { transposeA, transposeB, alpha } }) {
    if (sizeOf(a!.shape) === 0)
      return lowering.node('Expand', [lowering.scalar(0, 'float32'), lowering.ints(y!.shape)]);
    if (!transposeA && !transposeB && alpha === 1) return lowering.node('MatMul', inputs);
    return lowering.node('FusedMatMul', inputs, {
      domain: 'com.microsoft',
      attributes: {
        transA: { int: transposeA ? 1 : 0 },
        transB: { int: transposeB ? 1 : 0 },
        alpha: { float: alpha },
      },
    });
  },
};

/**
 * gᵀ x, the gradient of a weight W [O, I] in y = x Wᵀ, for x [N, I] and g [N, O].
 *
 * A product reads a transposed left operand column by column, once for each stripe of the right one, so the narrower
 * operand is transposed first, in one pass. Layers that read the same x share its transpose.
 */
function weightGradient(x: Tensor, g: Tensor, alpha: number): Tensor {
  return x.shape[1]! <= g.shape[1]!
    ? transpose(matmul(transpose(x), g, { alpha }))
    : matmul(transpose(g), x, { alpha });
}

/**
 * alpha · a b over the last two axes; leading axes broadcast.
 *
 * @param a [..., M, K], or [..., K, M] with `transposeA`
 * @param b [..., K, N], or [..., N, K] with `transposeB`
 * @returns [..., M, N]
 * @throws ShapeError when the inner dimensions differ or an operand is not a matrix
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transposeA = false, transposeB = false, alpha = 1 } = options;
  if (b.rank === 2 && a.rank > 2 && !transposeA) {
    matmulOp.infer([a, b], { transposeA, transposeB, alpha });
    // One large product instead of many small ones, and a weight gradient without a sum over the batch.
    const rows = sizeOf(a.shape.slice(0, -1));
    const flat = matmul(reshape(a, [rows, a.shape.at(-1)!]), b, options);
    return reshape(flat, [...a.shape.slice(0, -1), flat.shape[1]!]);
  }
  return applyOne(matmulOp, [a, b], { transposeA, transposeB, alpha });
}
