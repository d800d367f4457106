/** `heed chat`: a conversation in the terminal. */
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import { createRng } from '../../core/rng.ts';
import { createEngine } from '../../engine/create-engine.ts';
import { quantizations } from '../../parts/trainer/lora-fields.ts';
import type { ServedModel } from '../../serve/index.ts';
import { chat } from '../chat/chat.ts';
import { localChatModel } from '../chat/local-model.ts';
import { defineCommand } from '../command.ts';
import { loadServedModels, splitName } from '../serve-models.ts';

const config = z.strictObject({
  ...section('Model', {
    model: field(z.array(z.string()).min(1), { placeholder: 'folder' }).describe(
      'model folder, .gguf file or hub id, also as name=folder; several to switch between with /model',
    ),
    adapter: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'LoRA adapter over the first model',
    ),
    tokenizer: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'when it is not beside the models',
    ),
    quantize: field(z.enum(quantizations).default('none')).describe(
      'keep the linear layers in 8 or 4 bits: less memory, some accuracy',
    ),
    system: field(z.string().optional()).describe('system prompt'),
  }),
  ...section('Sampling', {
    maxNewTokens: field(z.int().positive().default(512)).describe('longest answer in tokens'),
    temperature: field(z.number().min(0).default(0.7)).describe(
      'divides the logits; 0 takes the most likely token',
    ),
    topK: field(z.int().min(0).default(0)).describe('keep the k most likely tokens; 0 keeps all'),
    topP: field(z.number().gt(0).max(1).default(0.95)).describe(
      'keep the fewest tokens whose probabilities reach this sum',
    ),
    maxTokens: field(z.int().positive().default(4096)).describe(
      'longest conversation in tokens, at most the model’s context',
    ),
    seed: field(z.int().min(0).default(0)).describe('seed of the draws'),
    speculate: field(z.int().min(0).max(64).default(0)).describe(
      'guess this many tokens at a time from what was said already; answers stay the same',
    ),
    threads: field(z.int().positive().optional()).describe(
      'threads of the engine; default: the machine’s cores',
    ),
  }),
});

export const command = defineCommand({
  config,
  examples: [
    'chat --model runs/sft/model',
    'chat --model sft=runs/sft/model --model ppo=runs/ppo/model --system "Be brief."',
  ],
  async run(settings, { output, progress, clock }) {
    const engine = await createEngine(settings.threads === undefined ? {} : { threads: settings.threads });
    const loaded = new Map<string, ServedModel>();
    const given = settings.model.map(splitName);
    const load = async (name: string): Promise<ServedModel> => {
      const known = loaded.get(name);
      if (known !== undefined) return known;
      const named = given.find((one) => one.name === name);
      const source = named === undefined ? name : `${named.name}=${named.source}`;
      const first = named !== undefined && named === given[0];
      const adapters = first && settings.adapter !== undefined ? [`adapter=${settings.adapter}`] : [];
      const { models } = await loadServedModels({
        ...{ engine, models: [source], adapters, tokenizer: settings.tokenizer },
        ...{
          quantize: settings.quantize,
          mergeAdapters: true,
          slots: 1,
          queue: 0,
          maxTokens: settings.maxTokens,
          prepack: 'auto',
          speculate: settings.speculate,
        },
        rng: createRng(settings.seed),
        pause: () => new Promise((resolve) => setImmediate(resolve)),
        clock,
      });
      for (const model of models) loaded.set(model.id, model);
      const model = models.at(-1)!;
      if (model.kind === 'score') {
        throw new ConfigError({
          where: 'heed chat',
          expected: 'a language model',
          received: `${model.id}, a reward model`,
          fix: 'Score texts with heed serve and /v1/score',
        });
      }
      return model;
    };
    const terminal = createInterface({ input: process.stdin, output: process.stdout });
    const interactive = process.stdin.isTTY === true;
    let interrupt: (() => void) | undefined;
    let ended = false;
    const lines: string[] = [];
    let waiting: ((line: string | undefined) => void) | undefined;
    terminal.on('line', (line) => {
      if (waiting === undefined) lines.push(line);
      else waiting(line);
    });
    terminal.on('close', () => {
      ended = true;
      interrupt?.();
      waiting?.(undefined);
    });
    // Ctrl-C stops an answer; between answers it clears the line, and leaves when the line is empty.
    terminal.on('SIGINT', () => {
      if (interrupt !== undefined) interrupt();
      else if (terminal.line === '') terminal.close();
      else {
        terminal.write(null, { ctrl: true, name: 'e' });
        terminal.write(null, { ctrl: true, name: 'u' });
      }
    });
    try {
      const model = await load(given[0]!.name);
      await chat({
        model: localChatModel(model),
        models: given.map(({ name }) => name),
        load: async (name) => localChatModel(await load(name)),
        system: settings.system,
        sampling: settings,
        clock,
        readLine: async (prompt) => {
          if (lines.length > 0) return lines.shift();
          if (ended) return undefined;
          if (interactive) {
            terminal.setPrompt(output.colors.cyan(prompt));
            terminal.prompt();
          }
          const line = await new Promise<string | undefined>((resolve) => {
            waiting = resolve;
          });
          waiting = undefined;
          return line;
        },
        write: (text) => process.stdout.write(text),
        note: (text) => progress.aside(() => process.stderr.write(`${output.colors.dim(text)}\n`)),
        onInterrupt: (handler) => {
          interrupt = handler;
          return () => {
            interrupt = undefined;
          };
        },
      });
      return 0;
    } finally {
      terminal.close();
      await Promise.all([...loaded.values()].map((one) => one.dispose()));
      engine.dispose();
    }
  },
});
