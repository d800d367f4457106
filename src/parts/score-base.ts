/** What methods that train a score head share: a head over what was loaded, sequences up to their stop token, their scores. */
import { createRng } from '../core/rng.ts';
import type { EncodedExample } from '../data/index.ts';
import type { LoadedModel } from '../models/checkpoint.ts';
import { mergeAdapter } from '../models/merge-adapter.ts';
import {
  SCORE_WEIGHT,
  type ScoreTask,
  scoreConfig,
  scoreModelFrom,
  scoreModelOver,
} from '../models/score-model.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { scoreForward } from './forward.ts';
import type { FinishContext } from './method.ts';

export interface ScoreHeadOptions extends ScoreTask {
  readonly seed: number;
  readonly lora: boolean;
  readonly tokenizer: Tokenizer;
}

/**
 * A model with a head of as many numbers as `labels`: as loaded where it has one of that size, else with a new one over its
 * trunk, drawn from the seed. With an adapter the trunk is shared, otherwise copied.
 */
export function scoreHeadOver(loaded: LoadedModel, options: ScoreHeadOptions): LoadedModel {
  const { seed, lora, tokenizer, labels, perToken } = options;
  const outputs = labels.length;
  const config = scoreConfig(loaded.config, tokenizer, { labels, ...(perToken && { perToken }) });
  const own = loaded.model.parameters.find(({ name }) => name === SCORE_WEIGHT);
  if (own?.shape[0] === outputs) return { ...loaded, config };
  const made = { outputs, rng: createRng(seed).split('head') };
  return {
    ...loaded,
    ...(lora ? scoreModelOver(loaded, made) : scoreModelFrom(mergeAdapter(loaded), made)),
    config,
  };
}

/** Without what a chat template writes after the stop token: the score is read where sampling ends. */
export function upToStop(example: EncodedExample): EncodedExample {
  const end = example.mask.lastIndexOf(1) + 1;
  return { ...example, ids: example.ids.slice(0, end), mask: example.mask.slice(0, end) };
}

/** The numbers of the head for each sequence, [A], of the model as it is now. */
export async function scoresOf<C extends { readonly evaluationBatchSize: number }>(
  sequences: readonly ArrayLike<number>[],
  { engine, model, parameters, config: { evaluationBatchSize }, onProgress }: FinishContext<C>,
): Promise<Float32Array[]> {
  const forward = scoreForward({
    ...{ engine, model, parameters, bucket: 16 },
    batchSize: 2 * evaluationBatchSize,
    onProgress: (done, total) => onProgress('score', done, total),
  });
  try {
    return await forward.run(sequences);
  } finally {
    forward.dispose();
  }
}
