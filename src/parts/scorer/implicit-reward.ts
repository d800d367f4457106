/** The reward that a language model trained on preferences stands for. */
import { ConfigError } from '../../core/errors.ts';
import type { LoadedModel } from '../../models/checkpoint.ts';
import { SCORE_WEIGHT } from '../../models/score-model.ts';
import type { TokenExample } from '../batch.ts';
import { type ScoreOptions, sequenceLogProbs } from '../reference.ts';

type LanguageModel = Pick<LoadedModel, 'model' | 'parameters' | 'source'>;

export interface ImplicitRewardOptions extends Omit<ScoreOptions, 'model' | 'parameters'> {
  readonly policy: LanguageModel;
  /** What the policy was before it was trained on preferences. */
  readonly reference: LanguageModel;
  readonly beta: number;
}

/**
 * β log π(y|x)/π_ref(y|x) of each sequence, over its learned tokens (Rafailov et al. 2023, arXiv 2305.18290, eq. 5 without the
 * term that depends on the prompt alone: differences between completions of one prompt mean something, values do not).
 *
 * @param examples ids with masks that are 1 on the completion
 * @param options `onProgress` counts the passes of both models, 2·N
 * @returns nats times β, [N]
 * @throws ConfigError when one of the models has a score head in place of a language model's
 */
export async function implicitRewards(
  examples: readonly TokenExample[],
  { policy, reference, beta, onProgress, ...rest }: ImplicitRewardOptions,
): Promise<Float64Array> {
  for (const { model, source } of [policy, reference]) {
    if (model.parameters.some(({ name }) => name === SCORE_WEIGHT)) {
      throw new ConfigError({
        where: source,
        expected: 'a language model: the implicit reward is made of its log-probabilities',
        received: 'a model with a score head',
        fix: 'Judge it as a reward model, without a reference',
      });
    }
  }
  const total = 2 * examples.length;
  const passes: Float64Array[] = [];
  for (const { model, parameters } of [policy, reference]) {
    const before = passes.length * examples.length;
    const report = onProgress && { onProgress: (done: number) => onProgress(before + done, total) };
    passes.push(await sequenceLogProbs(examples, { ...rest, model, parameters, ...report }));
  }
  const [own, other] = passes as [Float64Array, Float64Array];
  return own.map((logProb, index) => beta * (logProb - other[index]!));
}
