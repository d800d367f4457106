/**
 * Reward model that regresses on ratings: a number per attribute (helpfulness, correctness, …), combined by stated weights.
 *
 * @paper   Wang et al. 2023, "HelpSteer" (arXiv 2311.09528), section 3 (attributes regressed at the last token); the masked loss:
 *          Wang et al. 2024, "ArmoRM" (arXiv 2406.12845), eq. 1
 * @code    none compared with
 * @differs 1. ratings are mapped from their scale to −1 … 1, as the head has no bias
 *          2. the whole model learns; ArmoRM fits the head alone on frozen features
 *          3. attributes are combined by fixed weights, not by a gate that reads the prompt
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError, DataError } from '../../core/errors.ts';
import { metric } from '../../core/metrics.ts';
import { createEncoder, describeColumns, encodeRows, type Row } from '../../data/index.ts';
import { pearson, spearman } from '../../eval/correlation.ts';
import { defineMethod, trainMetrics } from '../../parts/method.ts';
import { scoreHeadOver, scoresOf, upToStop } from '../../parts/score-base.ts';
import { formatRewardCard, REWARD_CARD } from '../../parts/scorer/reward-card.ts';
import { type RatedSequence, ratingStep } from '../../parts/step/rating.ts';
import { trainerFields } from '../../parts/trainer/config.ts';

export const config = z.strictObject({
  ...trainerFields,
  learningRate: field(z.number().positive().default(1e-4), { group: 'Optimization' }).describe(
    'peak learning rate; TRL’s default for reward models',
  ),
  ...section('Ratings', {
    attributes: field(z.array(z.string()).min(1).default(['rating']), { placeholder: 'column,…' }).describe(
      'columns with ratings: a number, or a list of several raters, whose mean counts; a row may lack some',
    ),
    attributeWeights: field(z.array(z.number()).optional(), { placeholder: 'number,…' }).describe(
      'the score is Σ weight · rating over the attributes; default: their mean',
    ),
    lowestRating: field(z.number().default(1)).describe('lowest rating of the scale, which becomes −1'),
    highestRating: field(z.number().default(5)).describe('highest rating of the scale, which becomes 1'),
  }),
});

type Config = z.output<typeof config>;

export const regressionRm = defineMethod<typeof config, RatedSequence & { readonly where: string }>({
  id: 'regression-rm',
  kind: 'train',
  summary: 'reward model on ratings of one or more attributes (mean squared error)',
  data: 'prompt-completion',
  config,
  needs: ['policy'],
  metrics: [
    ...trainMetrics,
    metric('mae', 'mean absolute error of the ratings; the scale is mapped to −1 … 1'),
    metric('mean_reward', 'mean output over what is rated, on the same scale'),
    metric('eval_pearson', 'mean over attributes of the correlation with the ratings, after training'),
    metric('eval_spearman', 'the same of their ranks'),
  ],
  adapt: (loaded, { config: settings, tokenizer }) =>
    scoreHeadOver(loaded, { ...settings, tokenizer, labels: settings.attributes }),
  encode(rows, { config: settings, tokenizer }) {
    const { maxLength, truncation, refused } = settings;
    const encoder = createEncoder(tokenizer, { maxLength, truncation });
    checkSettings(settings);
    const encode = (row: Row) => {
      const ratings = ratingsOf(row, settings);
      return { ...upToStop(encoder.supervised(row)), ratings };
    };
    return encodeRows(rows, encode, { refused });
  },
  build: ({ attributes }) => ratingStep(attributes.length),
  async finish(context) {
    const { attributes, lowestRating, highestRating, maxLength, attributeWeights } = context.config;
    const heldOut = context.evaluation.length > 0;
    const examples = (heldOut ? context.evaluation : context.training) as readonly RatedSequence[];
    const outputs = await scoresOf(
      examples.map(({ ids }) => ids),
      context,
    );
    const half = (highestRating - lowestRating) / 2;
    const figures = attributes.map((name, attribute) => {
      const rated = examples.flatMap(({ ratings }, index) => {
        const rating = ratings[attribute];
        return rating === undefined ? [] : [[rating, outputs[index]![attribute]!] as const];
      });
      const [truth, found] = [rated.map(([rating]) => rating), rated.map(([, output]) => output)];
      return {
        name,
        weight: attributeWeights?.[attribute] ?? 1 / attributes.length,
        lowest: lowestRating,
        highest: highestRating,
        rated: rated.length,
        heldOut,
        mae: (half * rated.reduce((sum, [a, b]) => sum + Math.abs(a - b), 0)) / Math.max(rated.length, 1),
        pearson: pearson(truth, found),
        spearman: spearman(truth, found),
      };
    });
    const average = (key: 'pearson' | 'spearman'): number =>
      figures.reduce((sum, figure) => sum + (figure[key] ?? 0), 0) / figures.length;
    return {
      files: {
        [REWARD_CARD]: formatRewardCard({
          ...{ format: 1, eosRule: 'append', maxLength },
          attributes: figures,
        }),
      },
      metrics: heldOut ? { eval_pearson: average('pearson'), eval_spearman: average('spearman') } : {},
    };
  },
});

function checkSettings({ attributes, attributeWeights, lowestRating, highestRating }: Config): void {
  if (attributeWeights !== undefined && attributeWeights.length !== attributes.length) {
    throw new ConfigError({
      where: 'attributeWeights',
      expected: `${attributes.length}, one for each attribute`,
      received: String(attributeWeights.length),
    });
  }
  if (lowestRating >= highestRating) {
    throw new ConfigError({
      where: 'lowestRating',
      expected: `less than highestRating (${highestRating})`,
      received: String(lowestRating),
    });
  }
}

/** Ratings in the units of the head, undefined where a column is missing. */
function ratingsOf(row: Row, { attributes, lowestRating, highestRating }: Config): (number | undefined)[] {
  const { columns, where } = row;
  const ratings = attributes.map((name) => {
    const value = columns[name];
    if (value === undefined) return undefined;
    const list: unknown[] = Array.isArray(value) ? value : [value];
    const inScale = (x: unknown): x is number =>
      typeof x === 'number' && x >= lowestRating && x <= highestRating;
    if (list.length === 0 || !list.every(inScale)) {
      throw new DataError({
        where: `${where}, \`${name}\``,
        expected: `a rating from ${lowestRating} to ${highestRating}, or a list of them`,
        received: JSON.stringify(value).slice(0, 80),
        fix: 'Correct it, or set lowestRating and highestRating to the ends of the scale',
      });
    }
    const mean = list.reduce((sum, x) => sum + x, 0) / list.length;
    return (2 * (mean - lowestRating)) / (highestRating - lowestRating) - 1;
  });
  if (ratings.some((rating) => rating !== undefined)) return ratings;
  throw new DataError({
    where,
    expected: `\`prompt\` and \`completion\` with a rating in ${attributes.map((name) => `\`${name}\``).join(' or ')}`,
    received: describeColumns(row, 'prompt-completion'),
    fix: 'Name the columns with ratings in --attributes, or leave such rows out with --refused drop',
  });
}
