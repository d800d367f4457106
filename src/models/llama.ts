/**
 * Llama: pre-normalised decoder with rotary positions, grouped-query attention and a gated MLP.
 * Also TinyLlama and SmolLM2, which share the architecture.
 *
 * @paper  Touvron et al. 2023, "LLaMA: Open and Efficient Foundation Language Models", section 2.2
 * @code   huggingface/transformers `models/llama/modeling_llama.py` (golden logits recorded from it)
 * @differs none in value; dropout is not implemented
 */
import { z } from 'zod';
import { checkpoint } from '../graph/gradient.ts';
import { cachedAttention } from '../graph/ops/cached-attention.ts';
import { add, mul } from '../graph/ops/elementwise.ts';
import { embedding } from '../graph/ops/indexing.ts';
import { rmsNorm, rotary, silu } from '../graph/ops/neural.ts';
import type { Tensor } from '../graph/tensor.ts';
import {
  attention,
  cacheMask,
  causalAttention,
  causalMask,
  mergeHeads,
  packedMask,
  splitHeads,
} from '../nn/attention.ts';
import { linear } from '../nn/linear.ts';
import type { ParameterSpec } from '../nn/parameters.ts';
import { type RopeConfig, ropeTables } from '../nn/rope.ts';
import type { CausalInput, CausalModel, LayerCache, Weights } from './causal-model.ts';
import { readRope } from './rope-config.ts';

/** The keys of config.json that matter here; others are kept in the file untouched. */
export const llamaConfig = z.looseObject({
  hidden_size: z.int().positive(),
  intermediate_size: z.int().positive(),
  num_hidden_layers: z.int().positive(),
  num_attention_heads: z.int().positive(),
  num_key_value_heads: z.int().positive().nullish(),
  head_dim: z.int().positive().nullish(),
  vocab_size: z.int().positive(),
  max_position_embeddings: z.int().positive().default(2048),
  rms_norm_eps: z.number().positive().default(1e-6),
  initializer_range: z.number().positive().default(0.02),
  hidden_act: z.literal('silu').default('silu'),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(false),
});
export type LlamaConfig = z.infer<typeof llamaConfig>;

