/**
 * Phi-3: Llama's layers with queries, keys and values in one matrix, gate and up in another, and where the config says so
 * a rotation of part of each head and a window. Also Phi-4, which shares the architecture.
 *
 * @paper  Abdin et al. 2024, "Phi-3 Technical Report", section 2
 * @code   huggingface/transformers `models/phi3/modeling_phi3.py` (golden logits recorded from it)
 * @differs none in value; dropout is not implemented; longrope (the 128k models) is refused
 */
import { z } from 'zod';
import { add, mul } from '../graph/ops/elementwise.ts';
import { embedding } from '../graph/ops/indexing.ts';
import { rmsNorm, silu } from '../graph/ops/neural.ts';
import { sliceAxis } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';
import { splitHeads } from '../nn/attention.ts';
import { matrix, projection, rmsNormSpec } from '../nn/parameter-specs.ts';
import type { CausalModel } from './causal-model.ts';
import { decoder } from './decoder.ts';
import { decoderConfig, decoderSizes } from './decoder-config.ts';
import { readRope, rotatedElements } from './rope-config.ts';

/** The keys of config.json that matter here; others are kept in the file untouched. */
export const phi3Config = decoderConfig.extend({
  max_position_embeddings: z.int().positive().default(4096),
  rms_norm_eps: z.number().positive().default(1e-5),
  hidden_act: z.literal('silu').default('silu'),
  /** Share of each head that is rotated: before transformers 5, which keeps it in `rope_parameters`. */
  partial_rotary_factor: z.number().positive().max(1).default(1),
  /** Tokens that a token sees, itself included; null: all. */
  sliding_window: z.int().positive().nullish(),
  tie_word_embeddings: z.boolean().default(false),
});
export type Phi3Config = z.infer<typeof phi3Config>;

/** Builds the model from a parsed config.json. Throws `ConfigError` on every rope type but the default. */
export function phi3(config: Phi3Config): CausalModel {
  const { V, D, L, H, K, E, F } = decoderSizes(config);
  const rotated = rotatedElements(config, E, config.partial_rotary_factor);
  const rope = readRope(config, rotated, config.max_position_embeddings, ['default']);
  const window = config.sliding_window ?? undefined;
  const { initializer_range: std, tie_word_embeddings: tied } = config;
  const plain = { std, bias: false };
  const normalize = (x: Tensor, weight: Tensor): Tensor => rmsNorm(x, weight, config.rms_norm_eps);

  return decoder({
    type: 'phi3',
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
        ...projection('self_attn.qkv_proj', [(H + 2 * K) * E, D], plain),
        ...projection('self_attn.o_proj', [D, H * E], plain),
        rmsNormSpec('post_attention_layernorm', D),
        ...projection('mlp.gate_up_proj', [2 * F, D], plain),
        ...projection('mlp.down_proj', [D, F], plain),
      ],
    },
    final: [rmsNormSpec('model.norm', D), ...(tied ? [] : [matrix('lm_head.weight', [V, D], std)])],
    outputEmbedding: tied ? 'model.embed_tokens.weight' : 'lm_head.weight',

    attention: () => ({ rope, window }),
    embed: (weights, { ids }) => embedding(weights['model.embed_tokens.weight']!, ids), // [B, T, D]
    block(x, { weight, linear, rotate, attend }) {
      const ready = normalize(x, weight('input_layernorm.weight'));
      const fused = linear(ready, 'self_attn.qkv_proj'); // [B, T, (H + 2·K)·E]
      const heads = (first: number, count: number): Tensor =>
        splitHeads(sliceAxis(fused, 2, first * E, (first + count) * E), count);
      const query = rotate(heads(0, H)); // [B, H, T, E]
      const key = rotate(heads(H, K)); // [B, K, T, E]
      const value = heads(H + K, K); // [B, K, T, E]
      const { mixed, cache } = attend(query, key, value); // [B, T, H·E]
      const middle = add(x, linear(mixed, 'self_attn.o_proj'));

      const inner = normalize(middle, weight('post_attention_layernorm.weight'));
      const wide = linear(inner, 'mlp.gate_up_proj'); // [B, T, 2·F]
      const gated = mul(silu(sliceAxis(wide, 2, 0, F)), sliceAxis(wide, 2, F, 2 * F)); // [B, T, F]
      return [add(middle, linear(gated, 'mlp.down_proj')), cache];
    },
    normalize: (weights, x) => normalize(x, weights['model.norm.weight']!),
  });
}
