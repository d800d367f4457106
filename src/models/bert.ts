/**
 * BERT for sequence classification: every token sees every other, normalisation after each sum, a pooled first token.
 *
 * @paper  Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers", section 3; 1810.04805
 * @code   huggingface/transformers `models/bert/modeling_bert.py` (golden logits and gradients recorded from it)
 * @differs none in value; dropout is not implemented
 */
import { z } from 'zod';
import { add, tanh } from '../graph/ops/elementwise.ts';
import { embedding } from '../graph/ops/indexing.ts';
import { layerNorm } from '../graph/ops/neural.ts';
import { reshape, sliceAxis } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';
import { activation, activationNames } from '../nn/activation.ts';
import { attention, mergeHeads, paddingMask, placesOf, splitHeads } from '../nn/attention.ts';
import { linear } from '../nn/linear.ts';
import { layerNormSpecs, matrix, projection } from '../nn/parameter-specs.ts';
import type { Weights } from './causal-model.ts';
import type { ClassifierInput, ClassifierModel } from './classifier-model.ts';
import { headSize } from './decoder-config.ts';
import { encoderConfig, readLabelKind, readLabels } from './encoder-config.ts';

export const bertConfig = encoderConfig.extend({
  type_vocab_size: z.int().positive().default(2),
  hidden_act: z.enum(activationNames).default('gelu'),
  layer_norm_eps: z.number().positive().default(1e-12),
  position_embedding_type: z.literal('absolute').default('absolute'),
  is_decoder: z.literal(false).default(false),
});
export type BertConfig = z.infer<typeof bertConfig>;

/** Builds the model from a parsed config.json. Throws `ConfigError` when heads do not divide the hidden size. */
export function bert(config: BertConfig): ClassifierModel {
  const { vocab_size: V, hidden_size: D, intermediate_size: F, num_attention_heads: H } = config;
  headSize(D, H);
  const labels = readLabels(config);
  const act = activation(config.hidden_act);
  const biased = { std: config.initializer_range, bias: true };
  const layers = Array.from({ length: config.num_hidden_layers }, (_, i) => `bert.encoder.layer.${i}`);

  const dense = (weights: Weights, x: Tensor, name: string): Tensor =>
    linear(x, weights[`${name}.weight`]!, weights[`${name}.bias`]!);
  const normalize = (weights: Weights, x: Tensor, name: string): Tensor =>
    layerNorm(x, weights[`${name}.weight`]!, weights[`${name}.bias`]!, config.layer_norm_eps);

  function embed(weights: Weights, { ids, types }: ClassifierInput): Tensor {
    const table = (name: string): Tensor => weights[`bert.embeddings.${name}.weight`]!;
    const places = embedding(table('position_embeddings'), placesOf(ids)); // [B, T, D]
    const kinds =
      types === undefined
        ? sliceAxis(table('token_type_embeddings'), 0, 0, 1) // [1, D]
        : embedding(table('token_type_embeddings'), types);
    return normalize(
      weights,
      add(add(embedding(table('word_embeddings'), ids), kinds), places),
      'bert.embeddings.LayerNorm',
    ); // [B, T, D]
  }

  function encode(weights: Weights, input: ClassifierInput): Tensor {
    const mask = paddingMask(input.counted);
    return layers.reduce(
      (x, at) => {
        const heads = (name: string): Tensor =>
          splitHeads(dense(weights, x, `${at}.attention.self.${name}`), H);
        const mixed = mergeHeads(attention(heads('query'), heads('key'), heads('value'), mask)); // [B, T, D]
        const attended = add(x, dense(weights, mixed, `${at}.attention.output.dense`));
        const middle = normalize(weights, attended, `${at}.attention.output.LayerNorm`);
        const wide = act(dense(weights, middle, `${at}.intermediate.dense`)); // [B, T, F]
        return normalize(
          weights,
          add(middle, dense(weights, wide, `${at}.output.dense`)),
          `${at}.output.LayerNorm`,
        );
      },
      embed(weights, input),
    );
  }

  return {
    type: 'bert',
    vocabSize: V,
    hiddenSize: D,
    maxPositions: config.max_position_embeddings,
    tokenTypes: config.type_vocab_size,
    labels,
    labelKind: readLabelKind(config),
    headModules: ['bert.pooler', 'classifier'],
    parameters: [
      matrix('bert.embeddings.word_embeddings.weight', [V, D], biased.std),
      matrix('bert.embeddings.position_embeddings.weight', [config.max_position_embeddings, D], biased.std),
      matrix('bert.embeddings.token_type_embeddings.weight', [config.type_vocab_size, D], biased.std),
      ...layerNormSpecs('bert.embeddings.LayerNorm', D),
      ...layers.flatMap((at) => [
        ...['query', 'key', 'value'].flatMap((part) =>
          projection(`${at}.attention.self.${part}`, [D, D], biased),
        ),
        ...projection(`${at}.attention.output.dense`, [D, D], biased),
        ...layerNormSpecs(`${at}.attention.output.LayerNorm`, D),
        ...projection(`${at}.intermediate.dense`, [F, D], biased),
        ...projection(`${at}.output.dense`, [D, F], biased),
        ...layerNormSpecs(`${at}.output.LayerNorm`, D),
      ]),
      ...projection('bert.pooler.dense', [D, D], biased),
      ...projection('classifier', [labels.length, D], biased),
    ],
    encode,
    classify(weights, input) {
      const first = reshape(sliceAxis(encode(weights, input), 1, 0, 1), [input.ids.shape[0]!, D]);
      return dense(weights, tanh(dense(weights, first, 'bert.pooler.dense')), 'classifier'); // [B, A]
    },
  };
}
