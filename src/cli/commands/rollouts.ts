/** `heed rollouts`: the completions an online run sampled, with their rewards, and one of them token by token. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type Database from 'libsql';
import { parse } from 'yaml';
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError, DataError } from '../../core/errors.ts';
import { rolloutFlags } from '../../parts/rollout/record.ts';
import {
  findRollouts,
  type RolloutQuery,
  readRollout,
  rolloutOrders,
} from '../../parts/sinks/rollout-table.ts';
import { readRunDb } from '../../parts/sinks/run-db.ts';
import { loadTokenizer } from '../../tokenizer/load-tokenizer.ts';
import { type CommandContext, defineCommand } from '../command.ts';
import { formatNumber } from '../format.ts';
import { renderRollout, renderRollouts, rolloutId } from '../rollouts-view.ts';

const config = z.strictObject({
  run: field(z.string(), { placeholder: 'folder' }).describe('folder of the run, also while it goes on'),
  show: field(z.string().optional(), { placeholder: 'id' }).describe(
    'one completion with its tokens colored by advantage, as 12:3: iteration 12, place 3 in its batch',
  ),
  table: field(z.boolean().default(false)).describe(
    'with --show: a line per token with its log-probabilities, value and advantage; always so without color',
  ),
  ...section('Filter', {
    steps: field(z.string().optional(), { placeholder: 'from..to' }).describe(
      'iterations: 5, 3..10, 3.. or ..10',
    ),
    scores: field(z.string().optional(), { placeholder: 'from..to' }).describe('as 0.5..1; bounds count'),
    rewards: field(z.string().optional(), { placeholder: 'from..to' }).describe(
      'sums of token rewards; bounds count',
    ),
    flags: field(z.array(z.enum(rolloutFlags)).default([])).describe(
      'only those with all of these flags: truncated was cut, filtered was left out of the updates, unscored has no score, resampled was replaced with its group',
    ),
    text: field(z.string().optional()).describe(
      'only those whose prompt or completion has this in it, whatever the case',
    ),
  }),
  ...section('List', {
    sort: field(z.enum(rolloutOrders).default('step')).describe('what to sort by'),
    descending: field(z.boolean().default(false)).describe('the largest first'),
    limit: field(z.int().min(1).default(20)).describe('rollouts on a page'),
    page: field(z.int().min(1).default(1)).describe('which page'),
  }),
});

type Settings = z.output<typeof config>;

export const command = defineCommand({
  config,
  positionals: ['run'],
  examples: [
    'rollouts runs/grpo-model',
    'rollouts runs/grpo-model --sort score --descending --steps 90..',
    'rollouts runs/grpo-model --flags truncated --text sorry',
    'rollouts runs/grpo-model --show 12:3',
  ],
  async run(settings, context) {
    const query = queryOf(settings);
    const database = readRunDb(settings.run);
    try {
      requireRollouts(database, settings.run);
      if (settings.show === undefined) list(database, query, settings, context);
      else await show(database, settings, context);
      return 0;
    } finally {
      database.close();
    }
  },
});

function queryOf(settings: Settings): RolloutQuery {
  const ranges = {
    ...rangeOf('steps', settings.steps),
    ...rangeOf('scores', settings.scores),
    ...rangeOf('rewards', settings.rewards),
  };
  const { flags, text, sort, descending, limit, page } = settings;
  return {
    ...ranges,
    ...{ flags, order: sort, descending, limit, offset: (page - 1) * limit },
    ...(text !== undefined && { text }),
  };
}

/** `5`, `3..10`, `3..`, `..10`. */
function rangeOf<K extends string>(
  name: K,
  text: string | undefined,
): Partial<Record<K, readonly [number, number]>> {
  if (text === undefined) return {};
  const parts = text.split('..');
  const [from = '', to = ''] = parts.length === 1 ? [text, text] : parts;
  const range = [from === '' ? -Infinity : Number(from), to === '' ? Infinity : Number(to)] as const;
  if (parts.length > 2 || range.some(Number.isNaN) || !(range[0] <= range[1]) || text.trim() === '') {
    throw new ConfigError({
      where: `--${name}`,
      expected: 'a number or a range such as 3..10, 3.. or ..10',
      received: JSON.stringify(text),
    });
  }
  return { [name]: range } as unknown as Record<K, readonly [number, number]>;
}

