/** Noise on the embeddings in training: a model that differs from another only there. */
import type { Rng } from '../core/rng.ts';
import { constant } from '../graph/ops/common.ts';
import { add, cast, mul, remainder, sub } from '../graph/ops/elementwise.ts';
import { reshape, sliceAxis } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';
import { DROPOUT_PRIME, drawFeatureKeys, drawTokenKeys } from '../nn/dropout.ts';
import type { CausalModel } from './causal-model.ts';

const TOKENS = 'neftune.tokens';
const FEATURES = 'neftune.features';

/**
 * The model with uniform noise in ±α/√(T·D) on every number of its embeddings [B, T, D], in training only; T are the columns of the
 * micro-batch, padding included, as transformers has it. New noise in every micro-batch, from the stream, the step and the place
 * alone; α = 0 is the model itself.
 *
 * Noise is a hash of a token's and a feature's number (as in `dropout`): three numbers per token come from the host.
 *
 * @source Jain et al. 2023, "NEFTune: Noisy Embeddings Improve Instruction Finetuning" (arXiv 2310.05914), algorithm 1
 */
export function withEmbeddingNoise<M extends CausalModel>(model: M, alpha: number, rng: Rng): M {
  if (alpha === 0) return model;
  const features = drawFeatureKeys(model.hiddenSize, rng.split('features'));
  const tokenStream = rng.split('tokens');
  const inner = model.training;
  return {
    ...model,
    training: {
      types: (tokens) => ({
        ...inner?.types(tokens),
        [TOKENS]: { dtype: 'int64', shape: [2, tokens] },
        [FEATURES]: { dtype: 'int64', shape: [model.hiddenSize] },
      }),
      arrays: (tokens, step, microBatch) => ({
        ...inner?.arrays(tokens, step, microBatch),
        [TOKENS]: drawTokenKeys(tokens, tokenStream, step, microBatch),
        [FEATURES]: features,
      }),
      model(inputs) {
        const plain = inner?.model(inputs) ?? model;
        return {
          ...plain,
          forward: (weights, input) =>
            plain.forward(weights, {
              ...input,
              embedded: (x) => addNoise(input.embedded?.(x) ?? x, inputs[TOKENS]!, inputs[FEATURES]!, alpha),
            }),
        };
      },
    },
  };
}

function addNoise(x: Tensor, tokens: Tensor, features: Tensor, alpha: number): Tensor {
  const [B, T, D] = x.shape as [number, number, number];
  const prime = constant({ dtype: 'int64', shape: [], data: BigInt64Array.of(BigInt(DROPOUT_PRIME)) });
  const row = (index: number): Tensor => reshape(sliceAxis(tokens, 0, index, index + 1), [B * T, 1]);
  const hash = remainder(add(mul(row(0), reshape(features, [1, D])), row(1)), prime); // [B·T, D]
  const unit = sub(mul(cast(hash, 'float32'), 2 / DROPOUT_PRIME), 1);
  return add(x, reshape(mul(unit, alpha / Math.sqrt(T * D)), [B, T, D]));
}
