/** `heed generate`: completions of prompts, one or a file of them. */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError, DataError } from '../../core/errors.ts';
import { createRng } from '../../core/rng.ts';
import { contentHash, loadRows, type Row, toRows } from '../../data/index.ts';
import { createEngine } from '../../engine/create-engine.ts';
import type { Engine } from '../../engine/engine.ts';
import type { BeamOptions, Generator } from '../../generate/index.ts';
import { loadModel } from '../../models/index.ts';
import { openRewardModel } from '../../parts/scorer/open-reward-model.ts';
import { readRewardCard } from '../../parts/scorer/reward-card.ts';
import type { Scorer } from '../../parts/scorer/scorer.ts';
import { quantizations } from '../../parts/trainer/lora-fields.ts';
import { openRewards, rewardSources } from '../../parts/trainer/reward-fields.ts';
import { checkTokenizerFits, type Tokenizer } from '../../tokenizer/index.ts';
import { defineCommand } from '../command.ts';
import { formatNumber } from '../format.ts';
import { completeJobs, type Job, sampleCounts } from '../generate/completions.ts';
import { createJobs, samplingOf } from '../generate/jobs.ts';
import { openResults, partialName, type ResultFile, type ResultRecord } from '../generate/result-file.ts';
import { samplingFields } from '../generate/sampling-fields.ts';
import { type CompletionSource, loadSource } from '../generate/source.ts';

const config = z.strictObject({
  ...section('Model and prompts', {
    model: field(z.string(), { placeholder: 'folder' }).describe(
      'Hugging Face folder or llama2.c .bin file; with --server, the name of the model there',
    ),
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
      'rows with a column "prompt", a text or a conversation, and optionally "sampling", an object of settings of that row: a file, a folder with splits, or a data set of the hub',
    ),
    maxRows: field(z.int().positive().optional()).describe('use only the first rows of data'),
  }),
  ...section('Results', {
    output: field(z.string().optional(), { placeholder: 'file' }).describe(
      'JSON Lines with prompt, completion, ids and log-probabilities, written as they come to <file>.partial',
    ),
    resume: field(z.boolean().default(false)).describe('continue the unfinished results of --output'),
    overwrite: field(z.boolean().default(false)).describe('replace results of --output that are finished'),
    n: field(z.int().positive().default(1)).describe('completions per prompt'),
    bestOf: field(z.int().positive().optional()).describe(
      'make this many completions per prompt and keep the best n: by mean log-probability, or by --reward; default n',
    ),
    reward: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'reward model that scores the completions: a folder, one of a server (http://localhost:8000/v1#name), or another reward as in training',
    ),
    logprobs: field(z.int().min(0).max(1000).optional()).describe(
      'also write the likeliest tokens in each place, this many, and the entropy there',
    ),
  }),
  ...samplingFields,
  ...section('Beam search', {
    beams: field(z.int().positive().optional(), { aliases: ['numBeams'] }).describe(
      'search with this many continuations at a time instead of sampling, and keep the best n',
    ),
    lengthPenalty: field(z.number().default(1)).describe(
      'finished continuations are ranked by log-probability ÷ length ^ this: above 0 favours long ones',
    ),
    earlyStopping: field(z.enum(['false', 'true', 'never']).default('false')).describe(
      'true ends when as many as beams are finished; false when none that runs ranks above those at its present length; never also at the length it may still reach',
    ),
  }),
  ...section('Speculative decoding', {
    speculate: field(z.int().min(0).max(64).default(0)).describe(
      'guess this many tokens at a time and check them in one pass; the distribution of completions stays the same',
    ),
    draft: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'smaller model with the same tokenizer that guesses; default: what prompt and completion say already',
    ),
  }),
  ...section('A server elsewhere', {
    server: field(z.string().optional(), { placeholder: 'address' }).describe(
      'OpenAI-compatible server that makes the tokens, up to and with /v1 (heed serve, vLLM, llama.cpp); needs --tokenizer',
    ),
    concurrency: field(z.int().positive().default(8)).describe('requests at a time'),
    timeout: field(z.number().positive().default(120)).describe('seconds that one request may take'),
    retries: field(z.int().min(0).default(5)).describe(
      'further requests after one that failed in passing, each later than the last',
    ),
    apiKeyVariable: field(z.string().default('OPENAI_API_KEY')).describe(
      'environment variable with the key; none is sent without',
    ),
  }),
  ...section('Run', {
    batchSize: field(z.int().positive().default(32)).describe('completions decoded together'),
    seed: field(z.int().min(0).default(0)).describe('seed of the draws'),
    threads: field(z.int().positive().optional()).describe(
      'threads of the engine; default: the machine’s cores',
    ),
  }),
});

