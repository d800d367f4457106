/** A reward model as a scorer. */
import { ConfigError } from '../../core/errors.ts';
import { isScoreModel, SCORE_WEIGHT } from '../../models/score-model.ts';
import { type ForwardOptions, scoreForward } from '../forward.ts';
import { combineAttributes, normalizeScore, type RewardCard } from './reward-card.ts';
import type { Scorer } from './scorer.ts';

export interface RewardModelScorerOptions extends ForwardOptions {
  readonly name?: string;
  /** Card of the model: its normaliser is applied, and its rule for the stop token. */
  readonly card?: RewardCard;
  /** Token that ends completions, for cards whose rule is to append it. */
  readonly eosId?: number;
}

/**
 * Scores prompt + completion at its last token. Sequences of similar length share a forward pass; a score does not depend
 * on the others in its batch (to float32 rounding). A sequence longer than the model's context cannot be scored.
 *
 * @throws ConfigError when the model has no score head
 */
export function rewardModelScorer(options: RewardModelScorerOptions): Scorer {
  const { model, card, eosId, name = 'reward model' } = options;
  if (!isScoreModel(model)) {
    throw new ConfigError({
      where: options.name === undefined ? name : `reward model ${name}`,
      expected: 'a model with a score head (…ForSequenceClassification)',
      received: 'a language model',
      fix: 'Train one with `heed bt-rm`; heed eval-rm judges a language model with --reference',
    });
  }
  const outputs = model.parameters.find(({ name: parameter }) => parameter === SCORE_WEIGHT)?.shape[0] ?? 1;
  const attributes = card?.attributes;
  if (outputs !== (attributes?.length ?? 1)) {
    throw new ConfigError({
      where: `reward model ${name}`,
      expected:
        attributes === undefined
          ? 'one score, or a card that says how to combine them'
          : `${attributes.length} numbers, as its card says`,
      received: `a head of ${outputs} numbers`,
      fix: 'Train it with `heed regression-rm`, which writes the card',
    });
  }
  const forward = scoreForward(options);
  return {
    name,
    async score(items) {
      const sequences = items.map(({ promptIds, completionIds, finish }) => {
        const ids = [...Array.from(promptIds), ...Array.from(completionIds)];
        // A sampled completion is scored as it is: one that was cut has no stop token, and must not look finished.
        const whole = finish === undefined && card?.eosRule === 'append' && eosId !== undefined;
        return whole && ids.at(-1) !== eosId ? [...ids, eosId] : ids;
      });
      const scorable = sequences.flatMap((ids, index) =>
        ids.length > 0 && ids.length <= model.maxPositions ? [index] : [],
      );
      const scores = await forward.run(scorable.map((index) => sequences[index]!));
      const result = new Array<number | undefined>(items.length).fill(undefined);
      scorable.forEach((index, i) => {
        const numbers = scores[i]!;
        result[index] =
          attributes === undefined
            ? normalizeScore(numbers[0]!, card?.normalizer)
            : combineAttributes(numbers, attributes);
      });
      return result;
    },
    dispose: () => forward.dispose(),
  };
}
