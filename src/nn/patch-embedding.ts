import { checkShapes } from '../core/shapes.ts';
import { add } from '../graph/ops/elementwise.ts';
import { matmul } from '../graph/ops/matmul.ts';
import { patchify, reshape } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';

/**
 * A convolution whose stride is its kernel's size P, as vision transformers turn a picture into vectors: one product over
 * the picture's squares.
 *
 * @param pixels [B, C, H, W]
 * @param kernel [D, C, P, P], the layout of `Conv2d` in Hugging Face checkpoints
 * @param bias [D]
 * @returns [B, N, D], squares row by row, N = (H/P)·(W/P)
 * @throws ShapeError when shapes do not fit, or H or W is no multiple of P
 * @source Dosovitskiy et al. 2021, section 3.1
 */
export function patchEmbedding(pixels: Tensor, kernel: Tensor, bias?: Tensor): Tensor {
  const { D, P } = checkShapes('patchEmbedding', {
    pixels: [pixels, 'B C H W'],
    kernel: [kernel, 'D C P P'],
  }) as Record<'D' | 'P', number>;
  const vectors = matmul(patchify(pixels, P), reshape(kernel, [D, -1]), { transposeB: true }); // [B, N, D]
  return bias === undefined ? vectors : add(vectors, bias);
}
