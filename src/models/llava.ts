/**
 * A decoder that sees pictures: the squares of a vision encoder go through a projector of two layers into the embeddings of
 * a language model, where placeholder tokens hold their places.
 *
 * @paper  Liu et al. 2023, "Improved Baselines with Visual Instruction Tuning", section 3.2; 2310.03744
 * @code   huggingface/transformers `models/llava/modeling_llava.py` (golden logits and gradients recorded from it)
 * @differs the vision encoder is SigLIP; no text encoder of one, no pictures of several sizes
 */
import { z } from 'zod';
import { ConfigError, DataError } from '../core/errors.ts';
import { cast, equal, maximum, sub, where } from '../graph/ops/elementwise.ts';
import { gather } from '../graph/ops/indexing.ts';
import { cumulativeSum } from '../graph/ops/reduce.ts';
import { concat, reshape, sliceAxis } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';
import { activation, activationNames } from '../nn/activation.ts';
import { linear } from '../nn/linear.ts';
import { projection } from '../nn/parameter-specs.ts';
import type { ParameterSpec } from '../nn/parameters.ts';
import type { CausalModel, Weights } from './causal-model.ts';
import { siglipVision, siglipVisionConfig, type VisionModel } from './siglip.ts';

export const llavaConfig = z.looseObject({
  text_config: z.looseObject({ model_type: z.string() }),
  vision_config: siglipVisionConfig.extend({ model_type: z.literal('siglip_vision_model') }),
  image_token_index: z.int().nonnegative().default(32000),
  projector_hidden_act: z.enum(activationNames).default('gelu'),
  multimodal_projector_bias: z.boolean().default(true),
  /** Which layers' outputs are projected, side by side; −1 is the last, 0 what goes into the first. */
  vision_feature_layer: z.union([z.int(), z.array(z.int()).min(1)]).default(-2),
  /** `default` leaves out the first square, where encoders of another kind have a token of their own. */
  vision_feature_select_strategy: z.enum(['default', 'full']).default('default'),
});
export type LlavaConfig = z.infer<typeof llavaConfig>;

const TEXT = 'language_model.';
const VISION = 'vision_tower.';
const PROJECTOR = 'multi_modal_projector';

/** A language model with a vision encoder and the projector between them. */
export interface MultimodalModel {
  readonly type: string;
  /** The language model, whose weights are named without `language_model.`. */
  readonly text: CausalModel;
  readonly vision: VisionModel;
  /** Token that holds the place of one square. */
  readonly imageTokenId: number;
  /** Such tokens per picture. */
  readonly tokensPerImage: number;
  /** Every weight of all three parts. */
  readonly parameters: readonly ParameterSpec[];
  /** Pixels [I, C, H, W] of I pictures → embeddings of their tokens [I · tokensPerImage, D]. */
  imageFeatures(weights: Weights, pixels: Tensor): Tensor;
  /**
   * The language model over all weights, with pictures in place of their tokens: what losses and programs for text take.
   * Rows of `features` go to the image tokens of a batch in the order of their positions, row by row.
   */
  withImages(features: Tensor): CausalModel;
}

/**
 * Builds the model from a parsed config.json.
 *
 * @param text builds the language model of `text_config`
 * @throws ConfigError when a layer is named that the vision encoder lacks, or the image token is outside the vocabulary
 */
