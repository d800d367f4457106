/** A model that is read for its final hidden states: a language model, or an encoder with or without a head. */
import type { Tensor } from '../graph/tensor.ts';
import type { Parameters } from '../nn/parameters.ts';
import type { CausalModel, Weights } from './causal-model.ts';
import { type LoadOptions, loadModel } from './checkpoint.ts';
import { isEncoder, loadScoreBase } from './encoder-checkpoint.ts';
import { countedUpTo } from './encoder-score.ts';
import { locateModel } from './hub.ts';
import { mergeAdapter } from './merge-adapter.ts';
import { buildClassifier } from './registry.ts';

/** Right-padded sequences: ids and positions [B, T], and the flat index of each sequence's last token [B]; all int64. */
export interface EmbedderInput {
  readonly ids: Tensor;
  readonly positions: Tensor;
  readonly last: Tensor;
}

export interface Embedder
  extends Pick<CausalModel, 'vocabSize' | 'hiddenSize' | 'maxPositions' | 'parameters'> {
  /** Final hidden states [B, T, D]; those of padding mean nothing. */
  hidden(weights: Weights, input: EmbedderInput): Tensor;
}

/** The hidden states of a language model. */
export function embedderOf(model: CausalModel): Embedder {
  const { vocabSize, hiddenSize, maxPositions, parameters } = model;
  return {
    ...{ vocabSize, hiddenSize, maxPositions, parameters },
    hidden: (weights, { ids, positions }) => model.forward(weights, { ids, positions }).hidden,
  };
}

/** Loads what `loadModel` loads, or an encoder. @throws as `loadModel` */
export async function loadEmbedder(
  source: string,
  options: LoadOptions = {},
): Promise<{ readonly embedder: Embedder; readonly parameters: Parameters }> {
  if (!isEncoder(await locateModel(source, options))) {
    const { model, parameters } = await loadModel(source, options);
    return { embedder: embedderOf(model), parameters };
  }
  const loaded = await loadScoreBase(source, options);
  const { parameters } = mergeAdapter(loaded);
  const encoder = buildClassifier(loaded.config, source);
  return {
    embedder: {
      ...encoder,
      hidden: (weights, { ids, last }) => encoder.encode(weights, { ids, counted: countedUpTo(last, ids) }),
    },
    parameters,
  };
}
