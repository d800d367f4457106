/**
 * ModernBERT for sequence classification: rotary positions, normalisation before each sum, gated feed-forward layers, and
 * attention to near tokens only in two layers of three.
 *
 * @paper  Warner et al. 2024, "Smarter, Better, Faster, Longer", section 2.1; 2412.13663
 * @code   huggingface/transformers `models/modernbert/modeling_modernbert.py` (golden logits and gradients recorded from it)
 * @differs none in value; padding is masked, not removed; dropout is not implemented
 */
import { z } from 'zod';
import { constant } from '../graph/ops/common.ts';
import { add, cast, div, mul } from '../graph/ops/elementwise.ts';
import { embedding } from '../graph/ops/indexing.ts';
import { layerNorm } from '../graph/ops/neural.ts';
import { sum } from '../graph/ops/reduce.ts';
import { broadcastTo, reshape, sliceAxis } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';
import { activation, activationNames } from '../nn/activation.ts';
import { attention, mergeHeads, paddingMask, placesOf, splitHeads } from '../nn/attention.ts';
import { linear } from '../nn/linear.ts';
import { layerNormSpecs, matrix, projection } from '../nn/parameter-specs.ts';
import type { ParameterSpec } from '../nn/parameters.ts';
import { type RopeConfig, ropeTables, rotateHeads } from '../nn/rope.ts';
import type { Weights } from './causal-model.ts';
import type { ClassifierInput, ClassifierModel } from './classifier-model.ts';
import { headSize, type LayerType, layerTypes, readLayerTypes } from './decoder-config.ts';
import { encoderConfig, readLabelKind, readLabels } from './encoder-config.ts';
import { readRope } from './rope-config.ts';

const ropeByLayer = z.looseObject({
  full_attention: z.looseObject({}).nullish(),
  sliding_attention: z.looseObject({}).nullish(),
});

export const modernbertConfig = encoderConfig.extend({
  hidden_activation: z.enum(activationNames).default('gelu'),
  norm_eps: z.number().positive().default(1e-5),
  norm_bias: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  /** Every so many layers, from the first, one attends to everything, where `layer_types` does not say which. */
  global_attn_every_n_layers: z.int().positive().default(3),
  layer_types: layerTypes,
  /** Tokens around a token that a local layer sees, half of them on each side. */
  local_attention: z.int().positive().default(128),
  global_rope_theta: z.number().positive().nullish(),
  local_rope_theta: z.number().positive().nullish(),
  /** By type of layer, since transformers 5. */
  rope_parameters: ropeByLayer.nullish(),
  classifier_pooling: z.enum(['cls', 'mean']).default('cls'),
  classifier_activation: z.enum(activationNames).default('gelu'),
  classifier_bias: z.boolean().default(false),
});
export type ModernbertConfig = z.infer<typeof modernbertConfig>;

