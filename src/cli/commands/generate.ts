/** `heed generate`: completions of prompts, one or a file of them. */
import { createWriteStream, renameSync } from 'node:fs';
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { DataError } from '../../core/errors.ts';
import { createRng } from '../../core/rng.ts';
import { createEncoder, loadRows, type Row, toRows } from '../../data/index.ts';
import { createEngine } from '../../engine/create-engine.ts';
import { createGenerator } from '../../generate/index.ts';
import { loadModel } from '../../models/index.ts';
import { quantizations, quantizeOption } from '../../parts/trainer/lora-fields.ts';
import { checkTokenizerFits, loadTokenizer } from '../../tokenizer/index.ts';
import { defineCommand } from '../command.ts';
import { formatNumber } from '../format.ts';

const config = z.strictObject({
  ...section('Model and prompts', {
    model: field(z.string(), { placeholder: 'folder' }).describe('Hugging Face folder or llama2.c .bin file'),
    adapter: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'LoRA adapter in PEFT’s layout to put over the model; a folder of an adapter may also stand as the model',
    ),
    quantize: field(z.enum(quantizations).default('none')).describe(
      'keep the linear layers in 8 or 4 bits: less memory, some accuracy',
    ),
    tokenizer: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'when it is not beside the model',
    ),
    prompt: field(z.string().optional()).describe('one prompt'),
    data: field(z.string().optional(), { placeholder: 'file' }).describe(
      'rows with a column "prompt": a file, a folder with splits, or a data set of the hub',
    ),
    maxRows: field(z.int().positive().optional()).describe('use only the first rows of data'),
    output: field(z.string().optional(), { placeholder: 'file' }).describe(
      'write rows with prompt, completion, ids and log-probabilities',
    ),
  }),
  ...section('Sampling', {
    maxNewTokens: field(z.int().positive().default(128)).describe('longest completion in tokens'),
    temperature: field(z.number().min(0).default(1)).describe(
      'divides the logits; 0 takes the most likely token',
    ),
    topK: field(z.int().min(0).default(0)).describe('keep the k most likely tokens; 0 keeps all'),
    topP: field(z.number().gt(0).max(1).default(1)).describe(
      'keep the fewest tokens whose probabilities reach this sum',
    ),
    minP: field(z.number().min(0).max(1).default(0)).describe(
      'drop tokens less likely than this times the most likely one',
    ),
    typicalP: field(z.number().gt(0).max(1).default(1)).describe(
      'keep the tokens of most typical surprise that reach this sum; 1 keeps all',
    ),
    repetitionPenalty: field(z.number().positive().default(1)).describe(
      'divides positive logits of tokens seen before; 1 does nothing',
    ),
    frequencyPenalty: field(z.number().default(0)).describe(
      'subtracted from a logit per earlier occurrence in the completion',
    ),
    presencePenalty: field(z.number().default(0)).describe(
      'subtracted from the logits of tokens in the completion',
    ),
    minNewTokens: field(z.int().min(0).default(0)).describe('no stop token before this many tokens'),
    stop: field(z.array(z.string()).default([])).describe(
      'texts of single tokens that end a completion besides the end-of-text token',
    ),
    batchSize: field(z.int().positive().default(32)).describe('prompts decoded together'),
    seed: field(z.int().min(0).default(0)).describe('seed of the draws'),
    threads: field(z.int().positive().optional()).describe(
      'threads of the engine; default: the machine’s cores',
    ),
  }),
});

export const command = defineCommand({
  config,
  positionals: ['prompt'],
  examples: [
    'generate --model runs/sft/model "Once upon a time"',
    'generate --model runs/sft/model --data prompts.jsonl --output out.jsonl',
  ],
  async run(settings, { output, progress, clock }) {
    const { model, parameters } = await loadModel(settings.model, {
      adapter: settings.adapter,
      ...quantizeOption(settings.quantize),
    });
    const tokenizer = await loadTokenizer(settings.tokenizer ?? settings.model);
    checkTokenizerFits(tokenizer, { vocabSize: model.vocabSize, where: settings.model });
    const rows = await readPrompts(settings);
    const encoder = createEncoder(tokenizer, { maxLength: model.maxPositions });
    const prompts = rows.map((row) => encoder.prompt(row).ids);
    const stopIds = new Set(
      settings.stop.map((text) =>
        stopId(text, tokenizer.encode(text, { continuation: true, parseSpecial: true })),
      ),
    );
    if (tokenizer.eosId !== undefined) stopIds.add(tokenizer.eosId);

    const engine = await createEngine(settings.threads === undefined ? {} : { threads: settings.threads });
    const generator = createGenerator({ engine, model, parameters, clock });
    const stage = progress.start('generate', { unit: 'tokens' });
    let made = 0;
    try {
      const completions = await generator.generate(prompts, {
        ...settings,
        stopIds,
        rng: createRng(settings.seed),
        onTokens: (tokens) => {
          made += tokens;
          stage.update(made);
        },
      });
      stage.end();
      const records = completions.map(({ ids, logProbs, finish }, index) => ({
        prompt: rows[index]!.columns.prompt,
        completion: tokenizer.decode(ids),
        ids,
        logProbs,
        finish,
      }));
      if (settings.output !== undefined) await writeRows(settings.output, records);
      for (const record of records) {
        output.record(record);
        if (settings.output !== undefined) continue;
        const prompt = typeof record.prompt === 'string' ? record.prompt : JSON.stringify(record.prompt);
        output.text(`${output.colors.dim(prompt)}${record.completion}`);
        output.text('');
      }
      if (settings.output !== undefined)
        output.text(`${formatNumber(records.length)} completions in ${settings.output}`);
      return 0;
    } finally {
      generator.dispose();
      engine.dispose();
    }
  },
});

async function readPrompts({
  prompt,
  data,
  maxRows = Number.POSITIVE_INFINITY,
}: {
  prompt?: string | undefined;
  data?: string | undefined;
  maxRows?: number | undefined;
}): Promise<Row[]> {
  if ((prompt === undefined) === (data === undefined)) {
    throw new DataError({
      where: 'heed generate',
      expected: 'either a prompt or --data',
      received: prompt === undefined ? 'neither' : 'both',
      fix: 'Write heed generate --model <folder> "text", or name a file of prompts',
    });
  }
  if (data === undefined) return toRows([{ prompt }], 'command line');
  return loadRows(data, { limit: maxRows });
}

function stopId(text: string, ids: readonly number[]): number {
  if (ids.length === 1) return ids[0]!;
  throw new DataError({
    where: '--stop',
    expected: 'the text of one token',
    received: `"${text}", ${ids.length} tokens`,
    fix: 'Name a single token',
  });
}

async function writeRows(path: string, records: readonly object[]): Promise<void> {
  const temporary = `${path}.${process.pid}.partial`;
  const stream = createWriteStream(temporary);
  const closed = new Promise<void>((resolve, reject) => {
    stream.on('finish', resolve);
    stream.on('error', reject);
  });
  for (const record of records) stream.write(`${JSON.stringify(record)}\n`);
  stream.end();
  await closed;
  renameSync(temporary, path);
}
