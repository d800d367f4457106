/**
 * SigLIP's vision encoder: a picture cut into squares, which attend to each other; a learned probe pools them.
 *
 * @paper  Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training", section 4 (2303.15343); pooling: Zhai et al.
 *   2022, "Scaling Vision Transformers", section 3
 * @code   huggingface/transformers `models/siglip/modeling_siglip.py` (golden values and gradients recorded from it)
 * @differs none in value; positions are not interpolated to other sizes of pictures
 */
import { z } from 'zod';
import { constant } from '../graph/ops/common.ts';
import { add } from '../graph/ops/elementwise.ts';
import { layerNorm } from '../graph/ops/neural.ts';
import { broadcastTo, reshape, sliceAxis } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';
import { activation, activationNames } from '../nn/activation.ts';
import { attention, mergeHeads, splitHeads } from '../nn/attention.ts';
import { linear } from '../nn/linear.ts';
import { layerNormSpecs, matrix, projection } from '../nn/parameter-specs.ts';
import type { ParameterSpec } from '../nn/parameters.ts';
import { patchEmbedding } from '../nn/patch-embedding.ts';
import type { Weights } from './causal-model.ts';
import { headSize } from './decoder-config.ts';

export const siglipVisionConfig = z.looseObject({
  hidden_size: z.int().positive().default(768),
  intermediate_size: z.int().positive().default(3072),
  num_hidden_layers: z.int().positive().default(12),
  num_attention_heads: z.int().positive().default(12),
  num_channels: z.int().positive().default(3),
  image_size: z.int().positive().default(224),
  patch_size: z.int().positive().default(16),
  hidden_act: z.enum(activationNames).default('gelu_pytorch_tanh'),
  layer_norm_eps: z.number().positive().default(1e-6),
  vision_use_head: z.boolean().default(true),
});
export type SiglipVisionConfig = z.infer<typeof siglipVisionConfig>;

/** An encoder of pictures as traced functions of its weights. */
export interface VisionModel {
  /** `model_type` of config.json. */
  readonly type: string;
  readonly hiddenSize: number;
  readonly layerCount: number;
  /** Pictures are [channels, imageSize, imageSize]. */
  readonly channels: number;
  readonly imageSize: number;
  /** N: squares of a picture. */
  readonly patches: number;
  /** Every weight with its shape and initialisation, under the names of transformers 5. */
  readonly parameters: readonly ParameterSpec[];
  /** Pixels [B, C, H, W] → what goes into the first layer, and what comes out of each, [B, N, D]. */
  layers(weights: Weights, pixels: Tensor): readonly Tensor[];
  /** The last layer's output, normalised, [B, N, D]. */
  normalize(weights: Weights, hidden: Tensor): Tensor;
  /** Normalised hidden states [B, N, D] → one vector per picture [B, D]. Left out: the model has no pooling head. */
  pool?(weights: Weights, hidden: Tensor): Tensor;
}

