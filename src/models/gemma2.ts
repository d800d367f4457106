/**
 * Gemma 2: norms before and after each part of a layer, scores and logits bent to lie within a cap, and windows in every
 * other layer. Embeddings are multiplied by √D; norms multiply by 1 + weight.
 *
 * @paper  Gemma Team 2024, "Gemma 2: Improving Open Language Models at a Practical Size", section 2
 * @code   huggingface/transformers `models/gemma2/modeling_gemma2.py` (golden logits recorded from it)
 * @differs none in value; dropout is not implemented
 */
import { z } from 'zod';
import { add, mul } from '../graph/ops/elementwise.ts';
import { embedding } from '../graph/ops/indexing.ts';
import { geluTanh, rmsNorm } from '../graph/ops/neural.ts';
import type { Tensor } from '../graph/tensor.ts';
import { splitHeads } from '../nn/attention.ts';
import { matrix, projection, rmsNormSpec } from '../nn/parameter-specs.ts';
import type { CausalModel } from './causal-model.ts';
import { decoder } from './decoder.ts';
import { decoderConfig, decoderSizes, layerTypes, readLayerTypes } from './decoder-config.ts';
import { readRope } from './rope-config.ts';

/** The keys of config.json that matter here; others are kept in the file untouched. */
export const gemma2Config = decoderConfig.extend({
  max_position_embeddings: z.int().positive().default(8192),
  num_key_value_heads: z.int().positive().default(4),
  head_dim: z.int().positive().default(256),
  hidden_activation: z.literal('gelu_pytorch_tanh').default('gelu_pytorch_tanh'),
  attention_bias: z.boolean().default(false),
  /** Scores are divided by its square root. */
  query_pre_attn_scalar: z.number().positive().default(256),
  /** Tokens that a token of a sliding layer sees, itself included. */
  sliding_window: z.int().positive().nullable().default(4096),
  layer_types: layerTypes,
  /** Caps of logits and of scores; null: none. */
  final_logit_softcapping: z.number().positive().nullable().default(30),
  attn_logit_softcapping: z.number().positive().nullable().default(50),
  use_bidirectional_attention: z.literal(false).nullish(),
  tie_word_embeddings: z.boolean().default(true),
});
export type Gemma2Config = z.infer<typeof gemma2Config>;

/** Builds the model from a parsed config.json. Throws `ConfigError` on rope settings or layer types that do not fit. */
export function gemma2(config: Gemma2Config): CausalModel {
  const { V, D, L, H, K, E, F } = decoderSizes(config);
  const rope = readRope(config, E, config.max_position_embeddings);
  const window = config.sliding_window ?? undefined;
  const types = readLayerTypes(config, window, (layer) =>
    layer % 2 === 0 ? 'sliding_attention' : 'full_attention',
  );
  const { initializer_range: std, tie_word_embeddings: tied } = config;
  const ofAttention = { std, bias: config.attention_bias };
  const plain = { std, bias: false };
  const normalize = (x: Tensor, weight: Tensor): Tensor => rmsNorm(x, add(weight, 1), config.rms_norm_eps);

  return decoder({
    type: 'gemma2',
    vocabSize: V,
    hiddenSize: D,
    keyValueHeads: K,
    headSize: E,
    maxPositions: config.max_position_embeddings,
    ...(config.final_logit_softcapping == null ? {} : { logitCap: config.final_logit_softcapping }),
    embeddings: [matrix('model.embed_tokens.weight', [V, D], std)],
    layers: {
      prefix: 'model.layers',
      count: L,
      parameters: [
        rmsNormSpec('input_layernorm', D, 'zeros'),
        ...projection('self_attn.q_proj', [H * E, D], ofAttention),
        ...projection('self_attn.k_proj', [K * E, D], ofAttention),
        ...projection('self_attn.v_proj', [K * E, D], ofAttention),
        ...projection('self_attn.o_proj', [D, H * E], ofAttention),
        rmsNormSpec('post_attention_layernorm', D, 'zeros'),
        rmsNormSpec('pre_feedforward_layernorm', D, 'zeros'),
        ...projection('mlp.gate_proj', [F, D], plain),
        ...projection('mlp.up_proj', [F, D], plain),
        ...projection('mlp.down_proj', [D, F], plain),
        rmsNormSpec('post_feedforward_layernorm', D, 'zeros'),
      ],
    },
    final: [rmsNormSpec('model.norm', D, 'zeros'), ...(tied ? [] : [matrix('lm_head.weight', [V, D], std)])],
    outputEmbedding: tied ? 'model.embed_tokens.weight' : 'lm_head.weight',

    attention: (layer) => ({
      rope,
      window: types[layer] === 'sliding_attention' ? window : undefined,
      scale: 1 / Math.sqrt(config.query_pre_attn_scalar),
      cap: config.attn_logit_softcapping ?? undefined,
    }),
    embed: (weights, { ids }) => mul(embedding(weights['model.embed_tokens.weight']!, ids), Math.sqrt(D)), // [B, T, D]
    block(x, { weight, linear, rotate, attend }) {
      const ready = normalize(x, weight('input_layernorm.weight'));
      const query = rotate(splitHeads(linear(ready, 'self_attn.q_proj'), H)); // [B, H, T, E]
      const key = rotate(splitHeads(linear(ready, 'self_attn.k_proj'), K)); // [B, K, T, E]
      const value = splitHeads(linear(ready, 'self_attn.v_proj'), K); // [B, K, T, E]
      const { mixed, cache } = attend(query, key, value); // [B, T, H·E]
      const attended = normalize(
        linear(mixed, 'self_attn.o_proj'),
        weight('post_attention_layernorm.weight'),
      );
      const middle = add(x, attended);

      const inner = normalize(middle, weight('pre_feedforward_layernorm.weight'));
      const gated = mul(geluTanh(linear(inner, 'mlp.gate_proj')), linear(inner, 'mlp.up_proj')); // [B, T, F]
      const fed = normalize(linear(gated, 'mlp.down_proj'), weight('post_feedforward_layernorm.weight'));
      return [add(middle, fed), cache];
    },
    normalize: (weights, x) => normalize(x, weights['model.norm.weight']!),
  });
}