export function llava(
  config: LlavaConfig,
  text: (config: Readonly<Record<string, unknown>>) => CausalModel,
): MultimodalModel {
  const language = text(config.text_config);
  const vision = siglipVision(config.vision_config);
  const layers = [config.vision_feature_layer].flat().map((layer) => readLayer(layer, vision));
  if (config.image_token_index >= language.vocabSize) {
    throw new ConfigError({
      where: 'config.json image_token_index',
      expected: `a token below ${language.vocabSize}, the vocabulary of the language model`,
      received: String(config.image_token_index),
      fix: 'Take config.json from the original checkpoint',
    });
  }
  const first = config.vision_feature_select_strategy === 'default' ? 1 : 0;
  const tokensPerImage = vision.patches - first;
  const act = activation(config.projector_hidden_act);
  const D = language.hiddenSize;
  const ofText = partOf(TEXT, language.parameters);
  const ofVision = partOf(VISION, vision.parameters);
  const init = { std: 1 / Math.sqrt(D), bias: config.multimodal_projector_bias };
  const parameters = [
    ...named(VISION, vision.parameters),
    ...projection(`${PROJECTOR}.linear_1`, [D, vision.hiddenSize * layers.length], init),
    ...projection(`${PROJECTOR}.linear_2`, [D, D], init),
    ...named(TEXT, language.parameters),
  ];
  const project = (weights: Weights, x: Tensor, name: string): Tensor =>
    linear(x, weights[`${PROJECTOR}.${name}.weight`]!, weights[`${PROJECTOR}.${name}.bias`]);

  return {
    type: 'llava',
    text: language,
    vision,
    imageTokenId: config.image_token_index,
    tokensPerImage,
    parameters,
    imageFeatures(weights, pixels) {
      const states = vision.layers(ofVision(weights), pixels);
      const chosen = layers.map((layer) => sliceAxis(states[layer]!, 1, first, vision.patches));
      const wide = chosen.length === 1 ? chosen[0]! : concat(chosen, 2); // [I, N, D′]
      const features = project(weights, act(project(weights, wide, 'linear_1')), 'linear_2');
      return reshape(features, [pixels.shape[0]! * tokensPerImage, D]);
    },
    withImages: (features) => ({
      ...language,
      parameters,
      forward: (weights, input) =>
        language.forward(ofText(weights), {
          ...input,
          embedded: (tokens) => placeFeatures(tokens, input.ids, features, config.image_token_index),
        }),
      head: (weights) => language.head(ofText(weights)),
    }),
  };
}

/** Row n of `features` in place of the n-th image token; other tokens [B, T, D] stay. */
function placeFeatures(tokens: Tensor, ids: Tensor, features: Tensor, imageTokenId: number): Tensor {
  const [B, T] = ids.shape as [number, number];
  const isImage = equal(reshape(ids, [B * T]), imageTokenId);
  const order = maximum(sub(cumulativeSum(cast(isImage, 'int64'), 0), 1), 0); // [B·T]
  const placed = reshape(gather(features, order), tokens.shape);
  return where(reshape(isImage, [B, T, 1]), placed, tokens);
}

/**
 * Checks that a batch has a place for each square of its pictures.
 *
 * @throws DataError when the number of image tokens is another
 */
export function checkImageTokens(
  { imageTokenId, tokensPerImage }: Pick<MultimodalModel, 'imageTokenId' | 'tokensPerImage'>,
  ids: Iterable<number>,
  pictures: number,
): void {
  let found = 0;
  for (const id of ids) if (id === imageTokenId) found++;
  if (found === pictures * tokensPerImage) return;
  throw new DataError({
    where: 'image tokens',
    expected: `${pictures * tokensPerImage} of id ${imageTokenId}, ${tokensPerImage} for each of ${pictures} pictures`,
    received: String(found),
    fix: 'Repeat the image token once per square where a picture stands',
  });
}

function readLayer(layer: number, vision: VisionModel): number {
  const index = layer < 0 ? vision.layerCount + 1 + layer : layer;
  if (index >= 0 && index <= vision.layerCount) return index;
  throw new ConfigError({
    where: 'config.json vision_feature_layer',
    expected: `a layer from ${-vision.layerCount - 1} to ${vision.layerCount}`,
    received: String(layer),
    fix: 'Take config.json from the original checkpoint',
  });
}

const named = (prefix: string, specs: readonly ParameterSpec[]): ParameterSpec[] =>
  specs.map((spec) => ({ ...spec, name: `${prefix}${spec.name}` }));

/** The weights of one part, under its own names. */
const partOf =
  (prefix: string, specs: readonly ParameterSpec[]) =>
  (weights: Weights): Weights =>
    Object.fromEntries(specs.map(({ name }) => [name, weights[`${prefix}${name}`]!]));
