/**
 * Llama: pre-normalised decoder with rotary positions, grouped-query attention and a gated MLP.
 * Also TinyLlama and SmolLM2, which share the architecture.
 *
 * @paper  Touvron et al. 2023, "LLaMA: Open and Efficient Foundation Language Models", section 2.2
 * @code   huggingface/transformers `models/llama/modeling_llama.py` (golden logits recorded from it)
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
import { decoderConfig, decoderSizes } from './decoder-config.ts';
import { readRope } from './rope-config.ts';

/** The keys of config.json that matter here; others are kept in the file untouched. */
export const llamaConfig = decoderConfig.extend({
  max_position_embeddings: z.int().positive().default(2048),
  hidden_act: z.literal('silu').default('silu'),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(false),
});
export type LlamaConfig = z.infer<typeof llamaConfig>;

/** Builds the model from a parsed config.json. Throws `ConfigError` on rope settings it does not know. */
export function llama(config: LlamaConfig): CausalModel {
  const { V, D, L, H, K, E, F } = decoderSizes(config);
  const rope = readRope(config, E, config.max_position_embeddings);
  const { initializer_range: std, tie_word_embeddings: tied } = config;
  const ofAttention = { std, bias: config.attention_bias };
  const ofMlp = { std, bias: config.mlp_bias };
  const normalize = (x: Tensor, weight: Tensor): Tensor => rmsNorm(x, weight, config.rms_norm_eps);

  return decoder({
    type: 'llama',
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
        ...projection('self_attn.q_proj', [H * E, D], ofAttention),
        ...projection('self_attn.k_proj', [K * E, D], ofAttention),
        ...projection('self_attn.v_proj', [K * E, D], ofAttention),
        ...projection('self_attn.o_proj', [D, H * E], ofAttention),
        rmsNormSpec('post_attention_layernorm', D),
        ...projection('mlp.gate_proj', [F, D], ofMlp),
        ...projection('mlp.up_proj', [F, D], ofMlp),
        ...projection('mlp.down_proj', [D, F], ofMlp),
      ],
    },
    final: [rmsNormSpec('model.norm', D), ...(tied ? [] : [matrix('lm_head.weight', [V, D], std)])],
    outputEmbedding: tied ? 'model.embed_tokens.weight' : 'lm_head.weight',

    attention: () => ({ rope }),
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