/** Builds the model from a parsed config.json. Throws `ConfigError` on rope settings it does not know. */
export function llama(config: LlamaConfig): CausalModel {
  const D = config.hidden_size;
  const H = config.num_attention_heads;
  const K = config.num_key_value_heads ?? H;
  const E = config.head_dim ?? D / H;
  const F = config.intermediate_size;
  const V = config.vocab_size;
  const rope: RopeConfig = readRope(config, E, config.max_position_embeddings);

  const matrix = (name: string, shape: readonly number[]): ParameterSpec => ({
    name,
    shape,
    init: { kind: 'normal', std: config.initializer_range },
  });
  const projection = (name: string, out: number, inside: number, bias: boolean): ParameterSpec[] => [
    matrix(`${name}.weight`, [out, inside]),
    ...(bias ? [{ name: `${name}.bias`, shape: [out], init: { kind: 'zeros' as const } }] : []),
  ];
  const norm = (name: string): ParameterSpec => ({
    name: `${name}.weight`,
    shape: [D],
    init: { kind: 'ones' },
  });
  const layerParameters = (layer: number): ParameterSpec[] => {
    const at = `model.layers.${layer}`;
    return [
      norm(`${at}.input_layernorm`),
      ...projection(`${at}.self_attn.q_proj`, H * E, D, config.attention_bias),
      ...projection(`${at}.self_attn.k_proj`, K * E, D, config.attention_bias),
      ...projection(`${at}.self_attn.v_proj`, K * E, D, config.attention_bias),
      ...projection(`${at}.self_attn.o_proj`, D, H * E, config.attention_bias),
      norm(`${at}.post_attention_layernorm`),
      ...projection(`${at}.mlp.gate_proj`, F, D, config.mlp_bias),
      ...projection(`${at}.mlp.up_proj`, F, D, config.mlp_bias),
      ...projection(`${at}.mlp.down_proj`, D, F, config.mlp_bias),
    ];
  };
  const layers = [...Array(config.num_hidden_layers).keys()];
  const parameters: ParameterSpec[] = [
    matrix('model.embed_tokens.weight', [V, D]),
    ...layers.flatMap(layerParameters),
    norm('model.norm'),
    ...(config.tie_word_embeddings ? [] : [matrix('lm_head.weight', [V, D])]),
  ];

  function forward(weights: Weights, { ids, positions, segments, past, rematerialize = false }: CausalInput) {
    const T = ids.shape[1]!;
    const cached = past?.layers[0]?.key.shape[2] ?? 0;
    const { cosines, sines } = ropeTables(rope, T + cached);
    const mask = segments === undefined ? causalMask(T) : packedMask(segments);
    const pastMask = past === undefined ? undefined : cacheMask(past.lengths, cached);
    const project = (x: Tensor, name: string): Tensor =>
      linear(x, weights[`${name}.weight`]!, weights[`${name}.bias`]);
    const rotate = (x: Tensor): Tensor => rotary(x, positions, cosines, sines);

    /** The mixture of each head [B, H, T, E], and what the layer returns of its keys and values. */
    const attend = (query: Tensor, key: Tensor, value: Tensor, layer: number) => {
      if (past?.inPlace === true)
        return cachedAttention(query, key, value, past.layers[layer]!, past.lengths);
      const mixed =
        past === undefined
          ? causalAttention(query, key, value, mask)
          : attention(query, key, value, mask, { past: { ...past.layers[layer]!, mask: pastMask! } });
      return { mixed, key, value };
    };

    const block = (x: Tensor, layer: number): readonly [Tensor, LayerCache] => {
      const at = `model.layers.${layer}`;
      const normed = rmsNorm(x, weights[`${at}.input_layernorm.weight`]!, config.rms_norm_eps); // [B, T, D]
      const query = rotate(splitHeads(project(normed, `${at}.self_attn.q_proj`), H)); // [B, H, T, E]
      const key = rotate(splitHeads(project(normed, `${at}.self_attn.k_proj`), K)); // [B, K, T, E]
      const value = splitHeads(project(normed, `${at}.self_attn.v_proj`), K); // [B, K, T, E]
      const { mixed: heads, ...own } = attend(query, key, value, layer);
      const mixed = mergeHeads(heads); // [B, T, H·E]
      const attended = add(x, project(mixed, `${at}.self_attn.o_proj`));
      const ready = rmsNorm(attended, weights[`${at}.post_attention_layernorm.weight`]!, config.rms_norm_eps);
      const gated = mul(silu(project(ready, `${at}.mlp.gate_proj`)), project(ready, `${at}.mlp.up_proj`)); // [B, T, F]
      return [add(attended, project(gated, `${at}.mlp.down_proj`)), own];
    };

    let hidden = embedding(weights['model.embed_tokens.weight']!, ids); // [B, T, D]
    const cache: LayerCache[] = [];
    for (const layer of layers) {
      if (rematerialize) {
        [hidden] = checkpoint((x) => [block(x!, layer)[0]])(hidden) as [Tensor];
      } else {
        const [next, own] = block(hidden, layer);
        hidden = next;
        cache.push(own);
      }
    }
    return { hidden: rmsNorm(hidden, weights['model.norm.weight']!, config.rms_norm_eps), cache };
  }

  const perLayer = D * (H + 2 * K) * E + H * E * D + 3 * D * F;
  return {
    type: 'llama',
    vocabSize: V,
    hiddenSize: D,
    layerCount: config.num_hidden_layers,
    keyValueHeads: K,
    headSize: E,
    inPlaceCache: E % 8 === 0,
    maxPositions: config.max_position_embeddings,
    parameters,
    forward,
    head: (weights) => weights[config.tie_word_embeddings ? 'model.embed_tokens.weight' : 'lm_head.weight']!,
    matrixParameters: config.num_hidden_layers * perLayer + V * D,
  };
}