type Settings = z.output<typeof config>;

export const command = defineCommand({
  config,
  positionals: ['prompt'],
  examples: [
    'generate --model runs/sft/model "Once upon a time"',
    'generate --model runs/sft/model --data prompts.jsonl --output out.jsonl --resume',
    'generate --model runs/sft/model --data prompts.jsonl --n 1 --best-of 8 --reward runs/rm/model',
    'generate --model runs/sft/model "Colors:" --stop \'["\\n\\n", "User:"]\' --logprobs 5',
    'generate --model runs/sft/model "Sentiment:" --choice \'[" good", " bad"]\'',
    'generate --model runs/sft/model "A recipe:" --json-schema recipe.json',
    'generate --server http://gpu:8000/v1 --model policy --tokenizer runs/sft/model --data prompts.jsonl --output out.jsonl',
  ],
  async run(settings, { output, progress, clock, env, interruptible }) {
    checkUse(settings);
    const { keep, samples } = sampleCounts(settings);
    const source = await loadSource(settings, env);
    const { tokenizer } = source;
    const jobs = createJobs(await readPrompts(settings), settings, source);
    const engine = await createEngine(settings.threads === undefined ? {} : { threads: settings.threads });
    let generator: Generator | undefined;
    let scorer: Scorer | undefined;
    let results: ResultFile | undefined;
    try {
      scorer = await loadScorer(settings, engine, tokenizer, env);
      if (settings.output !== undefined) {
        results = await openResults({
          path: settings.output,
          run: runOf(settings, jobs, source),
          prompts: jobs.length,
          lines: keep,
          resume: settings.resume,
          overwrite: settings.overwrite,
        });
      }
      const done = results?.done ?? new Set<number>();
      const signal = interruptible('saving what is done; press Ctrl-C again to stop at once');
      generator = source.open({ engine, clock, signal });
      const stage = progress.start('generate', { unit: 'prompts', total: jobs.length, from: done.size });
      const begin = clock();
      let tokens = 0;
      let paused = begin;
      let finished = done.size;
      const inOrder = createOrder<readonly ResultRecord[]>((records) => records.forEach(show));
      function show(record: ResultRecord): void {
        output.record(record);
        if (settings.output !== undefined) return;
        const { prompt, completion } = record as { prompt?: unknown; completion?: string };
        const text = typeof prompt === 'string' ? prompt : JSON.stringify(prompt);
        output.text(`${output.colors.dim(text)}${completion}`);
        output.text('');
      }
      try {
        await completeJobs(
          jobs.filter(({ index }) => !done.has(index)),
          {
            ...{ generator, tokenizer, keep, samples, scorer },
            rng: createRng(settings.seed),
            batchSize: settings.batchSize,
            logprobs: settings.logprobs,
            search: searchOf(settings),
            speculate: settings.speculate,
            onTokens: async (count) => {
              tokens += count;
              stage.update(finished, { 'tokens/s': Math.round((1000 * tokens) / (clock() - begin)) });
              signal.throwIfAborted();
              // The engine runs on this thread: signals come in only when it is given way to.
              if (clock() - paused < 50) return;
              await new Promise((resolve) => setImmediate(resolve));
              paused = clock();
              signal.throwIfAborted();
            },
            onRecords: async (records) => {
              await results?.add(records);
              if (results === undefined) inOrder(records[0]!.index, records);
              else if (output.json) records.forEach(show);
              finished++;
            },
          },
        );
      } catch (error) {
        if (!signal.aborted) {
          await results?.abandon();
          results = undefined;
          throw error;
        }
        const saved =
          settings.output === undefined
            ? ''
            : `; ${partialName(settings.output)} has them, and --resume continues it`;
        progress.note(`${finished} of ${jobs.length} prompts are done${saved}`);
        return 130;
      }
      const { guessed = 0, kept = 0 } = generator.speculated ?? {};
      stage.update(finished, guessed === 0 ? {} : { guessed, kept });
      stage.end();
      if (results !== undefined) {
        await results.finish();
        results = undefined;
        output.text(`${formatNumber(jobs.length * keep)} completions in ${settings.output}`);
      }
      return 0;
    } finally {
      await results?.close();
      scorer?.dispose();
      generator?.dispose();
      engine.dispose();
    }
  },
});

