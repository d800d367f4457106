/**
 * `heed eval-rm`: whether a reward model agrees with preferences, by category, and how far its margins can be believed. With a
 * reference the model is a language model, judged by its implicit reward.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import { createRng } from '../../core/rng.ts';
import { clusteredMean, type MeanWithError } from '../../core/statistics.ts';
import { createEncoder, type EncodedExample, encodeRows, loadRows, type Row } from '../../data/index.ts';
import { createEngine } from '../../engine/create-engine.ts';
import { type Calibration, groupRows, type PairReport, pairReport } from '../../eval/index.ts';
import { loadModel } from '../../models/index.ts';
import { upToStop } from '../../parts/score-base.ts';
import { implicitRewards } from '../../parts/scorer/implicit-reward.ts';
import { openRewardModel } from '../../parts/scorer/open-reward-model.ts';
import { formatRewardCard, REWARD_CARD, readRewardCard } from '../../parts/scorer/reward-card.ts';
import { type ScoreItem, scoreAll } from '../../parts/scorer/scorer.ts';
import { loadTokenizer } from '../../tokenizer/index.ts';
import { defineCommand } from '../command.ts';
import { formatNumber } from '../format.ts';
import { formatTable } from '../output.ts';

const config = z.strictObject({
  ...section('Model and rows', {
    model: field(z.string(), { aliases: ['rewardModel'], placeholder: 'folder' }).describe(
      'reward model of any kind; with --reference a language model that was trained on preferences',
    ),
    reference: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'language model that training began with: the reward is β·log(π/π_ref), as DPO reports it',
    ),
    beta: field(z.number().positive().default(0.1)).describe('with --reference: β, that of the training'),
    tokenizer: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'when it is not beside the model',
    ),
    data: field(z.string(), { placeholder: 'file' }).describe(
      'preference rows that the model has not seen: a file, a folder with splits, or a data set of the hub',
    ),
    maxRows: field(z.int().positive().optional()).describe('use only the first rows of data'),
    by: field(z.string().optional(), { placeholder: 'column' }).describe(
      'accuracy for each value of this column too',
    ),
    refused: field(z.enum(['throw', 'drop']).default('throw')).describe(
      'a row that cannot be used: stop and name it, or leave it out and count it',
    ),
  }),
  ...section('Calibration', {
    bins: field(z.int().min(1).max(100).default(10)).describe('bins of confidence from 0.5 to 1'),
    writeCard: field(z.boolean().default(false)).describe(
      'keep the figures in the reward_card.json of the model, under the name of the data',
    ),
    batchSize: field(z.int().positive().default(16)).describe('sequences per forward pass'),
    seed: field(z.int().min(0).default(0)).describe(
      'draws the half of the pairs on which the temperature is fitted',
    ),
    threads: field(z.int().positive().optional()).describe(
      'threads of the engine; default: the machine’s cores',
    ),
  }),
});

export const command = defineCommand({
  config,
  examples: [
    'eval-rm --model runs/reward-model/model --data rewardbench.jsonl --by subset --write-card',
    'eval-rm --model runs/dpo/model --reference SmolLM2-135M-Instruct --data held-out.jsonl',
  ],
  async run(settings, { output, progress }) {
    if (settings.writeCard && settings.reference !== undefined) {
      throw new ConfigError({
        where: '--write-card',
        expected: 'a reward model, whose folder has a card',
        received: 'a language model with --reference',
        fix: 'Take the figures with --json instead',
      });
    }
    const rows = await loadRows(settings.data, { limit: settings.maxRows });
    const loaded = await loadModel(settings.model);
    const tokenizer = await loadTokenizer(settings.tokenizer ?? settings.model);
    const encoder = createEncoder(tokenizer, {});
    const itemOf = (example: EncodedExample, side: number): ScoreItem => {
      const { ids, promptLength } = upToStop(example);
      const [promptIds, completionIds] = [ids.subarray(0, promptLength), ids.subarray(promptLength)];
      const text = (part: Int32Array): string => tokenizer.decode(Array.from(part));
      const texts = { prompt: text(promptIds), completion: text(completionIds) };
      // The two sides of a row stand next to each other.
      return { ...texts, promptIds, completionIds, group: side >> 1 };
    };
    const encode = (row: Row) => ({ ...encoder.preference(row), row });
    const { examples, report } = encodeRows(rows, encode, { refused: settings.refused });
    if (report.dropped > 0)
      progress.note(
        `${report.dropped} of ${rows.length} rows were left out, the first because: ${report.reasons[0]}`,
      );
    const sides = examples.flatMap(({ chosen, rejected }) => [chosen, rejected]);
    const engine = await createEngine(settings.threads === undefined ? {} : { threads: settings.threads });
    const { model, reference: against, beta, batchSize } = settings;
    const stage = progress.start('score', { total: sides.length * (against === undefined ? 1 : 2) });
    const forward = { engine, batchSize, bucket: 16, onProgress: (done: number) => stage.update(done) };
    const learnedScores = async (): Promise<ArrayLike<number | undefined>> => {
      const scorer = openRewardModel({
        ...{ ...forward, card: readRewardCard(model), name: basename(model), loaded, tokenizer },
        appendStop: true,
      });
      const scores = await scoreAll(scorer, sides.map(itemOf));
      scorer.dispose();
      return scores;
    };
    try {
      const scores =
        against === undefined
          ? await learnedScores()
          : await implicitRewards(sides, {
              ...{ ...forward, policy: loaded, reference: await loadModel(against), beta },
            });
      stage.end();
      const scored = examples.flatMap(({ row }, pair) => {
        const [chosen, rejected] = [scores[2 * pair], scores[2 * pair + 1]];
        if (chosen === undefined || rejected === undefined) return [];
        const [a, b] = [sides[2 * pair]!, sides[2 * pair + 1]!]
          .map(upToStop)
          .map(({ ids, promptLength }) => ids.length - promptLength);
        const { ids, promptLength } = examples[pair]!.chosen;
        const prompt = ids.subarray(0, promptLength).join();
        return [{ row, prompt, margin: chosen - rejected, shorter: a! < b! }];
      });
      const unscored = examples.length - scored.length;
      const groups = groupRows(
        scored.map(({ row }) => row),
        settings.by,
      );
      const figures = pairReport(
        scored.map(({ margin }) => margin),
        groups,
        { rng: createRng(settings.seed).split('temperature'), bins: settings.bins },
      );
      // What a model that likes length gets wrong.
      const shorter = scored.filter((pair) => pair.shorter);
      const chosenShorter = {
        pairs: shorter.length,
        right: shorter.filter(({ margin }) => margin > 0).length,
      };
      const byPrompt = overPrompts(scored);
      output.record({
        event: 'evaluation',
        model,
        ...(against !== undefined && { reference: against, beta }),
        data: settings.data,
        unscored,
        chosenShorter,
        ...(byPrompt && { byPrompt }),
        ...figures,
      });
      output.text(accuracyTable(figures, settings.by));
      if (figures.meanOfGroups !== undefined)
        output.text(`mean of the groups: ${figures.meanOfGroups.toFixed(3)}`);
      if (byPrompt !== undefined) output.text(promptLine(byPrompt));
      if (shorter.length > 0)
        output.text(
          `where the chosen completion is the shorter one: ${chosenShorter.right} of ${formatNumber(chosenShorter.pairs)}`,
        );
      if (unscored > 0) output.text(`pairs that could not be scored: ${formatNumber(unscored)}`);
      output.text('');
      output.text(reliabilityTable(figures));
      output.text(
        `calibration error ${figures.before.ece.toFixed(3)}, with margins divided by ${figures.temperature.toFixed(3)} ` +
          `${figures.after.ece.toFixed(3)} (temperature fitted on the other ${formatNumber(figures.fittedOn)} pairs)`,
      );
      if (settings.writeCard) writeCard(model, basename(settings.data), figures);
      return 0;
    } finally {
      engine.dispose();
    }
  },
});

/** Figures with standard errors over prompts, as pairs of one prompt are not independent; none with a single prompt. */
function overPrompts(scored: readonly { readonly prompt: string; readonly margin: number }[]) {
  const clusters = scored.map(({ prompt }) => prompt);
  const prompts = new Set(clusters).size;
  if (prompts < 2) return undefined;
  const over = (figure: (margin: number) => number): MeanWithError =>
    clusteredMean(
      scored.map(({ margin }) => figure(margin)),
      clusters,
    );
  return {
    prompts,
    accuracy: over((margin) => Number(margin > 0)),
    margin: over((margin) => margin),
    // −log σ(margin), the loss of Bradley–Terry and of DPO, nats.
    loss: over((margin) => Math.log1p(Math.exp(-Math.abs(margin))) + Math.max(-margin, 0)),
  };
}

