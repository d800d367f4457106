/** `heed data`: data sets into other files: converted, split, mixed; or only counted. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import { createRng } from '../../core/rng.ts';
import {
  checkEnding,
  countData,
  filterStream,
  hashSplitter,
  mapStream,
  mixStreams,
  openAll,
  type Row,
  rowForms,
  rowKey,
  type Stream,
  shuffleStream,
  takeStream,
  uniqueStream,
  writableEndings,
  writeRows,
} from '../../data/index.ts';
import { type CommandContext, defineCommand } from '../command.ts';
import { formatBytes, formatNumber } from '../format.ts';
import { renderColumns, renderHistogram, renderWarnings } from '../inspect-view.ts';

const actions = ['convert', 'split', 'mix', 'stats'] as const;

const config = z.strictObject({
  action: field(z.enum(actions)).describe(
    'convert: to TRL’s columns and another file; split: into parts that share no prompt; mix: several with weights; stats: count only',
  ),
  ...section('Rows', {
    data: field(z.union([z.array(z.string()).min(1), z.string()]), { placeholder: 'file' }).describe(
      'a file (JSON Lines, JSON, CSV, Parquet; also .gz and .zst), a folder with splits, or a data set of the hub; several: a,b',
    ),
    split: field(z.string().optional()).describe('of a folder or a data set of the hub; train when left out'),
    from: field(z.enum(rowForms).default('auto')).describe(
      'what the rows are, when they are not in the columns of TRL; auto tells by the first row',
    ),
    unique: field(z.enum(['no', 'exact', 'normalized']).default('no')).describe(
      'leave out rows that repeat an earlier one: letter by letter, or whatever the case, spacing and punctuation',
    ),
    drop: field(z.array(z.string()).default([])).describe('columns to leave out'),
    shuffle: field(z.boolean().default(false)).describe(
      'in a new order, all orders equally likely; rows are held in memory',
    ),
    shuffleBlock: field(z.int().min(2).optional()).describe(
      'shuffle within blocks of so many rows instead of the whole: less memory, rows stay near their place',
    ),
    maxRows: field(z.int().min(1).optional()).describe('only the first rows, after the rest is done'),
    seed: field(z.int().min(0).default(0)).describe('seed of shuffle, mix and split'),
  }),
  ...section('Mix', {
    weights: field(z.array(z.number().positive()).optional()).describe(
      'one for each data set; equal when left out',
    ),
    stop: field(z.enum(['first', 'all', 'repeat']).default('first')).describe(
      'when a data set ends: first ends the mixture, all goes on with the others, repeat begins it again',
    ),
  }),
  ...section('Split', {
    testShare: field(z.number().min(0).max(0.99).default(0.1)).describe('share of the test part, on average'),
    validationShare: field(z.number().min(0).max(0.99).default(0)).describe(
      'share of the validation part, on average',
    ),
    format: field(z.enum(['jsonl', 'jsonl.gz', 'parquet']).default('jsonl')).describe(
      'of the files of a split',
    ),
  }),
  ...section('Result', {
    output: field(z.string().optional(), { aliases: ['out'], placeholder: 'path' }).describe(
      `convert, mix: a file that ends with ${writableEndings.join(', ')}; split: a folder`,
    ),
    overwrite: field(z.boolean().default(false)).describe('replace files that are there'),
  }),
});

type Settings = z.output<typeof config>;

export const command = defineCommand({
  config,
  positionals: ['action', 'data'],
  examples: [
    'data stats data/pairs --split test',
    'data convert alpaca.json --output demonstrations.parquet',
    'data split pairs.jsonl --test-share 0.1 --unique normalized --output pairs',
    'data mix a.jsonl,b.jsonl --weights 3,1 --shuffle --output mixed.jsonl.gz',
  ],
  async run(settings, context) {
    const { action } = settings;
    // Before anything is read: nobody wants to wait for a wrong name.
    const paths = action === 'stats' ? [] : resultPaths(settings);
    const rows = await openRows(settings, context);
    if (action === 'stats') await showStats(rows, context);
    else if (action === 'split') await writeParts(rows, settings, paths, context);
    else await write(rows, paths[0]!, action, context);
    return 0;
  },
});

/** Files that will be written. @throws ConfigError when there is no name for them, or one is taken */
function resultPaths({ action, output, overwrite, format, testShare, validationShare }: Settings): string[] {
  if (output === undefined) {
    throw new ConfigError({
      where: '--output',
      expected: action === 'split' ? 'a folder' : 'a file',
      received: 'nothing',
      fix: `Name where the rows go, as in --output ${action === 'split' ? 'parts' : 'rows.jsonl'}`,
    });
  }
  const parts = ['train', ...(validationShare > 0 ? ['validation'] : []), ...(testShare > 0 ? ['test'] : [])];
  const paths = action === 'split' ? parts.map((name) => join(output, `${name}.${format}`)) : [output];
  for (const path of paths) {
    checkEnding(path);
    if (overwrite || !existsSync(path)) continue;
    throw new ConfigError({
      where: '--output',
      expected: 'the name of a file that is not there yet',
      received: path,
      fix: 'Name another, or add --overwrite',
    });
  }
  return paths;
}

