/** `heed serve`: models over HTTP, as OpenAI's clients expect them. */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import { createRng } from '../../core/rng.ts';
import { createEngine } from '../../engine/create-engine.ts';
import { quantizations } from '../../parts/trainer/lora-fields.ts';
import { createApp, type LogEntry, listen } from '../../serve/index.ts';
import { defineCommand } from '../command.ts';
import { loadServedModels } from '../serve-models.ts';

const config = z.strictObject({
  ...section('Models', {
    model: field(z.array(z.string()).min(1), { placeholder: 'folder' }).describe(
      'model folders, .gguf files or hub ids, each also as name=folder; a reward model answers /v1/score',
    ),
    adapter: field(z.array(z.string()).default([]), { placeholder: 'name=folder' }).describe(
      'LoRA adapters over the first model, served under their names',
    ),
    mergeAdapters: field(z.boolean().default(true)).describe(
      'merge each adapter into a copy of the weights; --no-merge-adapters keeps them apart over one: less memory, more time per token',
    ),
    adapterFolder: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'clients may load adapters that lie in this folder (/v1/load_lora_adapter) and take them out again; needs an API key',
    ),
    tokenizer: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'when it is not beside the models',
    ),
    quantize: field(z.enum(quantizations).default('none')).describe(
      'keep the linear layers in 8 or 4 bits: less memory, some accuracy',
    ),
  }),
  ...section('Network', {
    host: field(z.string().default('127.0.0.1')).describe(
      'address to listen on; the default is reached from this machine only',
    ),
    port: field(z.int().min(0).max(65_535).default(8000)).describe('port; 0 takes a free one'),
    apiKey: field(z.string().min(8).optional(), { secret: true }).describe(
      'clients must send it; better as HEED_API_KEY than on the command line',
    ),
    maxBodyBytes: field(z.int().positive().default(1_048_576)).describe('largest request; beyond: 413'),
  }),
  ...section('Load', {
    slots: field(z.int().positive().default(32)).describe('completions decoded together, per model'),
    queue: field(z.int().min(0).default(128)).describe('completions that may wait, per model; beyond: 429'),
    maxRequests: field(z.int().positive().default(256)).describe('requests answered at a time; beyond: 429'),
    maxTokens: field(z.int().positive().default(2048)).describe(
      'longest prompt and completion together, at most the model’s context; memory of the cache is slots × this',
    ),
    prepack: field(z.enum(['auto', 'always', 'never']).default('auto')).describe(
      'pack weights for speed, at the price of a copy per batch size; auto: below 256 MiB',
    ),
    speculate: field(z.int().min(0).max(64).default(0)).describe(
      'guess this many tokens at a time, while a completion is alone, from what prompt and completion say already; completions stay the same',
    ),
    threads: field(z.int().positive().optional()).describe(
      'threads of the engine; default: the machine’s cores',
    ),
    seed: field(z.int().min(0).default(0)).describe('seed of requests that bring none'),
    drainSeconds: field(z.number().min(0).default(30)).describe(
      'how long requests under way may go on after the first Ctrl-C or SIGTERM',
    ),
  }),
});

export const command = defineCommand({
  config,
  examples: [
    'serve --model runs/sft/model',
    'serve --model policy=runs/ppo/model --model reward=runs/reward-model/model --port 9000',
    'serve --model HuggingFaceTB/SmolLM2-135M-Instruct --adapter polite=runs/dpo/model --quantize 8bit',
  ],
  async run(settings, { output, progress, clock, now, interruptible }) {
    const { adapterFolder } = settings;
    if (adapterFolder !== undefined && settings.apiKey === undefined) {
      throw new ConfigError({
        where: '--adapter-folder',
        expected: 'an API key, so that not everybody changes what is served',
        received: 'none',
        fix: 'Set HEED_API_KEY',
      });
    }
    const engine = await createEngine(settings.threads === undefined ? {} : { threads: settings.threads });
    try {
      progress.note('loading models');
      const { models, openAdapter } = await loadServedModels({
        ...settings,
        engine,
        models: settings.model,
        adapters: settings.adapter,
        prepack: settings.prepack === 'auto' ? 'auto' : settings.prepack === 'always',
        rng: createRng(settings.seed).split('serve'),
        pause: () => new Promise((resolve) => setImmediate(resolve)),
        clock,
      });
      const app = createApp({
        ...settings,
        models,
        adapters: adapterFolder === undefined ? undefined : { folder: adapterFolder, open: openAdapter },
        clock,
        now,
        newId: () => randomUUID().replaceAll('-', ''),
        log: (entry) => logRequest(entry, progress.note),
      });
      const server = await listen(app, settings).catch(async (error: unknown) => {
        await app.close(Promise.resolve());
        throw error;
      });
      const stop = interruptible('draining; press Ctrl-C again to stop at once');
      const names = models.map(({ id }) => id);
      output.record({ event: 'listening', url: server.url, models: names });
      output.text(`listening on ${server.url}/v1 with ${names.join(', ')}; Ctrl-C drains and stops`);
      await new Promise<void>((resolve) => {
        if (stop.aborted) resolve();
        else stop.addEventListener('abort', () => resolve());
      });
      progress.note(`draining: ${app.inFlight} requests under way`);
      let timer: NodeJS.Timeout | undefined;
      const deadline = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, 1000 * settings.drainSeconds);
      });
      await server.close(deadline);
      clearTimeout(timer);
      output.text('stopped');
      return 0;
    } finally {
      engine.dispose();
    }
  },
});

function logRequest(
  { id, method, path, status, ms, error }: LogEntry,
  note: (text: string, level?: 'info' | 'warning') => void,
): void {
  const line = `${method} ${path} ${status} ${ms.toFixed(0)} ms ${id}`;
  if (error === undefined) note(line);
  else note(`${line}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`, 'warning');
}