/** Builds the model from a parsed config.json. Throws `ConfigError` on rope settings or layer types that do not fit. */
export function modernbert(config: ModernbertConfig): ClassifierModel {
  const { vocab_size: V, hidden_size: D, intermediate_size: F, num_attention_heads: H } = config;
  const E = headSize(D, H);
  const labels = readLabels(config);
  const { initializer_range: std, norm_bias: normBias } = config;
  const reach = Math.floor(config.local_attention / 2);
  const types = readLayerTypes(config, config.local_attention, (layer) =>
    layer % config.global_attn_every_n_layers === 0 ? 'full_attention' : 'sliding_attention',
  );
  const rope = {
    full_attention: readLayerRope(config, E, 'full_attention'),
    sliding_attention: readLayerRope(config, E, 'sliding_attention'),
  };
  const act = activation(config.hidden_activation);
  const headAct = activation(config.classifier_activation);
  const noBias = constant({ dtype: 'float32', shape: [D], data: new Float32Array(D) });

  const dense = (weights: Weights, x: Tensor, name: string): Tensor =>
    linear(x, weights[`${name}.weight`]!, weights[`${name}.bias`]);
  const normalize = (weights: Weights, x: Tensor, name: string): Tensor =>
    layerNorm(x, weights[`${name}.weight`]!, weights[`${name}.bias`] ?? noBias, config.norm_eps);
  const normSpecs = (name: string): ParameterSpec[] => layerNormSpecs(name, D).slice(0, normBias ? 2 : 1);

  function encode(weights: Weights, { ids, counted, tableLength }: ClassifierInput): Tensor {
    const positions = placesOf(ids);
    const contextOf = (type: LayerType, window?: number) => ({
      mask: paddingMask(counted, window),
      tables: ropeTables(rope[type], tableLength ?? ids.shape[1]!),
    });
    const contexts = {
      full_attention: contextOf('full_attention'),
      sliding_attention: contextOf('sliding_attention', reach),
    };
    const embedded = embedding(weights['model.embeddings.tok_embeddings.weight']!, ids);
    const hidden = types.reduce(
      (x, type, index) => {
        const at = `model.layers.${index}`;
        const { mask, tables } = contexts[type];
        const ready = index === 0 ? x : normalize(weights, x, `${at}.attn_norm`);
        const fused = dense(weights, ready, `${at}.attn.Wqkv`); // [B, T, 3·D]
        const part = (n: number): Tensor => splitHeads(sliceAxis(fused, 2, n * D, (n + 1) * D), H); // [B, H, T, E]
        const turn = (heads: Tensor): Tensor => rotateHeads(heads, positions, tables);
        const mixed = mergeHeads(attention(turn(part(0)), turn(part(1)), part(2), mask));
        const middle = add(x, dense(weights, mixed, `${at}.attn.Wo`));
        const wide = dense(weights, normalize(weights, middle, `${at}.mlp_norm`), `${at}.mlp.Wi`); // [B, T, 2·F]
        const gated = mul(act(sliceAxis(wide, 2, 0, F)), sliceAxis(wide, 2, F, 2 * F));
        return add(middle, dense(weights, gated, `${at}.mlp.Wo`));
      },
      normalize(weights, embedded, 'model.embeddings.norm'),
    );
    return normalize(weights, hidden, 'model.final_norm'); // [B, T, D]
  }

  /** [B, T, D] → [B, D]: the first token, or the mean of those that count. */
  function pool(hidden: Tensor, counted: Tensor): Tensor {
    const [B, T] = counted.shape as [number, number];
    if (config.classifier_pooling === 'cls') return reshape(sliceAxis(hidden, 1, 0, 1), [B, D]);
    const shares = reshape(cast(counted, 'float32'), [B, T, 1]);
    return div(sum(mul(hidden, shares), { axes: 1 }), broadcastTo(sum(shares, { axes: 1 }), [B, D]));
  }

  return {
    type: 'modernbert',
    vocabSize: V,
    hiddenSize: D,
    maxPositions: config.max_position_embeddings,
    tokenTypes: 1,
    labels,
    labelKind: readLabelKind(config),
    headModules: ['head', 'classifier'],
    parameters: [
      matrix('model.embeddings.tok_embeddings.weight', [V, D], std),
      ...normSpecs('model.embeddings.norm'),
      ...types.flatMap((_, index) => {
        const at = `model.layers.${index}`;
        return [
          ...(index === 0 ? [] : normSpecs(`${at}.attn_norm`)),
          ...projection(`${at}.attn.Wqkv`, [3 * D, D], { std, bias: config.attention_bias }),
          ...projection(`${at}.attn.Wo`, [D, D], { std, bias: config.attention_bias }),
          ...normSpecs(`${at}.mlp_norm`),
          ...projection(`${at}.mlp.Wi`, [2 * F, D], { std, bias: config.mlp_bias }),
          ...projection(`${at}.mlp.Wo`, [D, F], { std, bias: config.mlp_bias }),
        ];
      }),
      ...normSpecs('model.final_norm'),
      ...projection('head.dense', [D, D], { std, bias: config.classifier_bias }),
      ...normSpecs('head.norm'),
      ...projection('classifier', [labels.length, D], { std, bias: true }),
    ],
    encode,
    classify(weights, input) {
      const pooled = pool(encode(weights, input), input.counted);
      const head = normalize(weights, headAct(dense(weights, pooled, 'head.dense')), 'head.norm');
      return dense(weights, head, 'classifier'); // [B, A]
    },
  };
}

/** Rotary settings of one type of layer, in the older form of the config and the newer. */
function readLayerRope(config: ModernbertConfig, E: number, type: LayerType): RopeConfig {
  const older = type === 'full_attention' ? config.global_rope_theta : config.local_rope_theta;
  const theta = older ?? (type === 'full_attention' ? 160_000 : 10_000);
  const own = config.rope_parameters?.[type] ?? {};
  return readRope({ rope_parameters: { rope_theta: theta, ...own } }, E, config.max_position_embeddings);
}
