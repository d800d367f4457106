/**
 * Process reward model: whether each step of a solution is right, read at the last token of the step.
 *
 * @paper   Lightman et al. 2023, "Let's Verify Step by Step" (arXiv 2305.20050), section 2.6; Uesato et al. 2022 (arXiv 2211.14275)
 * @code    huggingface/trl v0.24.0 `trl/trainer/prm_trainer.py` (layout of tokens and labels, names of options); the loss is
 *          that of transformers' `…ForTokenClassification`
 * @differs 1. two classes, wrong and right; the paper's third, neutral, counts as the data set labels it
 *          2. the head has no bias (transformers' has one, which starts at 0)
 *          3. a sequence that is cut loses the steps that do not end in it; a row without a step left is refused
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError, DataError } from '../../core/errors.ts';
import { metric } from '../../core/metrics.ts';
import { encodeRows, parseStepwise, type Row } from '../../data/index.ts';
import { calibration } from '../../eval/calibration.ts';
import { defineMethod, trainMetrics } from '../../parts/method.ts';
import { scoreHeadOver } from '../../parts/score-base.ts';
import { stepAggregations, stepForward, steppedSequence } from '../../parts/scorer/process-scorer.ts';
import { formatRewardCard, REWARD_CARD } from '../../parts/scorer/reward-card.ts';
import { processStep, type SteppedSequence } from '../../parts/step/process.ts';
import { trainerFields } from '../../parts/trainer/config.ts';

export const config = z.strictObject({
  ...trainerFields,
  learningRate: field(z.number().positive().default(1e-5), { group: 'Optimization' }).describe(
    'peak learning rate; TRL’s default for process reward models (tiny models want about 1e-3)',
  ),
  ...section('Process rewards', {
    stepSeparator: field(z.string().min(1).default('\n')).describe(
      'text after each step, at whose last token the step is judged; TRL’s default',
    ),
    trainOnLastStepOnly: field(z.boolean().default(false)).describe('learn the label of the last step alone'),
    aggregate: field(z.enum(stepAggregations).default('min')).describe(
      'score of a completion from the probabilities of its steps: the least, their product, the last, the mean; kept in the card',
    ),
  }),
});

type Example = SteppedSequence & {
  readonly where: string;
  readonly ids: Int32Array;
  readonly truncated: number;
};

export const prm = defineMethod<typeof config, Example>({
  id: 'prm',
  kind: 'train',
  summary: 'process reward model on solutions whose steps are labelled right or wrong',
  data: 'stepwise supervision',
  config,
  needs: ['policy'],
  metrics: [
    ...trainMetrics,
    metric('accuracy', 'share of steps whose likelier class is their label'),
    metric('positive', 'share of steps labelled right: what answering "right" always would reach'),
    metric(
      'eval_first_error',
      'held-out solutions with an error whose first wrong step is found, after training',
    ),
    metric('eval_all_right', 'held-out solutions without error in which no step is called wrong'),
    metric('eval_ece', 'calibration error of the probability that a step is right, on held-out steps'),
  ],
  adapt: (loaded, { config: settings, tokenizer }) =>
    scoreHeadOver(loaded, { ...settings, tokenizer, labels: ['wrong', 'right'], perToken: true }),
  encode(rows, { config: settings, tokenizer }) {
    const { maxLength, stepSeparator: separator, trainOnLastStepOnly, refused } = settings;
    if (tokenizer.encode(separator, { addSpecial: false }).length === 0) {
      throw new ConfigError({
        where: 'stepSeparator',
        expected: 'a text of at least one token',
        received: JSON.stringify(separator),
      });
    }
    const encode = (row: Row): Example => {
      const { where, prompt, completions, labels } = parseStepwise(row);
      const { ids, ends } = steppedSequence(tokenizer, prompt, completions, separator);
      const steps = ends.flatMap((end, index) => {
        if (end >= maxLength) return [];
        const learned = !trainOnLastStepOnly || index === ends.length - 1;
        return [{ end, ...(learned && { label: labels[index]! }) }];
      });
      if (!steps.some(({ label }) => label !== undefined)) {
        throw new DataError({
          where,
          expected: `a step to learn that ends within ${maxLength} tokens`,
          received: `${ends.length} steps, of which ${steps.length} do`,
          fix: 'Raise maxLength, or leave such rows out with --refused drop',
        });
      }
      const kept = Int32Array.from(ids.slice(0, maxLength));
      return { where, ids: kept, steps, truncated: ids.length - kept.length };
    };
    return encodeRows(rows, encode, { refused });
  },
  build: () => processStep<Example>(),
  async finish(context) {
    const { maxLength, stepSeparator, aggregate, evaluationBatchSize } = context.config;
    const heldOut = context.evaluation.length > 0;
    const examples = (heldOut ? context.evaluation : context.training) as readonly Example[];
    const { engine, model, parameters, onProgress } = context;
    const forward = stepForward({
      ...{ engine, model, parameters, bucket: 16, batchSize: evaluationBatchSize },
      onProgress: (done, total) => onProgress('score', done, total),
    });
    let probabilities: readonly number[][];
    try {
      probabilities = await forward.run(examples);
    } finally {
      forward.dispose();
    }
    const figures = evaluateSteps(
      examples.map(({ steps }) => steps.map(({ label }) => label)),
      probabilities,
    );
    return {
      files: {
        [REWARD_CARD]: formatRewardCard({
          ...{ format: 1, eosRule: 'as-is', maxLength },
          process: { separator: stepSeparator, aggregate, heldOut, ...figures },
        }),
      },
      metrics: heldOut
        ? {
            eval_first_error: figures.firstError ?? 0,
            eval_all_right: figures.allRight ?? 0,
            eval_ece: figures.ece,
          }
        : {},
    };
  },
});

/**
 * Figures of step probabilities. A step is called wrong below 0.5.
 *
 * @param labels of each solution's steps; undefined steps count for nothing
 * @param probabilities that each step is right
 * @returns step accuracy and calibration error; of the solutions with an error the share whose first wrong step is the first
 *   called wrong, of those without the share in which none is, and their harmonic mean; undefined where there are no such
 * @source the two shares and their mean: Zheng et al. 2024, "ProcessBench" (arXiv 2412.06559), section 3
 */
export function evaluateSteps(
  labels: readonly (readonly (boolean | undefined)[])[],
  probabilities: readonly (readonly number[])[],
) {
  const all = labels.flatMap((list, row) =>
    list.flatMap((label, step) => (label === undefined ? [] : [{ label, p: probabilities[row]![step]! }])),
  );
  const found = labels.map((list, row) => ({
    truth: list.indexOf(false),
    called: probabilities[row]!.findIndex((p) => p < 0.5),
  }));
  const share = (of: typeof found): number | undefined =>
    of.length === 0 ? undefined : of.filter(({ truth, called }) => truth === called).length / of.length;
  const firstError = share(found.filter(({ truth }) => truth >= 0));
  const allRight = share(found.filter(({ truth }) => truth < 0));
  return {
    solutions: labels.length,
    steps: all.length,
    accuracy: all.filter(({ label, p }) => p >= 0.5 === label).length / all.length,
    ece: calibration(
      all.map(({ p }) => p),
      all.map(({ label }) => Number(label)),
    ).ece,
    ...(firstError !== undefined && { firstError }),
    ...(allRight !== undefined && { allRight }),
    ...(firstError !== undefined &&
      allRight !== undefined && {
        f1: firstError + allRight === 0 ? 0 : (2 * firstError * allRight) / (firstError + allRight),
      }),
  };
}
