/** A server over tiny random models: byte tokens (V 300: bytes need 256), D 16, a language model and a reward model. */
import { createRng } from '../../src/core/rng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { scoreModelFrom } from '../../src/models/score-model.ts';
import type { RewardCard } from '../../src/parts/scorer/reward-card.ts';
import { type App, type AppOptions, createApp, type LogEntry } from '../../src/serve/app.ts';
import { createServedModel, type ServedModel } from '../../src/serve/served-model.ts';
import { type Tokenizer, trainBpe } from '../../src/tokenizer/index.ts';
import { bpeCorpus } from './bpe-corpus.ts';
import { tinyModel } from './tiny-model.ts';

export interface TinyServer {
  readonly app: App;
  readonly text: ServedModel;
  readonly reward: ServedModel;
  readonly tokenizer: Tokenizer;
  /** The weights behind `text`. */
  readonly source: ReturnType<typeof tinyModel>;
  readonly log: LogEntry[];
}

export interface TinyServerOptions
  extends Partial<Pick<AppOptions, 'apiKey' | 'maxBodyBytes' | 'maxRequests'>> {
  readonly slots?: number;
  readonly queue?: number;
  readonly maxTokens?: number;
  readonly speculate?: number;
  /** Waits between two steps: what lets tests act in the middle of an answer. */
  readonly pause?: () => Promise<void>;
  /** Card of the reward model; one of steps has a head of two labels. */
  readonly card?: RewardCard;
}

export const yieldToEvents = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export const tinyTokenizer = (): Tokenizer =>
  trainBpe(bpeCorpus.slice(0, 200), { vocabSize: 300, specialTokens: { bos: '<s>', eos: '</s>' } });

export function tinyServer(engine: Engine, options: TinyServerOptions = {}): TinyServer {
  const {
    slots = 4,
    queue = 16,
    maxTokens = 96,
    pause = yieldToEvents,
    card,
    speculate,
    ...others
  } = options;
  const tokenizer = tinyTokenizer();
  const source = tinyModel(7, {
    vocab_size: tokenizer.vocabSize,
    max_position_embeddings: 128,
    head_dim: 8,
  });
  const common = {
    ...{ engine, tokenizer, slots, queue, maxTokens, prepack: true, pause, rng: createRng(1) },
    clock: () => performance.now(),
  };
  const text = createServedModel({ ...common, ...source, speculate, id: 'tiny' });
  const scored = scoreModelFrom(source, {
    rng: createRng(3),
    outputs: card?.process === undefined ? 1 : 2,
  });
  const reward = createServedModel({ ...common, ...scored, card, id: 'tiny-reward' });
  const log: LogEntry[] = [];
  let ids = 0;
  const app = createApp({
    ...{ models: [text, reward], maxBodyBytes: 100_000, maxRequests: 64 },
    ...others,
    clock: () => performance.now(),
    now: () => 1_700_000_000_000,
    newId: () => `t${ids++}`,
    log: (entry) => log.push(entry),
  });
  return { app, text, reward, tokenizer, source, log };
}

/** A POST with a JSON body; a string is sent as it is. */
export function post(path: string, body: unknown, init: RequestInit = {}): Request {
  return new Request(`http://localhost${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...init,
  });
}

/** A promise that never settles: a deadline that never comes. */
export const never = (): Promise<void> => new Promise(() => {});
