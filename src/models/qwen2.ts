/**
 * Qwen2 and Qwen2.5: Llama's layers with biases on queries, keys and values, and windows in the upper layers where the
 * config asks for them.
 *
 * @paper  Yang et al. 2024, "Qwen2 Technical Report", section 2.2
 * @code   huggingface/transformers `models/qwen2/modeling_qwen2.py` (golden logits recorded from it)
 * @differs none in value; dropout is not implemented
 */
import { z } from 'zod';
import { add, mul } from '../graph/ops/elementwise.ts';
import { embedding } from '../graph/ops/indexing.ts';
import { rmsNorm, silu } from '../graph/ops/neural.ts';
import type { Tensor } from '../graph/tensor.ts';
import { splitHeads } from '../nn/attention.ts';
import { matrix, projection, rmsNormSpec } from '../nn/parameter-specs.ts';
import type { CausalModel } from './causal-model.ts';
import { decoder } from './decoder.ts';
import { decoderConfig, decoderSizes, layerTypes, readLayerTypes } from './decoder-config.ts';
import { readRope } from './rope-config.ts';

export const qwen2Config = decoderConfig.extend({
  max_position_embeddings: z.int().positive().default(32768),
  num_key_value_heads: z.int().positive().nullable().default(32),
  hidden_act: z.literal('silu').default('silu'),
  use_sliding_window: z.boolean().default(false),
  /** Tokens that a token of a sliding layer sees, itself included. Counts only with `use_sliding_window`. */
  sliding_window: z.int().positive().nullable().default(4096),
  /** The first so many layers see everything, where `layer_types` does not say which do. */
  max_window_layers: z.int().nonnegative().default(28),
  layer_types: layerTypes,
  tie_word_embeddings: z.boolean().default(false),
});
export type Qwen2Config = z.infer<typeof qwen2Config>;

/** Builds the model from a parsed config.json. Throws `ConfigError` on rope settings or layer types that do not fit. */
export function qwen2(config: Qwen2Config): CausalModel {
  const { V, D, L, H, K, E, F } = decoderSizes(config);
  const rope = readRope(config, E, config.max_position_embeddings);
  const window = config.use_sliding_window ? (config.sliding_window ?? undefined) : undefined;
  const types = readLayerTypes(config, window, (layer) =>
    window !== undefined && layer >= config.max_window_layers ? 'sliding_attention' : 'full_attention',
  );
  const { initializer_range: std, tie_word_embeddings: tied } = config;
  const plain = { std, bias: false };
  const biased = { std, bias: true };
  const normalize = (x: Tensor, weight: Tensor): Tensor => rmsNorm(x, weight, config.rms_norm_eps);

  return decoder({
    type: 'qwen2',
    vocabSize: V,
    hiddenSize: D,
    keyValueHeads: K,
    headSize: E,
    maxPositions: config.max_position_embeddings,
    embeddings: [matrix('model.embed_tokens.weight', [V, D], std)],
    layers: {
      prefix: 'model.layers',
      count: L,
      parameters: [
        rmsNormSpec('input_layernorm', D),
        ...projection('self_attn.q_proj', [H * E, D], biased),
        ...projection('self_attn.k_proj', [K * E, D], biased),
        ...projection('self_attn.v_proj', [K * E, D], biased),
        ...projection('self_attn.o_proj', [D, H * E], plain),
        rmsNormSpec('post_attention_layernorm', D),
        ...projection('mlp.gate_proj', [F, D], plain),
        ...projection('mlp.up_proj', [F, D], plain),
        ...projection('mlp.down_proj', [D, F], plain),
      ],
    },
    final: [rmsNormSpec('model.norm', D), ...(tied ? [] : [matrix('lm_head.weight', [V, D], std)])],
    outputEmbedding: tied ? 'model.embed_tokens.weight' : 'lm_head.weight',

    attention: (layer) => ({ rope, window: types[layer] === 'sliding_attention' ? window : undefined }),
    embed: (weights, { ids }) => embedding(weights['model.embed_tokens.weight']!, ids), // [B, T, D]
    block(x, { weight, linear, rotate, attend }) {
      const ready = normalize(x, weight('input_layernorm.weight'));
      const query = rotate(splitHeads(linear(ready, 'self_attn.q_proj'), H)); // [B, H, T, E]
      const key = rotate(splitHeads(linear(ready, 'self_attn.k_proj'), K)); // [B, K, T, E]
      const value = splitHeads(linear(ready, 'self_attn.v_proj'), K); // [B, K, T, E]
      const { mixed, cache } = attend(query, key, value); // [B, T, H·E]
      const middle = add(x, linear(mixed, 'self_attn.o_proj'));

      const inner = normalize(middle, weight('post_attention_layernorm.weight'));
      const gated = mul(silu(linear(inner, 'mlp.gate_proj')), linear(inner, 'mlp.up_proj')); // [B, T, F]
      return [add(middle, linear(gated, 'mlp.down_proj')), cache];
    },
    normalize: (weights, x) => normalize(x, weights['model.norm.weight']!),
  });
}
