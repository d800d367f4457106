/** Preference rows for methods that learn from pairs. */
import { createEncoder, type EncodedPair, encodeCache, encodeRows, type Row } from '../data/index.ts';
import type { TokenExample } from './batch.ts';
import type { EncodeContext, EncodedRows, PrepareContext } from './method.ts';
import { cachedSequenceLogProbs } from './reference.ts';
import type { PairExample } from './step/pairwise.ts';
import type { TrainerConfig } from './trainer/config.ts';
import { encodingOptions } from './trainer/encoding-fields.ts';

type TextConfig = TrainerConfig & { readonly stopTokens: readonly string[]; readonly separator: string };

export function encodePairs<C extends TextConfig>(
  rows: readonly Row[],
  { config, tokenizer, encodeFolder }: EncodeContext<C>,
): EncodedRows<EncodedPair> {
  const { maxLength, truncation, refused } = config;
  const options = { maxLength, truncation, ...encodingOptions(config) };
  const cache = encodeCache(encodeFolder, tokenizer, { preference: options });
  return encodeRows(rows, createEncoder(tokenizer, options).preference, { refused, cache });
}

/** The pairs with the reference's log-probabilities; `weigh` gives both sides with the weights of their tokens as masks. */
export async function pairsWithReference<C extends TrainerConfig>(
  pairs: readonly PairExample[],
  weigh: (pair: PairExample) => readonly [TokenExample, TokenExample],
  context: PrepareContext<C>,
): Promise<PairExample[]> {
  const { scores } = await cachedSequenceLogProbs(pairs.flatMap(weigh), {
    engine: context.engine,
    model: context.model,
    parameters: context.parameters,
    config: context.modelConfig,
    folder: context.cacheFolder,
    batchSize: 2 * context.config.evaluationBatchSize,
    bucket: 16,
    onProgress: (done, total) => context.onProgress('reference', done, total),
  });
  return pairs.map((pair, index) => ({
    ...pair,
    reference: { chosen: scores[2 * index]!, rejected: scores[2 * index + 1]! },
  }));
}