/** @throws DataError when the run kept none */
function requireRollouts(database: Database.Database, run: string): void {
  const table = database.prepare("SELECT 1 AS there FROM sqlite_master WHERE name = 'rollouts'").get();
  const some = table !== undefined && database.prepare('SELECT 1 AS there FROM rollouts LIMIT 1').get();
  if (some !== undefined && some !== false) return;
  throw new DataError({
    where: join(run, 'run.db'),
    expected: 'rollouts',
    received: 'none',
    fix: 'Name a run of an online method, such as heed grpo, that was started with --rollout-limit above 0',
  });
}

function list(
  database: Database.Database,
  query: RolloutQuery,
  { page, limit }: Settings,
  { output }: CommandContext,
): void {
  const { total, rollouts } = findRollouts(database, query);
  for (const rollout of rollouts) output.record({ event: 'rollout', id: rolloutId(rollout), ...rollout });
  output.record({ event: 'rollouts', total, page, pages: Math.ceil(total / limit) });
  if (rollouts.length > 0) output.text(`${renderRollouts(rollouts, output.width)}\n`);
  const from = query.offset + 1;
  output.text(
    rollouts.length === 0
      ? `none of ${formatNumber(total)} on page ${page}`
      : `${formatNumber(from)}–${formatNumber(query.offset + rollouts.length)} of ${formatNumber(total)}. --show <id> shows one.`,
  );
}

async function show(
  database: Database.Database,
  { run, show: id, table }: Settings,
  { output, progress }: CommandContext,
): Promise<void> {
  const [, step, sample] = /^(\d+):(\d+)$/.exec(id!) ?? [];
  const rollout = step === undefined ? undefined : readRollout(database, Number(step), Number(sample));
  if (rollout === undefined) {
    const { low, high } = database
      .prepare('SELECT min(step) AS low, max(step) AS high FROM rollouts')
      .get() as {
      low: number;
      high: number;
    };
    throw new ConfigError({
      where: '--show',
      expected: `the id of a rollout of iterations ${low} to ${high}, such as ${high}:0`,
      received: JSON.stringify(id),
      fix: `List them with heed rollouts ${run}`,
    });
  }
  if (output.json) {
    output.record({ event: 'rollout', id: rolloutId(rollout), ...rollout });
    return;
  }
  const tokenText = await tokenTexts(database, run, progress.note.bind(progress));
  const { colors, width } = output;
  output.text(renderRollout(rollout, { colors, width, tokenText, table: table || !colors.isColorSupported }));
}

/** Texts of tokens by the tokenizer of the run: that of its model, its newest checkpoint, or the model it began with. */
async function tokenTexts(
  database: Database.Database,
  run: string,
  note: (message: string, level?: 'warning') => void,
): Promise<(id: number) => string> {
  const stored = database.prepare("SELECT value FROM run WHERE key = 'config'").get() as
    | { value: string }
    | undefined;
  const { tokenizer, model } = (parse(stored?.value ?? '') ?? {}) as { tokenizer?: string; model?: string };
  const folders = readdirSync(run)
    .filter((name) => name === 'model' || name.startsWith('checkpoint-'))
    .map((name) => join(run, name));
  for (const source of [...folders, tokenizer, model]) {
    if (source === undefined || !existsSync(source)) continue;
    try {
      const loaded = await loadTokenizer(source);
      return (id) => loaded.tokenText(id);
    } catch {}
  }
  note('the tokenizer of the run is not there: tokens show as numbers', 'warning');
  return (id) => String(id);
}