/** What can be refused before anything is loaded. */
function checkUse({ prompt, data, output, resume, beams, bestOf, draft, speculate }: Settings): void {
  if ((prompt === undefined) === (data === undefined)) {
    throw new DataError({
      where: 'heed generate',
      expected: 'either a prompt or --data',
      received: prompt === undefined ? 'neither' : 'both',
      fix: 'Write heed generate --model <folder> "text", or name a file of prompts',
    });
  }
  if (draft !== undefined && speculate === 0) {
    throw new ConfigError({
      where: '--draft',
      expected: '--speculate, the tokens to guess at a time',
      received: 'none',
      fix: 'Add --speculate 4',
    });
  }
  if (beams !== undefined && bestOf !== undefined) {
    throw new ConfigError({
      where: '--beams',
      expected: 'beam search or best-of, not both',
      received: '--best-of too',
      fix: 'Leave one out; --n says how many of the beams are kept',
    });
  }
  if (resume && output === undefined) {
    throw new ConfigError({
      where: '--resume',
      expected: '--output, the results to continue',
      received: 'none',
      fix: 'Name the file, or leave --resume out',
    });
  }
}

async function readPrompts({ prompt, data, maxRows = Number.POSITIVE_INFINITY }: Settings): Promise<Row[]> {
  return data === undefined ? toRows([{ prompt }], 'command line') : loadRows(data, { limit: maxRows });
}

/** Beam search where it was asked for. */
function searchOf({ beams, lengthPenalty, earlyStopping }: Settings): BeamOptions | undefined {
  if (beams === undefined) return undefined;
  return {
    beams,
    lengthPenalty,
    earlyStopping: earlyStopping === 'never' ? 'never' : earlyStopping === 'true',
  };
}

/** What decides the results: an unfinished file is continued only for the same. */
function runOf(
  settings: Settings,
  jobs: readonly Job[],
  { identity }: CompletionSource,
): Record<string, unknown> {
  const { model, adapter, quantize, n, bestOf, reward, logprobs, seed, speculate, draft } = settings;
  const search = searchOf(settings);
  const prompts = contentHash(jobs.map(({ prompt, row }) => [prompt.ids, row.columns.sampling ?? null]));
  return {
    model,
    ...identity,
    adapter,
    quantize,
    n,
    bestOf,
    reward,
    logprobs,
    seed,
    speculate,
    draft,
    search,
    ...samplingOf(settings),
    prompts,
  };
}

/** The reward that ranks: a model's folder, or whatever else may stand after --reward in training. */
async function loadScorer(
  { reward, seed }: Settings,
  engine: Engine,
  tokenizer: Tokenizer,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Scorer | undefined> {
  if (reward === undefined) return undefined;
  const choice = { reward: [reward], rewardOptions: {} };
  const [source] = rewardSources(choice);
  const loaded = source!.kind === 'model' ? await loadModel(source!.folder) : undefined;
  if (loaded !== undefined)
    checkTokenizerFits(tokenizer, { vocabSize: loaded.model.vocabSize, where: reward });
  const ofModel = (folder: string, name: string): Scorer =>
    openRewardModel({
      ...{ engine, loaded: loaded!, tokenizer, card: readRewardCard(folder), name },
      ...{ batchSize: 8, bucket: 32, appendStop: true },
    });
  return openRewards(choice, ofModel, { env, seed });
}

/** Passes on what comes in any order in the order of its index. */
function createOrder<T>(emit: (item: T) => void): (index: number, item: T) => void {
  const held = new Map<number, T>();
  let next = 0;
  return (index, item) => {
    held.set(index, item);
    for (let ready = held.get(next); ready !== undefined; ready = held.get(next)) {
      held.delete(next++);
      emit(ready);
    }
  };
}
