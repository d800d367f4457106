/** Rows for methods that learn from single completions: marked ones, or pairs taken apart. */
import { DataError } from '../core/errors.ts';
import { type MetricDefinition, metric } from '../core/metrics.ts';
import type { Rng } from '../core/rng.ts';
import {
  createEncoder,
  type EncodedExample,
  type EncoderOptions,
  encodeCache,
  encodeRows,
  type Row,
} from '../data/index.ts';
import type { TokenExample } from './batch.ts';
import type { EncodeContext, EncodedRows, PrepareContext } from './method.ts';
import { cachedSequenceLogProbs } from './reference.ts';
import type { UnpairedExample } from './step/unpaired.ts';
import type { TrainerConfig } from './trainer/config.ts';
import { encodingOptions } from './trainer/encoding-fields.ts';

type TextConfig = TrainerConfig & { readonly stopTokens: readonly string[]; readonly separator: string };

/** Metrics of the skeleton `unpairedStep`. */
export const unpairedMetrics: readonly MetricDefinition[] = [
  metric('rewards/chosen', 'mean β·log(π/π_ref) of desirable completions, nats'),
  metric('rewards/rejected', 'the same of undesirable completions, nats'),
  metric('rewards/margins', 'difference of the two means, nats'),
  metric('logps/chosen', 'mean log π of desirable completions, summed over tokens, nats'),
  metric('logps/rejected', 'the same of undesirable completions, nats'),
  metric('logits/chosen', 'mean logit over desirable tokens and the vocabulary'),
  metric('logits/rejected', 'the same over undesirable tokens'),
  metric('entropy', 'mean entropy of the predictions at completion tokens, nats'),
];

/** A completion as encoded, before the reference has read it. */
export interface MarkedCompletion extends UnpairedExample {
  readonly example: EncodedExample;
}

/** Encodes unpaired rows; rows with `chosen` and `rejected` become two completions, the first desirable. */
export function encodeUnpaired<C extends TextConfig>(
  rows: readonly Row[],
  { config, tokenizer, encodeFolder }: EncodeContext<C>,
): EncodedRows<MarkedCompletion> {
  const { maxLength, truncation, refused } = config;
  const options: EncoderOptions = { maxLength, truncation, ...encodingOptions(config) };
  const encoder = createEncoder(tokenizer, options);
  if (rows[0]?.columns.chosen === undefined) {
    const cache = encodeCache(encodeFolder, tokenizer, { unpaired: options });
    return encodeRows(rows, encoder.unpaired, { refused, cache });
  }
  const cache = encodeCache(encodeFolder, tokenizer, { preference: options });
  const { examples, report } = encodeRows(rows, encoder.preference, { refused, cache });
  return {
    examples: examples.flatMap(({ chosen, rejected }) => [
      { example: chosen, label: true },
      { example: rejected, label: false },
    ]),
    report,
  };
}

/**
 * Each prompt with the completion of another row: in a random order the next one whose prompt differs. Completions are cut to
 * `maxLength`.
 *
 * @throws DataError when all prompts are equal
 */
export function mismatch(
  completions: readonly MarkedCompletion[],
  rng: Rng,
  maxLength: number,
): TokenExample[] {
  const order = rng.split('mismatch').permutation(completions.length);
  const prompts = completions.map(({ example }) => example.ids.subarray(0, example.promptLength).join(' '));
  const mismatched = new Array<TokenExample>(completions.length);
  order.forEach((index, place) => {
    let shift = 1;
    while (shift < order.length && prompts[order[(place + shift) % order.length]!] === prompts[index])
      shift++;
    if (shift >= order.length) {
      throw new DataError({
        where: 'mismatched pairs',
        expected: 'rows with at least two different prompts, to estimate the KL from mismatched ones',
        received: `${completions.length} rows with the same prompt`,
        fix: 'Add rows, or use --loss apo_zero_unpaired, which needs no KL',
      });
    }
    const { example: own } = completions[index]!;
    const { example: other } = completions[order[(place + shift) % order.length]!]!;
    const kept = Math.min(other.ids.length - other.promptLength, maxLength - own.promptLength);
    const end = other.promptLength + kept;
    mismatched[index] = {
      ids: [...own.ids.subarray(0, own.promptLength), ...other.ids.subarray(other.promptLength, end)],
      mask: [...new Array(own.promptLength).fill(0), ...other.mask.subarray(other.promptLength, end)],
    };
  });
  return mismatched;
}

/** The completions with the reference's log-probabilities, of mismatched ones too where they are given. */
export async function withReference<C extends TrainerConfig>(
  completions: readonly MarkedCompletion[],
  mismatched: readonly TokenExample[] | undefined,
  context: PrepareContext<C>,
): Promise<UnpairedExample[]> {
  const { scores } = await cachedSequenceLogProbs(
    [...completions.map(({ example }) => example), ...(mismatched ?? [])],
    {
      engine: context.engine,
      model: context.model,
      parameters: context.parameters,
      config: context.modelConfig,
      folder: context.cacheFolder,
      batchSize: context.config.evaluationBatchSize,
      bucket: 16,
      onProgress: (done, total) => context.onProgress('reference', done, total),
    },
  );
  return completions.map(({ example, label }, index) => ({
    ...{ example, label, reference: scores[index]! },
    ...(mismatched && {
      mismatched: { example: mismatched[index]!, reference: scores[completions.length + index]! },
    }),
  }));
}
