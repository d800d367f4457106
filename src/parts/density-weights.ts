/** Weights of undesirable completions by the density of their prompts, where the two marks come from different prompts. */
import { DataError } from '../core/errors.ts';
import { fitLogistic, logOdds } from '../core/logistic-regression.ts';
import { createRng } from '../core/rng.ts';
import { type Embedder, embedderOf, loadEmbedder } from '../models/embedder.ts';
import type { Parameters } from '../nn/parameters.ts';
import { checkTokenizerFits, loadTokenizer } from '../tokenizer/index.ts';
import { embeddingForward } from './forward.ts';
import type { PrepareContext } from './method.ts';
import type { TrainerConfig } from './trainer/config.ts';
import type { MarkedCompletion } from './unpaired-data.ts';

export interface DensityFields {
  /** Model that embeds prompts; the reference when undefined. */
  readonly embeddingModel?: string | undefined;
  /** Most prompts of each mark that the classifier is fitted to. */
  readonly promptSampleSize: number;
  readonly minDensityRatio: number;
  readonly maxDensityRatio: number;
}

/**
 * exp(log-odds), kept within bounds: the estimated density of a prompt among desirable completions over that among undesirable
 * ones, as the classifier was fitted with both classes weighing the same.
 *
 * @param odds log-odds of "desirable", nats
 * @source Jung et al. 2024 (arXiv 2404.04656), section 4.3; huggingface/trl 0.24.0 `BCOTrainer._get_udm_weight`
 * @example clampedRatio(Math.log(3), { minDensityRatio: 0.5, maxDensityRatio: 10 }) // 3
 */
export function clampedRatio(
  odds: number,
  { minDensityRatio, maxDensityRatio }: Pick<DensityFields, 'minDensityRatio' | 'maxDensityRatio'>,
): number {
  return Math.min(Math.max(Math.exp(odds), minDensityRatio), maxDensityRatio);
}

/**
 * The weight of each completion: 1 for desirable ones, and for others how much more often than among undesirable completions
 * their prompt occurs among desirable ones, by a classifier of prompt embeddings. It is fitted to a sample of the training rows,
 * the same whichever completions are weighed.
 *
 * @throws DataError when the training rows have one mark only
 */
export async function densityWeights<C extends TrainerConfig & DensityFields>(
  completions: readonly MarkedCompletion[],
  context: PrepareContext<C>,
): Promise<number[]> {
  const { config } = context;
  const training = context.training as readonly MarkedCompletion[];
  const rng = createRng(config.seed).split('density');
  const sample = [true, false].flatMap((mark) => {
    const marked = training.filter(({ label }) => label === mark);
    if (marked.length === 0) {
      throw new DataError({
        where: '--use-udm',
        expected: 'desirable and undesirable completions',
        received: `${training.length} of one mark`,
        fix: 'Add rows of the other mark, or leave --use-udm out',
      });
    }
    const order = rng.split(String(mark)).permutation(marked.length);
    return Array.from(order.subarray(0, config.promptSampleSize), (index) => marked[index]!);
  });
  const rejected = completions.filter(({ label }) => !label);
  const embeddings = await embedPrompts([...sample, ...rejected], context);
  const classifier = fitLogistic(
    embeddings.slice(0, sample.length),
    sample.map(({ label }) => label),
  );
  const ratios = embeddings.slice(sample.length).map((x) => clampedRatio(logOdds(classifier, x), config));
  let next = 0;
  return completions.map(({ label }) => (label ? 1 : ratios[next++]!));
}

/** Embeddings of the prompts, [D] each; equal prompts are embedded once. */
async function embedPrompts<C extends TrainerConfig & DensityFields>(
  completions: readonly MarkedCompletion[],
  context: PrepareContext<C>,
): Promise<Float32Array[]> {
  const { engine, config, onProgress } = context;
  const places = new Map<string, number>();
  const prompts: Int32Array[] = [];
  const placeOf = completions.map(({ example }) => {
    const prompt = Int32Array.from(example.ids.subarray(0, example.promptLength));
    const key = prompt.join(' ');
    const place = places.get(key) ?? prompts.push(prompt) - 1;
    places.set(key, place);
    return place;
  });
  const { embedder, parameters, read } = await openEmbedder(context);
  const forward = embeddingForward({
    ...{ engine, embedder, parameters, batchSize: config.evaluationBatchSize, bucket: 16 },
    onProgress: (done, total) => onProgress('embed prompts', done, total),
  });
  try {
    const vectors = await forward.run(prompts.map((ids) => read(ids).slice(0, embedder.maxPositions)));
    return placeOf.map((place) => vectors[place]!);
  } finally {
    forward.dispose();
  }
}

/** The model that embeds, and how it reads a prompt of the policy's tokens: through its text, where it has a tokenizer of its own. */
async function openEmbedder<C extends DensityFields>({
  config: { embeddingModel },
  ...own
}: PrepareContext<C>): Promise<{
  readonly embedder: Embedder;
  readonly parameters: Parameters;
  readonly read: (ids: Int32Array) => Int32Array | number[];
}> {
  if (embeddingModel === undefined)
    return { embedder: embedderOf(own.model), parameters: own.parameters, read: (ids) => ids };
  const loaded = await loadEmbedder(embeddingModel);
  const tokenizer = await loadTokenizer(embeddingModel);
  checkTokenizerFits(tokenizer, { vocabSize: loaded.embedder.vocabSize, where: embeddingModel });
  return { ...loaded, read: (ids) => tokenizer.encode(own.tokenizer.decode(ids)) };
}
