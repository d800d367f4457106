/**
 * An encoder with one number per sequence as a score model: a reward model that reads the whole text in both directions, in
 * the layout of transformers' `…ForSequenceClassification` with one label.
 */
import { ConfigError } from '../core/errors.ts';
import { iota } from '../graph/ops/common.ts';
import { cast, lessEqual } from '../graph/ops/elementwise.ts';
import { reshape } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { CausalModel } from './causal-model.ts';
import type { ClassifierModel } from './classifier-model.ts';

/** The encoder behind the interface that trainers and adapters know. It writes no text: `forward` and `head` throw. */
export function encoderScoreModel(encoder: ClassifierModel): CausalModel {
  const refuse = (): never => {
    throw new ConfigError({
      where: encoder.type,
      expected: 'a language model',
      received: 'an encoder, which writes no text',
      fix: 'Name a language model; encoders score texts (bt-rm, createClassifier)',
    });
  };
  const matrices = encoder.parameters.filter(({ linear }) => linear !== undefined);
  return {
    type: encoder.type,
    vocabSize: encoder.vocabSize,
    hiddenSize: encoder.hiddenSize,
    ...{ layerCount: 0, keyValueHeads: 0, headSize: 0 }, // It has no cache.
    maxPositions: encoder.maxPositions,
    parameters: encoder.parameters,
    forward: refuse,
    head: refuse,
    labels: {
      modules: encoder.headModules,
      score: (weights, { ids, last }) => encoder.classify(weights, { ids, counted: countedUpTo(last, ids) }),
    },
    matrixParameters: matrices.reduce((total, { shape }) => total + shape[0]! * shape[1]!, 0),
  };
}

/**
 * 1 for the tokens of each sequence up to its last, 0 for the padding after it: int64 [B, T].
 *
 * @param last [B], flat index of the last token in [B, T]
 * @param ids [B, T], read for its shape
 */
export function countedUpTo(last: Tensor, ids: Tensor): Tensor {
  const [B, T] = ids.shape as [number, number];
  return cast(lessEqual(reshape(iota(B * T), [B, T]), reshape(last, [B, 1])), 'int64');
}
