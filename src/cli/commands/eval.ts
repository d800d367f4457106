/** `heed eval`: what rewards say of the completions of a model, or of completions in a file. */
import { renameSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { DataError } from '../../core/errors.ts';
import { createRng } from '../../core/rng.ts';
import { createEncoder, loadRows, type Row } from '../../data/index.ts';
import { createEngine } from '../../engine/create-engine.ts';
import type { Engine } from '../../engine/engine.ts';
import { type Estimate, estimateMean, groupRows } from '../../eval/index.ts';
import { createGenerator } from '../../generate/index.ts';
import { loadModel } from '../../models/index.ts';
import { openRewardModel } from '../../parts/scorer/open-reward-model.ts';
import { readRewardCard } from '../../parts/scorer/reward-card.ts';
import { type ScoreItem, scoreAll } from '../../parts/scorer/scorer.ts';
import type { PartScore, Reward } from '../../parts/scorer/weighted-scorer.ts';
import { openRewards, rewardFields, rewardSources } from '../../parts/trainer/reward-fields.ts';
import { checkTokenizerFits, loadTokenizer } from '../../tokenizer/index.ts';
import { defineCommand } from '../command.ts';
import { formatNumber } from '../format.ts';
import { formatTable } from '../output.ts';

const config = z.strictObject({
  ...section('Model and rows', {
    model: field(z.string(), { placeholder: 'folder' }).describe(
      'writes the completions; of rows that have a `completion` only its tokenizer is used',
    ),
    adapter: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'LoRA adapter to put over the model',
    ),
    data: field(z.string(), { placeholder: 'file' }).describe(
      'rows with `prompt` and what the rewards need: a file, a folder with splits, or a data set of the hub',
    ),
    maxRows: field(z.int().positive().optional()).describe('use only the first rows of data'),
    completions: field(z.enum(['sample', 'given']).default('sample')).describe(
      'sample them from the model, or score the column `completion` of the rows',
    ),
    by: field(z.string().optional(), { placeholder: 'column' }).describe(
      'figures for each value of this column too',
    ),
    output: field(z.string().optional(), { placeholder: 'file' }).describe(
      'write the rows with completion and scores as JSON Lines',
    ),
  }),
  ...section('Rewards', rewardFields),
  ...section('Sampling', {
    maxNewTokens: field(z.int().positive().default(256)).describe('longest completion in tokens'),
    temperature: field(z.number().min(0).default(0)).describe(
      'divides the logits; 0 takes the most likely token',
    ),
    topP: field(z.number().gt(0).max(1).default(1)).describe(
      'keep the fewest tokens whose probabilities reach this sum',
    ),
    batchSize: field(z.int().positive().default(32)).describe('rows decoded together'),
    seed: field(z.int().min(0).default(0)).describe('seed of the draws and of the intervals'),
    threads: field(z.int().positive().optional()).describe(
      'threads of the engine; default: the machine’s cores',
    ),
  }),
});

type Settings = z.output<typeof config>;

export const command = defineCommand({
  config,
  examples: [
    'eval --model runs/grpo/model --data test.jsonl --reward exact-answer --max-new-tokens 128',
    'eval --model runs/sft/model --data answers.jsonl --completions given --reward-model runs/rm/model --by topic',
  ],
  async run(settings, { output, progress, env }) {
    rewardSources(settings);
    const rows = await loadRows(settings.data, { limit: settings.maxRows });
    const engine = await createEngine(settings.threads === undefined ? {} : { threads: settings.threads });
    const stage = progress.start('sample and score', { total: rows.length });
    try {
      const items = await completionsOf(rows, settings, engine);
      const scorer = await openRewards(settings, await modelRewards(settings, engine), {
        env,
        seed: settings.seed,
      });
      const parts = new Map<string, readonly PartScore[]>();
      const scores = await scoreAll(scorer, items, { onPart: (name, list) => void parts.set(name, list) });
      scorer.dispose();
      stage.update(rows.length);
      stage.end();
      if (parts.size > 1)
        parts.set(
          'score',
          scores.map((score) => score ?? null),
        );
      const groups = groupRows(rows, settings.by).map(({ name, indices }) => ({
        name,
        rows: indices.length,
        rewards: Object.fromEntries(
          Array.from(parts, ([reward, list]) => [reward, estimateOf(list, indices, settings.seed)] as const),
        ),
      }));
      output.record({ event: 'evaluation', model: settings.model, data: settings.data, groups });
      const names = [...parts.keys()];
      output.text(
        formatTable([
          [settings.by ?? 'rows', 'count', ...names.flatMap((name) => [name, 'unscored'])],
          ...groups.map(({ name, rows: count, rewards }) => [
            name,
            formatNumber(count),
            ...names.flatMap((reward) => [estimateText(rewards[reward]), String(rewards[reward]?.unscored)]),
          ]),
        ]),
      );
      if (settings.output !== undefined) writeScored(settings.output, rows, items, parts);
      return 0;
    } finally {
      engine.dispose();
    }
  },
});

