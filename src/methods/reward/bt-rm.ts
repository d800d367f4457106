/**
 * Bradley–Terry reward model: a score per completion whose differences explain preferences.
 *
 * @paper   Ouyang et al. 2022, "Training language models to follow instructions with human feedback" (arXiv 2203.02155),
 *          section 3.5, eq. 1; margin: Touvron et al. 2023 (arXiv 2307.09288), eq. 2; centering: Eisenstein et al. 2023
 *          (arXiv 2312.09244), section 2
 * @code    huggingface/trl v1.16.0 `trl/trainer/reward_trainer.py` (loss, metric names, defaults)
 * @differs 1. pairs that share a prompt are shuffled like any others; the paper keeps a prompt's pairs in one batch
 *          2. the score is read at the last token of the sequence as data, never by comparing ids with a padding id
 *          3. the model is saved with a card: normaliser, accuracy, calibration
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { DataError } from '../../core/errors.ts';
import { metric } from '../../core/metrics.ts';
import { createRng } from '../../core/rng.ts';
import {
  createEncoder,
  createTextEncoder,
  type EncodedPair,
  encodeCache,
  encodeRows,
  type Row,
} from '../../data/index.ts';
import { evaluatePairs } from '../../eval/calibration.ts';
import { loadScoreBase } from '../../models/encoder-checkpoint.ts';
import { mergeAdapter } from '../../models/merge-adapter.ts';
import {
  drawFresh,
  isScoreModel,
  scoreConfig,
  scoreModelFrom,
  scoreModelOver,
} from '../../models/score-model.ts';
import { bradleyTerryLoss } from '../../parts/loss/bradley-terry.ts';
import { defineMethod, type EncodeContext, type FinishContext, trainMetrics } from '../../parts/method.ts';
import { scoresOf, upToStop } from '../../parts/score-base.ts';
import { fitNormalizer, formatRewardCard, REWARD_CARD } from '../../parts/scorer/reward-card.ts';
import { type RewardPair, rewardModelStep } from '../../parts/step/reward-model.ts';
import { trainerFields } from '../../parts/trainer/config.ts';

export const config = z.strictObject({
  ...trainerFields,
  learningRate: field(z.number().positive().default(1e-4), { group: 'Optimization' }).describe(
    'peak learning rate; TRL’s default for reward models',
  ),
  ...section('Reward model', {
    labelSmoothing: field(z.number().min(0).max(0.499).default(0)).describe(
      'assumed share of flipped labels; 0 is the paper’s loss',
    ),
    centerRewardsCoefficient: field(z.number().min(0).default(0)).describe(
      'multiplies (chosen + rejected)², which keeps scores around 0; 0.01 is usual, more costs accuracy',
    ),
    referenceData: field(z.string().optional(), { placeholder: 'file' }).describe(
      'prompt-completion rows, such as samples of the policy, whose scores the saved normaliser maps to mean 0 and ' +
        'deviation 1; default: both completions of the held-out pairs',
    ),
  }),
});

type Config = z.output<typeof config>;

export const btRm = defineMethod<typeof config, RewardPair>({
  id: 'bt-rm',
  kind: 'train',
  summary: 'reward model on pairs of a chosen and a rejected completion (Bradley–Terry)',
  data: 'preference',
  config,
  needs: ['policy'],
  metrics: [
    ...trainMetrics,
    metric('accuracy', 'share of pairs with the chosen score above the rejected one; a tie counts as wrong'),
    metric('margin', 'mean difference of the two scores'),
    metric('min_reward', 'lowest score of the batch'),
    metric('mean_reward', 'mean score'),
    metric('max_reward', 'highest score of the batch'),
    metric('eval_ece', 'expected calibration error of σ(margin) on held-out pairs, 0 to 1, after training'),
  ],
  load: loadScoreBase,
  adapt(loaded, { config: { seed, lora }, tokenizer }) {
    const rng = createRng(seed).split('head');
    if (isScoreModel(loaded.model)) return drawFresh(loaded, rng);
    const trunk = mergeAdapter(loaded);
    return {
      ...loaded,
      // An adapter leaves the trunk as it is: no copy.
      ...(lora ? scoreModelOver(loaded, { rng }) : scoreModelFrom(trunk, { rng })),
      config: scoreConfig(loaded.config, tokenizer),
    };
  },
  encode(rows, context) {
    const { maxLength, truncation, refused } = context.config;
    const encoder = encoderFor(context);
    const encode = (row: Row) => {
      const { where, chosen, rejected } = encoder.preference(row);
      return { where, chosen: upToStop(chosen), rejected: upToStop(rejected), margin: marginOf(row) };
    };
    const kind = context.model.labels === undefined ? 'reward' : 'reward of texts';
    const cache = encodeCache(context.encodeFolder, context.tokenizer, { [kind]: { maxLength, truncation } });
    return encodeRows(rows, encode, { refused, cache });
  },
  build: ({ labelSmoothing, centerRewardsCoefficient: centering }) =>
    rewardModelStep({ loss: (scores) => bradleyTerryLoss(scores, { labelSmoothing, centering }) }),
  async finish(context) {
    const heldOut = context.evaluation.length > 0;
    const pairs = (heldOut ? context.evaluation : context.training) as readonly EncodedPair[];
    const scores = await scoreSequences(
      pairs.flatMap(({ chosen, rejected }) => [chosen.ids, rejected.ids]),
      context,
    );
    const chosen = pairs.map((_, index) => scores[2 * index]!);
    const evaluation = evaluatePairs(chosen.map((score, index) => score - scores[2 * index + 1]!));
    const { accuracy, tieRate, temperature, eceAtTemperature } = evaluation;
    const { ece, brier, nll } = evaluation.calibration;
    const reference = await referenceScores(context);
    const normalizer =
      reference === undefined
        ? fitNormalizer(scores, `both completions of ${heldOut ? 'held-out' : 'training'} pairs`)
        : fitNormalizer(reference, context.config.referenceData!);
    return {
      files: {
        [REWARD_CARD]: formatRewardCard({
          format: 1,
          eosRule: context.model.labels === undefined ? 'append' : 'as-is',
          maxLength: context.config.maxLength,
          normalizer,
          evaluation: {
            ...{ pairs: pairs.length, heldOut, accuracy, tieRate, ece, brier, nll },
            ...{ temperature, eceAtTemperature },
          },
        }),
      },
      metrics: heldOut ? { eval_ece: ece, eval_temperature: temperature } : {},
    };
  },
});

/** Rows for a language model's tokens, or whole texts where the base is an encoder. */
function encoderFor({ config, tokenizer, model }: EncodeContext<Config>) {
  const { maxLength, truncation } = config;
  const create = model.labels === undefined ? createEncoder : createTextEncoder;
  return create(tokenizer, { maxLength, truncation });
}

/** The `margin` column: how much better the chosen completion is, 0 or more; 0 when the row has none. */
function marginOf({ columns: { margin = 0 }, where }: Row): number {
  if (typeof margin === 'number' && Number.isFinite(margin) && margin >= 0) return margin;
  throw new DataError({
    where: `${where}: margin`,
    expected: 'a number of 0 or more',
    received: JSON.stringify(margin),
    fix: 'Correct it, or remove the column',
  });
}

/** The score of each sequence. */
async function scoreSequences(
  sequences: readonly ArrayLike<number>[],
  context: FinishContext<Config>,
): Promise<number[]> {
  return (await scoresOf(sequences, context)).map((scores) => scores[0]!);
}

/** Scores of the reference completions; undefined without a file of them. */
async function referenceScores(context: FinishContext<Config>): Promise<number[] | undefined> {
  const { referenceData } = context.config;
  if (referenceData === undefined) return undefined;
  const encoder = encoderFor(context);
  const { examples } = encodeRows(await context.readRows(referenceData), encoder.supervised, {
    refused: 'drop',
  });
  return scoreSequences(
    examples.map((example) => upToStop(example).ids),
    context,
  );
}
