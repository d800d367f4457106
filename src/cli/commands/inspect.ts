/** `heed inspect`: what a data set holds, and with a model its tokens, masks and cuts, before any compute is spent. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError, DataError } from '../../core/errors.ts';
import { rowForms } from '../../data/converters.ts';
import { openData } from '../../data/data-source.ts';
import { countData, summarizeLengths } from '../../data/data-stats.ts';
import { describeExample, type ExampleDescription } from '../../data/describe-example.ts';
import { createEncoder, type Encoder } from '../../data/encoder.ts';
import type { Row } from '../../data/row.ts';
import { detectRowType, parseRow, parseStepwise, type RowType } from '../../data/row-types.ts';
import { locateModel } from '../../models/hub.ts';
import { encodingFields, encodingOptions } from '../../parts/trainer/encoding-fields.ts';
import { loadTokenizer } from '../../tokenizer/load-tokenizer.ts';
import { checkTokenizerFits, type Tokenizer } from '../../tokenizer/tokenizer.ts';
import { defineCommand } from '../command.ts';
import { formatNumber } from '../format.ts';
import {
  countSequence,
  emptyCount,
  renderColumns,
  renderExample,
  renderHistogram,
  renderRefused,
  renderRow,
  renderSummary,
  renderWarnings,
  type SequenceCount,
  summarizeCount,
} from '../inspect-view.ts';

const rowTypes = [
  'language modeling',
  'prompt-completion',
  'preference',
  'unpaired preference',
  'stepwise supervision',
  'prompt-only',
] as const satisfies readonly RowType[];

const config = z.strictObject({
  ...section('Model and data', {
    data: field(z.string(), { placeholder: 'file' }).describe(
      'rows: a file (JSON Lines, JSON, CSV, Parquet; also .gz and .zst), a folder with splits, or a data set of the hub',
    ),
    split: field(z.string().optional()).describe('of a folder or a data set of the hub; train when left out'),
    from: field(z.enum(rowForms).default('auto')).describe(
      'what the rows are, when they are not in the columns of TRL; auto tells by the first row',
    ),
    model: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'model or tokenizer, to see tokens, masks and cuts: a Hugging Face folder, a hub id, a .gguf or a llama2.c .bin file',
    ),
    tokenizer: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'tokenizer folder or file, when it is not beside the model',
    ),
    type: field(z.enum(rowTypes).optional()).describe(
      'row type; found from the columns of the first row when left out',
    ),
  }),
  ...section('Encoding', {
    maxLength: field(z.int().min(2).optional()).describe(
      'longest sequence in tokens; 512 when left out, or the context of the model when that is shorter',
    ),
    truncation: field(z.enum(['error', 'keep-start', 'keep-end']).default('error')).describe(
      'a prompt that leaves no room for its completion: refuse the row, or keep the start or the end of the prompt',
    ),
    learn: field(z.enum(['completion', 'all']).default('completion')).describe(
      'what is trained: completions and assistant turns, or every token',
    ),
    appendEos: field(z.boolean().default(true)).describe(
      'end texts and completions with the end-of-text token',
    ),
  }),
  ...encodingFields,
  ...section('View', {
    rows: field(z.int().min(0).default(3)).describe('rows shown'),
    showTokens: field(z.int().min(2).default(400)).describe(
      'tokens shown of a sequence; the middle of a longer one is left out',
    ),
    maxRows: field(z.int().min(1).optional()).describe('read only the first rows of the file'),
  }),
});

/** Refused rows whose reason is told with `--json`. */
const REASONS = 5;

export const command = defineCommand({
  config,
  positionals: ['data'],
  examples: [
    'inspect data/pairs --split test',
    'inspect rows.jsonl --model models/small',
    'inspect pairs.jsonl.gz --model models/small --rows 1 --max-length 256',
  ],
  async run(settings, { output, progress }) {
    const view =
      settings.model === undefined ? undefined : await openView({ ...settings, model: settings.model });
    const counts = new Map<string, SequenceCount>();
    const refused: DataError[] = [];
    const source = await openData(settings.data, {
      split: settings.split,
      from: settings.from,
      onRefused: (error) => refused.push(error),
    });
    if (source.converter !== undefined) progress.note(`rows read as ${source.converter}`);
    const counter = countData();
    let read = 0;
    let shown = 0;
    let type = settings.type;
    const stage = progress.start(view === undefined ? 'read' : 'tokenize', { unit: 'rows' });
    for await (const { value: row } of source.rows.from()) {
      type ??= requireType(row);
      read++;
      counter.add(row);
      try {
        if (view === undefined) {
          parseRow(row, type);
          if (shown < settings.rows) {
            shown++;
            output.text(`${renderRow(row, output.colors)}\n`);
            output.record({ event: 'row', where: row.where, columns: row.columns });
          }
        } else {
          const sequences = describeRow(row, type, view.encoder, view.tokenizer);
          for (const [name, example] of sequences) {
            const count = counts.get(name) ?? emptyCount();
            countSequence(count, example);
            counts.set(name, count);
          }
          if (shown < settings.rows) {
            shown++;
            for (const [name, example] of sequences) {
              const title = sequences.length === 1 ? row.where : `${row.where}, ${name}`;
              output.text(
                `${renderExample(title, example, { ...output, showTokens: settings.showTokens })}\n`,
              );
              output.record({
                event: 'example',
                where: row.where,
                sequence: name,
                truncated: example.truncated,
                boundary: example.boundary,
                tokens: example.tokens,
              });
            }
          }
        }
      } catch (error) {
        if (!(error instanceof DataError)) throw error;
        refused.push(error);
      }
      stage.update(read);
      if (read >= (settings.maxRows ?? Number.POSITIVE_INFINITY)) break;
    }
    stage.end();

    const { rows: _, ...stats } = counter.stats();
    const limit = view === undefined ? '' : `, at most ${formatNumber(view.maxLength)} tokens`;
    output.text(`${formatNumber(read)} ${read === 1 ? 'row' : 'rows'} of type ${type}${limit}\n`);
    output.text(renderColumns(counter.stats()));
    if (counts.size > 0) output.text(`\n${renderSummary(counts)}`);
    for (const [name, { lengths }] of counts) {
      const { histogram } = summarizeLengths(lengths);
      output.text(`\n${renderHistogram(`${name}, tokens`, histogram, output.colors)}`);
    }
    const warnings = renderWarnings(counter.stats(), output.colors);
    if (warnings.length > 0) output.text(`\n${warnings.join('\n')}`);
    if (refused.length > 0) output.text(`\n${renderRefused(refused, output.colors)}`);
    output.record({
      event: 'summary',
      rows: read,
      type,
      files: source.files,
      converter: source.converter ?? null,
      ...stats,
      ...(view === undefined ? {} : { maxLength: view.maxLength }),
      sequences: Object.fromEntries([...counts].map(([name, count]) => [name, summarizeCount(count)])),
      refused: refused.length,
      reasons: refused.slice(0, REASONS).map(({ message }) => message),
    });
    return refused.length === 0 ? 0 : 2;
  },
});

