/**
 * GPT-2: pre-normalised decoder with learned positions, fused queries, keys and values, and a GELU feed-forward layer.
 * Its matrices are stored as [in, out], the transpose of everyone else's.
 *
 * @paper  Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3
 * @code   huggingface/transformers `models/gpt2/modeling_gpt2.py` (golden logits recorded from it)
 * @differs none in value; dropout is not implemented
 */
import { z } from 'zod';
import { add, minimum } from '../graph/ops/elementwise.ts';
import { embedding } from '../graph/ops/indexing.ts';
import { layerNorm } from '../graph/ops/neural.ts';
import { sliceAxis } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';
import { activation, activationNames } from '../nn/activation.ts';
import { splitHeads } from '../nn/attention.ts';
import { conv1D } from '../nn/linear.ts';
import { layerNormSpecs, matrix } from '../nn/parameter-specs.ts';
import type { ParameterSpec } from '../nn/parameters.ts';
import type { CausalModel } from './causal-model.ts';
import { decoder } from './decoder.ts';
import { headSize } from './decoder-config.ts';

/** The keys of config.json that matter here; others are kept in the file untouched. */
export const gpt2Config = z.looseObject({
  vocab_size: z.int().positive(),
  n_positions: z.int().positive().default(1024),
  n_embd: z.int().positive(),
  n_layer: z.int().positive(),
  n_head: z.int().positive(),
  /** Width of the feed-forward layers; four times `n_embd` when null. */
  n_inner: z.int().positive().nullish(),
  activation_function: z.enum(activationNames).default('gelu_new'),
  layer_norm_epsilon: z.number().positive().default(1e-5),
  initializer_range: z.number().positive().default(0.02),
  /** Whether scores are divided by √E, and by the number of the layer. */
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
  add_cross_attention: z.literal(false).default(false),
  tie_word_embeddings: z.boolean().default(true),
});
export type Gpt2Config = z.infer<typeof gpt2Config>;

/** Builds the model from a parsed config.json. Throws `ConfigError` when the heads do not divide the hidden size. */
export function gpt2(config: Gpt2Config): CausalModel {
  const { vocab_size: V, n_embd: D, n_layer: L, n_head: H, n_positions: positions } = config;
  const E = headSize(D, H);
  const F = config.n_inner ?? 4 * D;
  const { initializer_range: std, tie_word_embeddings: tied } = config;
  const act = activation(config.activation_function);
  const normalize = (x: Tensor, weight: Tensor, bias: Tensor): Tensor =>
    layerNorm(x, weight, bias, config.layer_norm_epsilon);
  const transposed = (name: string, [inside, out]: readonly [number, number]): ParameterSpec[] => [
    { ...matrix(`${name}.weight`, [inside, out], std), linear: 'in-out' },
    { name: `${name}.bias`, shape: [out], init: { kind: 'zeros' } },
  ];

  return decoder({
    type: 'gpt2',
    vocabSize: V,
    hiddenSize: D,
    keyValueHeads: H,
    headSize: E,
    maxPositions: positions,
    embeddings: [
      matrix('transformer.wte.weight', [V, D], std),
      matrix('transformer.wpe.weight', [positions, D], std),
    ],
    layers: {
      prefix: 'transformer.h',
      count: L,
      parameters: [
        ...layerNormSpecs('ln_1', D),
        ...transposed('attn.c_attn', [D, 3 * D]),
        ...transposed('attn.c_proj', [D, D]),
        ...layerNormSpecs('ln_2', D),
        ...transposed('mlp.c_fc', [D, F]),
        ...transposed('mlp.c_proj', [F, D]),
      ],
    },
    final: [
      ...layerNormSpecs('transformer.ln_f', D),
      ...(tied ? [] : [matrix('lm_head.weight', [V, D], std)]),
    ],
    outputEmbedding: tied ? 'transformer.wte.weight' : 'lm_head.weight',

    attention: (layer) => ({
      scale:
        (config.scale_attn_weights ? 1 / Math.sqrt(E) : 1) /
        (config.scale_attn_by_inverse_layer_idx ? layer + 1 : 1),
    }),
    embed: (weights, input) => {
      // Padding may lie beyond the last position; tokens that count never do.
      const known = minimum(input.positions, positions - 1);
      const tokens = embedding(weights['transformer.wte.weight']!, input.ids);
      return add(tokens, embedding(weights['transformer.wpe.weight']!, known)); // [B, T, D]
    },
    block(x, { weight, attend }) {
      const affine = (input: Tensor, name: string): Tensor =>
        conv1D(input, weight(`${name}.weight`), weight(`${name}.bias`));
      const ready = normalize(x, weight('ln_1.weight'), weight('ln_1.bias'));
      const fused = affine(ready, 'attn.c_attn'); // [B, T, 3·D]
      const heads = (part: number): Tensor => splitHeads(sliceAxis(fused, 2, part * D, (part + 1) * D), H);
      const { mixed, cache } = attend(heads(0), heads(1), heads(2)); // [B, T, D]
      const middle = add(x, affine(mixed, 'attn.c_proj'));

      const inner = normalize(middle, weight('ln_2.weight'), weight('ln_2.bias'));
      const wide = act(affine(inner, 'mlp.c_fc')); // [B, T, F]
      return [add(middle, affine(wide, 'mlp.c_proj')), cache];
    },
    normalize: (weights, x) =>
      normalize(x, weights['transformer.ln_f.weight']!, weights['transformer.ln_f.bias']!),
  });
}