/** The rows with everything done to them that does not depend on where they go. */
async function openRows(settings: Settings, { progress }: CommandContext): Promise<Stream<Row>> {
  const { action, data, split, from, unique, drop, seed, stop, maxRows, shuffleBlock } = settings;
  const { sources, rows: all } = await openAll(data, { split, from });
  for (const { name, converter } of sources) {
    if (converter !== undefined) progress.note(`${name}: rows read as ${converter}`);
  }
  const weights = settings.weights ?? sources.map(() => 1);
  if (weights.length !== sources.length) {
    throw new ConfigError({
      where: '--weights',
      expected: `${sources.length}, one for each data set`,
      received: weights.join(', '),
    });
  }
  const rng = createRng(seed);
  const streams = sources.map(({ rows }) => rows);
  let rows = action === 'mix' ? mixStreams(streams, { weights, rng: rng.split('mix'), stop }) : all;
  if (unique !== 'no') rows = uniqueStream(rows, (row) => rowKey(row, unique));
  if (drop.length > 0) rows = mapStream(rows, (row) => without(row, drop));
  if (settings.shuffle || shuffleBlock !== undefined) {
    const block = shuffleBlock === undefined ? {} : { block: shuffleBlock };
    rows = shuffleStream(rows, { rng: rng.split('shuffle'), ...block });
  }
  return maxRows === undefined ? rows : takeStream(rows, maxRows);
}

function without({ where, columns }: Row, names: readonly string[]): Row {
  return {
    where,
    columns: Object.fromEntries(Object.entries(columns).filter(([name]) => !names.includes(name))),
  };
}

async function write(
  rows: Stream<Row>,
  path: string,
  event: string,
  { progress, output }: CommandContext,
): Promise<void> {
  const stage = progress.start(`write ${path}`, { unit: 'rows' });
  let done = 0;
  const counted = mapStream(rows, (row) => {
    stage.update(++done);
    return row;
  });
  const count = await writeRows(path, counted).finally(() => stage.end());
  const bytes = statSync(path).size;
  output.record({ event, path, rows: count, bytes });
  output.text(
    `${formatNumber(count)} ${count === 1 ? 'row' : 'rows'} in ${output.colors.bold(path)}, ${formatBytes(bytes)}`,
  );
}

async function writeParts(
  rows: Stream<Row>,
  settings: Settings,
  paths: readonly string[],
  context: CommandContext,
): Promise<void> {
  const { testShare: test, validationShare: validation, seed } = settings;
  const shares = { validation, test };
  const splitOf = hashSplitter(
    Object.fromEntries(Object.entries(shares).filter(([, share]) => share > 0)),
    seed,
  );
  for (const path of paths) {
    const name = ['train', 'validation', 'test'].find((part) => path.endsWith(`${part}.${settings.format}`));
    await write(
      filterStream(rows, (row) => splitOf(row) === name),
      path,
      'split',
      context,
    );
  }
}

async function showStats(rows: Stream<Row>, { progress, output }: CommandContext): Promise<void> {
  const counter = countData();
  const stage = progress.start('count', { unit: 'rows' });
  let done = 0;
  for await (const { value } of rows.from()) {
    counter.add(value);
    stage.update(++done);
  }
  stage.end();
  const stats = counter.stats();
  output.record({ event: 'stats', ...stats });
  const types = Object.entries(stats.types).map(([type, count]) => `${formatNumber(count)} ${type}`);
  output.text(`${formatNumber(stats.rows)} rows: ${types.join(', ')}\n`);
  output.text(renderColumns(stats));
  for (const [name, { histogram }] of Object.entries(stats.characters)) {
    output.text(`\n${renderHistogram(`${name}, characters`, histogram, output.colors)}`);
  }
  const warnings = renderWarnings(stats, output.colors);
  if (warnings.length > 0) output.text(`\n${warnings.join('\n')}`);
}