async function completionsOf(rows: readonly Row[], settings: Settings, engine: Engine): Promise<ScoreItem[]> {
  const tokenizer = await loadTokenizer(settings.model);
  if (settings.completions === 'given') {
    const encoder = createEncoder(tokenizer, {});
    return rows.map((row) => {
      const { ids, promptLength } = encoder.supervised(row);
      const [promptIds, completionIds] = [ids.subarray(0, promptLength), ids.subarray(promptLength)];
      const { completion } = row.columns;
      return {
        ...{ row, promptIds, completionIds, prompt: tokenizer.decode(Array.from(promptIds)) },
        completion: typeof completion === 'string' ? completion : tokenizer.decode(Array.from(completionIds)),
      };
    });
  }
  const { model, parameters } = await loadModel(settings.model, { adapter: settings.adapter });
  checkTokenizerFits(tokenizer, { vocabSize: model.vocabSize, where: settings.model });
  const encoder = createEncoder(tokenizer, { maxLength: model.maxPositions });
  const prompts = rows.map((row) => encoder.prompt(row).ids);
  const generator = createGenerator({ engine, model, parameters });
  const completions = await generator.generate(prompts, {
    ...{ temperature: settings.temperature, topK: 0, topP: settings.topP },
    ...{ maxNewTokens: settings.maxNewTokens, batchSize: settings.batchSize },
    stopIds: new Set(tokenizer.eosId === undefined ? [] : [tokenizer.eosId]),
    rng: createRng(settings.seed),
  });
  generator.dispose();
  return completions.map(({ ids, finish }, index) => ({
    ...{ row: rows[index]!, promptIds: prompts[index]!, completionIds: ids, finish },
    prompt: tokenizer.decode(Array.from(prompts[index]!)),
    completion: tokenizer.decode(ids),
  }));
}

/** Loads the reward models, and gives what makes a reward of each. */
async function modelRewards(
  settings: Settings,
  engine: Engine,
): Promise<(folder: string, name: string) => Reward> {
  const loaded = new Map<string, Awaited<ReturnType<typeof loadModel>>>();
  for (const source of rewardSources(settings))
    if (source.kind === 'model') loaded.set(source.folder, await loadModel(source.folder));
  const tokenizer = await loadTokenizer(settings.model);
  return (folder, name) =>
    openRewardModel({
      ...{ card: readRewardCard(folder), name, engine, tokenizer, loaded: loaded.get(folder)! },
      ...{ batchSize: settings.batchSize, bucket: 16, appendStop: true },
    });
}

/** Mean over what could be scored, with a bootstrap interval; no mean where nothing could. */
function estimateOf(
  scores: readonly PartScore[],
  indices: readonly number[],
  seed: number,
): Partial<Estimate> & { readonly unscored: number } {
  const values = indices.map((index) => scores[index]).filter((score) => typeof score === 'number');
  const unscored = indices.length - values.length;
  if (values.length === 0) return { unscored };
  return { ...estimateMean(values, createRng(seed).split('intervals')), unscored };
}

function estimateText(estimate: Partial<Estimate> | undefined): string {
  if (estimate?.mean === undefined) return 'none';
  const [mean, low, high] = [estimate.mean, estimate.low!, estimate.high!].map((x) => x.toFixed(3));
  return `${mean} [${low}, ${high}]`;
}

function writeScored(
  path: string,
  rows: readonly Row[],
  items: readonly ScoreItem[],
  parts: ReadonlyMap<string, readonly PartScore[]>,
): void {
  const lines = rows.map(({ columns }, index) =>
    JSON.stringify({
      ...columns,
      completion: items[index]!.completion,
      scores: Object.fromEntries(Array.from(parts, ([name, list]) => [name, list[index] ?? null])),
    }),
  );
  const temporary = `${path}.${process.pid}.partial`;
  try {
    writeFileSync(temporary, `${lines.join('\n')}\n`);
    renameSync(temporary, path);
  } catch (cause) {
    throw new DataError({
      where: path,
      expected: 'a file that can be written',
      received: (cause as Error).message,
      cause,
    });
  }
}