/** Builds the encoder from a parsed config.json. Throws `ConfigError` when heads do not divide the hidden size. */
export function siglipVision(config: SiglipVisionConfig): VisionModel {
  const { hidden_size: D, intermediate_size: F, num_attention_heads: H, patch_size: P } = config;
  headSize(D, H);
  const side = Math.floor(config.image_size / P);
  const N = side * side;
  const act = activation(config.hidden_act);
  const init = { std: 1 / Math.sqrt(D), bias: true };
  const noMask = constant({ dtype: 'float32', shape: [1, 1], data: new Float32Array(1) });
  const names = Array.from({ length: config.num_hidden_layers }, (_, i) => `encoder.layers.${i}`);

  const dense = (weights: Weights, x: Tensor, name: string): Tensor =>
    linear(x, weights[`${name}.weight`]!, weights[`${name}.bias`]!);
  const norm = (weights: Weights, x: Tensor, name: string): Tensor =>
    layerNorm(x, weights[`${name}.weight`]!, weights[`${name}.bias`]!, config.layer_norm_eps);
  const feedForward = (weights: Weights, x: Tensor, name: string): Tensor =>
    dense(weights, act(dense(weights, x, `${name}.fc1`)), `${name}.fc2`);

  function layer(weights: Weights, x: Tensor, at: string): Tensor {
    const ready = norm(weights, x, `${at}.layer_norm1`);
    const heads = (name: string): Tensor => splitHeads(dense(weights, ready, `${at}.self_attn.${name}`), H);
    const mixed = mergeHeads(attention(heads('q_proj'), heads('k_proj'), heads('v_proj'), noMask)); // [B, N, D]
    const middle = add(x, dense(weights, mixed, `${at}.self_attn.out_proj`));
    return add(middle, feedForward(weights, norm(weights, middle, `${at}.layer_norm2`), `${at}.mlp`));
  }

  /** The probe attends to all squares. */
  function pool(weights: Weights, hidden: Tensor): Tensor {
    const B = hidden.shape[0]!;
    const part = (x: Tensor, index: number): Tensor => {
      const slice = (name: string): Tensor =>
        sliceAxis(weights[`head.attention.${name}`]!, 0, index * D, (index + 1) * D);
      return splitHeads(linear(x, slice('in_proj_weight'), slice('in_proj_bias')), H);
    };
    const probe = broadcastTo(weights['head.probe']!, [B, 1, D]);
    const mixed = mergeHeads(attention(part(probe, 0), part(hidden, 1), part(hidden, 2), noMask)); // [B, 1, D]
    const seen = dense(weights, mixed, 'head.attention.out_proj');
    return reshape(add(seen, feedForward(weights, norm(weights, seen, 'head.layernorm'), 'head.mlp')), [
      B,
      D,
    ]);
  }

  return {
    type: 'siglip_vision_model',
    hiddenSize: D,
    layerCount: names.length,
    channels: config.num_channels,
    imageSize: config.image_size,
    patches: N,
    parameters: [
      matrix('embeddings.patch_embedding.weight', [D, config.num_channels, P, P], init.std),
      { name: 'embeddings.patch_embedding.bias', shape: [D], init: { kind: 'zeros' } },
      matrix('embeddings.position_embedding.weight', [N, D], init.std),
      ...names.flatMap((at) => [
        ...layerNormSpecs(`${at}.layer_norm1`, D),
        ...['q_proj', 'k_proj', 'v_proj', 'out_proj'].flatMap((part) =>
          projection(`${at}.self_attn.${part}`, [D, D], init),
        ),
        ...layerNormSpecs(`${at}.layer_norm2`, D),
        ...projection(`${at}.mlp.fc1`, [F, D], init),
        ...projection(`${at}.mlp.fc2`, [D, F], init),
      ]),
      ...layerNormSpecs('post_layernorm', D),
      ...(config.vision_use_head
        ? [
            matrix('head.probe', [1, 1, D], 1),
            matrix('head.attention.in_proj_weight', [3 * D, D], init.std),
            { name: 'head.attention.in_proj_bias', shape: [3 * D], init: { kind: 'zeros' as const } },
            ...projection('head.attention.out_proj', [D, D], init),
            ...layerNormSpecs('head.layernorm', D),
            ...projection('head.mlp.fc1', [F, D], init),
            ...projection('head.mlp.fc2', [D, F], init),
          ]
        : []),
    ],
    layers(weights, pixels) {
      // Squares that would reach over the edge are left out.
      const cut = [2, 3].reduce((x, axis) => sliceAxis(x, axis, 0, side * P), pixels);
      const squares = patchEmbedding(
        cut,
        weights['embeddings.patch_embedding.weight']!,
        weights['embeddings.patch_embedding.bias']!,
      );
      const states = [add(squares, weights['embeddings.position_embedding.weight']!)]; // [B, N, D]
      for (const at of names) states.push(layer(weights, states.at(-1)!, at));
      return states;
    },
    normalize: (weights, hidden) => norm(weights, hidden, 'post_layernorm'),
    ...(config.vision_use_head ? { pool } : {}),
  };
}
