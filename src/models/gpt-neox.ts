/**
 * GPT-NeoX, the architecture of Pythia: rotary positions on part of each head, and attention and feed-forward layer side
 * by side on the same input. Queries, keys and values are fused head by head.
 *
 * @paper  Black et al. 2022, "GPT-NeoX-20B", section 2.1
 * @code   huggingface/transformers `models/gpt_neox/modeling_gpt_neox.py` (golden logits recorded from it)
 * @differs none in value; dropout is not implemented
 */
import { z } from 'zod';
import { add } from '../graph/ops/elementwise.ts';
import { embedding } from '../graph/ops/indexing.ts';
import { layerNorm } from '../graph/ops/neural.ts';
import { sliceAxis } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';
import { activation, activationNames } from '../nn/activation.ts';
import { splitHeads } from '../nn/attention.ts';
import { layerNormSpecs, matrix, projection } from '../nn/parameter-specs.ts';
import type { CausalModel } from './causal-model.ts';
import { decoder } from './decoder.ts';
import { headSize } from './decoder-config.ts';
import { readRope, rotatedElements } from './rope-config.ts';

/** The keys of config.json that matter here; others are kept in the file untouched. */
export const gptNeoxConfig = z.looseObject({
  vocab_size: z.int().positive(),
  hidden_size: z.int().positive(),
  intermediate_size: z.int().positive(),
  num_hidden_layers: z.int().positive(),
  num_attention_heads: z.int().positive(),
  max_position_embeddings: z.int().positive().default(2048),
  /** Share of each head that is rotated, and the base of its wave lengths: before transformers 5. */
  rotary_pct: z.number().positive().max(1).default(0.25),
  rotary_emb_base: z.number().positive().default(10000),
  hidden_act: z.enum(activationNames).default('gelu'),
  layer_norm_eps: z.number().positive().default(1e-5),
  initializer_range: z.number().positive().default(0.02),
  use_parallel_residual: z.boolean().default(true),
  attention_bias: z.boolean().default(true),
  tie_word_embeddings: z.boolean().default(false),
});
export type GptNeoxConfig = z.infer<typeof gptNeoxConfig>;

/** Builds the model from a parsed config.json. Throws `ConfigError` on rope settings it does not know. */
export function gptNeox(config: GptNeoxConfig): CausalModel {
  const { vocab_size: V, hidden_size: D, intermediate_size: F, num_attention_heads: H } = config;
  const E = headSize(D, H);
  const rope = readRope(
    { ...config, rope_theta: config.rotary_emb_base },
    rotatedElements(config, E, config.rotary_pct),
    config.max_position_embeddings,
  );
  const { initializer_range: std, tie_word_embeddings: tied } = config;
  const ofAttention = { std, bias: config.attention_bias };
  const biased = { std, bias: true };
  const act = activation(config.hidden_act);
  const normalize = (x: Tensor, weight: Tensor, bias: Tensor): Tensor =>
    layerNorm(x, weight, bias, config.layer_norm_eps);

  return decoder({
    type: 'gpt_neox',
    vocabSize: V,
    hiddenSize: D,
    keyValueHeads: H,
    headSize: E,
    maxPositions: config.max_position_embeddings,
    embeddings: [matrix('gpt_neox.embed_in.weight', [V, D], std)],
    layers: {
      prefix: 'gpt_neox.layers',
      count: config.num_hidden_layers,
      parameters: [
        ...layerNormSpecs('input_layernorm', D),
        ...layerNormSpecs('post_attention_layernorm', D),
        ...projection('attention.query_key_value', [3 * D, D], ofAttention),
        ...projection('attention.dense', [D, D], ofAttention),
        ...projection('mlp.dense_h_to_4h', [F, D], biased),
        ...projection('mlp.dense_4h_to_h', [D, F], biased),
      ],
    },
    final: [
      ...layerNormSpecs('gpt_neox.final_layer_norm', D),
      ...(tied ? [] : [matrix('embed_out.weight', [V, D], std)]),
    ],
    outputEmbedding: tied ? 'gpt_neox.embed_in.weight' : 'embed_out.weight',

    attention: () => ({ rope }),
    embed: (weights, { ids }) => embedding(weights['gpt_neox.embed_in.weight']!, ids), // [B, T, D]
    block(x, { weight, linear, rotate, attend }) {
      const normed = (input: Tensor, name: string): Tensor =>
        normalize(input, weight(`${name}.weight`), weight(`${name}.bias`));
      const ready = normed(x, 'input_layernorm');
      const fused = splitHeads(linear(ready, 'attention.query_key_value'), H); // [B, H, T, 3·E]
      const part = (index: number): Tensor => sliceAxis(fused, 3, index * E, (index + 1) * E); // [B, H, T, E]
      const { mixed, cache } = attend(rotate(part(0)), rotate(part(1)), part(2)); // [B, T, D]
      const middle = add(x, linear(mixed, 'attention.dense'));

      const inner = normed(config.use_parallel_residual ? x : middle, 'post_attention_layernorm');
      const wide = act(linear(inner, 'mlp.dense_h_to_4h')); // [B, T, F]
      return [add(middle, linear(wide, 'mlp.dense_4h_to_h')), cache];
    },
    normalize: (weights, x) =>
      normalize(x, weights['gpt_neox.final_layer_norm.weight']!, weights['gpt_neox.final_layer_norm.bias']!),
  });
}
