/** Where `heed generate` has its tokens from: a model in this process, or one behind a server. */
import { ConfigError } from '../../core/errors.ts';
import { createRng } from '../../core/rng.ts';
import type { Engine } from '../../engine/engine.ts';
import { fingerprint } from '../../generate/fingerprint.ts';
import { createGenerator, type Generator } from '../../generate/index.ts';
import { loadModel } from '../../models/index.ts';
import { createRemoteClient } from '../../parts/remote/openai-client.ts';
import { createRemoteGenerator } from '../../parts/remote/remote-generator.ts';
import { type quantizations, quantizeOption } from '../../parts/trainer/lora-fields.ts';
import { checkTokenizerFits, loadTokenizer, type Tokenizer } from '../../tokenizer/index.ts';

export interface SourceSettings {
  readonly model: string;
  readonly adapter?: string | undefined;
  readonly quantize: (typeof quantizations)[number];
  readonly tokenizer?: string | undefined;
  readonly draft?: string | undefined;
  readonly speculate: number;
  readonly beams?: number | undefined;
  readonly logprobs?: number | undefined;
  readonly server?: string | undefined;
  readonly apiKeyVariable: string;
  readonly concurrency: number;
  readonly timeout: number;
  readonly retries: number;
  readonly seed: number;
}

export interface CompletionSource {
  readonly tokenizer: Tokenizer;
  /** Longest prompt, tokens; what a server takes is its own to say. */
  readonly maxPositions: number;
  /** What tells it from others, beside the settings: results are continued only from the same. */
  readonly identity: Readonly<Record<string, unknown>>;
  /** Ends what is under way when the signal is aborted. */
  open(options: {
    readonly engine: Engine;
    readonly clock: () => number;
    readonly signal: AbortSignal;
  }): Generator;
}

/**
 * Loads a model, or only the tokenizer of one that a server has.
 *
 * @throws ConfigError for settings that a server has not
 */
export async function loadSource(
  settings: SourceSettings,
  env: Readonly<Record<string, string | undefined>>,
): Promise<CompletionSource> {
  return settings.server === undefined ? local(settings) : remote(settings, settings.server, env);
}

async function local(settings: SourceSettings): Promise<CompletionSource> {
  const loaded = await loadModel(settings.model, {
    adapter: settings.adapter,
    ...quantizeOption(settings.quantize),
  });
  const tokenizer = await loadTokenizer(settings.tokenizer ?? settings.model);
  checkTokenizerFits(tokenizer, { vocabSize: loaded.model.vocabSize, where: settings.model });
  const draft = settings.draft === undefined ? undefined : await loadModel(settings.draft);
  const weights = Object.values(loaded.parameters.arrays()) as (Float32Array | Uint8Array)[];
  return {
    tokenizer,
    maxPositions: loaded.model.maxPositions,
    identity: { weights: fingerprint(weights) },
    open: ({ engine, clock }) => createGenerator({ engine, ...loaded, clock, draft, frozen: true }),
  };
}

async function remote(
  settings: SourceSettings,
  server: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<CompletionSource> {
  checkRemote(settings);
  const tokenizer = await loadTokenizer(settings.tokenizer!);
  return {
    tokenizer,
    maxPositions: Number.MAX_SAFE_INTEGER,
    identity: { server },
    open({ clock, signal }) {
      const client = createRemoteClient({
        ...{ baseUrl: server, apiKey: env[settings.apiKeyVariable], signal },
        ...{ concurrency: settings.concurrency, timeout: settings.timeout * 1000, retries: settings.retries },
        rng: createRng(settings.seed).split('server'),
      });
      const encode = (text: string): number[] => tokenizer.encode(text, { continuation: true });
      return createRemoteGenerator({ client, model: settings.model, encode, clock });
    },
  };
}

/** Refuses what only a model in this process has. */
function checkRemote(settings: SourceSettings): void {
  if (settings.tokenizer === undefined) {
    throw new ConfigError({
      where: '--server',
      expected: '--tokenizer, a folder with the tokenizer of the model there: prompts are sent as token ids',
      received: 'none',
    });
  }
  if (!/^https?:\/\//.test(settings.server!)) {
    throw new ConfigError({
      where: '--server',
      expected: 'an address up to and with /v1, such as http://localhost:8000/v1',
      received: settings.server!,
    });
  }
  const { adapter, quantize, draft, speculate, beams, logprobs = 0 } = settings;
  const local: Readonly<Record<string, boolean>> = {
    '--adapter': adapter !== undefined,
    '--quantize': quantize !== 'none',
    '--draft': draft !== undefined,
    '--speculate': speculate > 0,
    '--beams': beams !== undefined,
    '--logprobs above 0': logprobs > 0,
  };
  const name = Object.keys(local).find((flag) => local[flag]);
  if (name === undefined) return;
  throw new ConfigError({
    where: name,
    expected: 'a model in this process',
    received: `--server ${settings.server}`,
    fix: 'Leave one of them out; a server is told of adapters by their names',
  });
}