interface TokenView {
  readonly tokenizer: Tokenizer;
  readonly encoder: Encoder;
  readonly maxLength: number;
}

/** The tokenizer and the encoder of a model, with the length that training would use. */
async function openView(settings: z.output<typeof config> & { readonly model: string }): Promise<TokenView> {
  const { model, truncation, learn } = settings;
  const where = settings.tokenizer ?? model;
  const tokenizer = await loadTokenizer(where);
  const context = await modelContext(await locateModel(model, { weights: false }));
  if (context !== undefined) checkTokenizerFits(tokenizer, { vocabSize: context.vocabSize, where });
  const limit = context?.maxPositions ?? Number.POSITIVE_INFINITY;
  const maxLength = settings.maxLength ?? Math.min(512, limit);
  if (maxLength > limit) {
    throw new ConfigError({
      where: '--max-length',
      expected: `at most ${limit}, the context of ${model}`,
      received: String(maxLength),
      fix: `Set --max-length ${limit}`,
    });
  }
  const stop = settings.appendEos ? {} : ({ stop: 'none' } as const);
  return {
    tokenizer,
    encoder: createEncoder(tokenizer, {
      maxLength,
      truncation,
      learn,
      ...stop,
      ...encodingOptions(settings),
    }),
    maxLength,
  };
}

/** Vocabulary and context of a model without reading its weights; undefined for a folder that holds a tokenizer only. */
async function modelContext(
  source: string,
): Promise<{ vocabSize: number; maxPositions: number } | undefined> {
  const found = await stat(source);
  if (found.isDirectory()) {
    const hasConfig = await stat(join(source, 'config.json')).catch(() => undefined);
    if (hasConfig === undefined) return undefined;
    const { readModelConfig } = await import('../../models/checkpoint.ts');
    const { buildModel } = await import('../../models/registry.ts');
    return buildModel(readModelConfig(source), join(source, 'config.json'));
  }
  if (!/\.(bin|gguf)$/.test(source)) return undefined;
  const { readConfig } = await import('../../models/checkpoint.ts');
  const { buildModel } = await import('../../models/registry.ts');
  return buildModel(readConfig(source), source);
}

function requireType(row: Row): RowType {
  const type = detectRowType(row);
  if (type !== undefined) return type;
  throw new DataError({
    where: row.where,
    expected: '`messages`, `text`, or `prompt` with `completion`, or `chosen` and `rejected`',
    received: `columns ${Object.keys(row.columns).join(', ') || 'none'}`,
    fix: 'Rename the columns, or name the row type with --type to see what is missing',
  });
}

function describeRow(
  row: Row,
  type: RowType,
  encoder: Encoder,
  tokenizer: Tokenizer,
): [name: string, example: ExampleDescription][] {
  switch (type) {
    case 'language modeling':
    case 'prompt-completion':
      return [['sequence', describeExample(encoder.supervised(row), tokenizer)]];
    case 'preference': {
      const { chosen, rejected } = encoder.preference(row);
      return [
        ['chosen', describeExample(chosen, tokenizer)],
        ['rejected', describeExample(rejected, tokenizer)],
      ];
    }
    case 'unpaired preference': {
      const { example, label } = encoder.unpaired(row);
      return [[label ? 'desirable' : 'undesirable', describeExample(example, tokenizer)]];
    }
    case 'stepwise supervision': {
      // As it is trained on: the steps one after the other.
      const { where, prompt, completions } = parseStepwise(row);
      const columns = { prompt, completion: completions.join('\n') };
      return [['steps', describeExample(encoder.supervised({ where, columns }), tokenizer)]];
    }
    case 'prompt-only': {
      const { ids, truncated } = encoder.prompt(row);
      const mask = new Uint8Array(ids.length);
      return [['prompt', describeExample({ ids, mask, truncated }, tokenizer)]];
    }
  }
}