function promptLine({ prompts, ...figures }: NonNullable<ReturnType<typeof overPrompts>>): string {
  const parts = Object.entries(figures).map(
    ([name, { mean, standardError }]) => `${name} ${mean.toFixed(3)} ± ${standardError.toFixed(3)}`,
  );
  return `${parts.join(', ')} (standard errors over ${formatNumber(prompts)} prompts)`;
}

function accuracyTable({ groups }: PairReport, by: string | undefined): string {
  return formatTable([
    [by ?? 'pairs', 'count', 'accuracy', '95 % interval', 'ties'],
    ...groups.map(({ name, pairs, accuracy, tieRate }) => [
      name,
      formatNumber(pairs),
      accuracy.mean.toFixed(3),
      `${accuracy.low.toFixed(3)} to ${accuracy.high.toFixed(3)}`,
      tieRate.toFixed(3),
    ]),
  ]);
}

function reliabilityTable({ before, after }: PairReport): string {
  const cells = ({ bins }: Calibration, bin: number): string[] => {
    const { count, confidence, accuracy } = bins[bin]!;
    return [
      formatNumber(count),
      count === 0 ? '' : confidence.toFixed(3),
      count === 0 ? '' : accuracy.toFixed(3),
    ];
  };
  return formatTable([
    ['confidence', 'pairs', 'mean', 'right', 'pairs at T', 'mean', 'right'],
    ...before.bins.map(({ low, high }, bin) => [
      `${low.toFixed(2)} to ${high.toFixed(2)}`,
      ...cells(before, bin),
      ...cells(after, bin),
    ]),
  ]);
}

function writeCard(folder: string, name: string, { groups, temperature, before, after }: PairReport): void {
  const card = readRewardCard(folder);
  if (card === undefined) {
    throw new ConfigError({
      where: '--write-card',
      expected: `a ${REWARD_CARD} in ${folder}`,
      received: 'none: the model was not trained by heed',
      fix: 'Take the figures with --json instead',
    });
  }
  const benchmark = {
    accuracy: Object.fromEntries(
      groups.map(({ name: group, pairs, accuracy }) => [group, { pairs, ...accuracy }]),
    ),
    ...{ temperature, ece: before.ece, eceAtTemperature: after.ece },
  };
  const path = join(folder, REWARD_CARD);
  const temporary = `${path}.${process.pid}.partial`;
  writeFileSync(
    temporary,
    formatRewardCard({ ...card, benchmarks: { ...card.benchmarks, [name]: benchmark } }),
  );
  renameSync(temporary, path);
}
