/** The server under load: clients that ask, leave, dawdle and send rubbish; memory, slots, error shapes and throughput. */
import { createRng, type Rng } from '../../core/rng.ts';
import type { Engine } from '../../engine/engine.ts';
import { createGenerator } from '../../generate/generate.ts';
import { buildModel } from '../../models/registry.ts';
import { allocateParameters, initialize } from '../../nn/parameters.ts';
import { createApp, createServedModel, listen } from '../../serve/index.ts';
import { trainBpe } from '../../tokenizer/index.ts';
import { type Load, type LoadOptions, maxBodyBytes, requestOf, words } from './serve-clients.ts';

export interface ServeBenchOptions {
  readonly engine: Engine;
  /** config.json of the random model; its vocabulary becomes that of the tokenizer made here. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly clients: number;
  readonly seconds: number;
  readonly slots: number;
  /** Milliseconds. */
  readonly clock: () => number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Resident memory, bytes. */
  readonly memory: () => number;
  readonly onStage: (name: string) => void;
  /** Where the clients live: on a thread of their own they do not take the server's event loop. */
  readonly runClients: (options: LoadOptions) => Promise<Load>;
}

export interface ServeBench extends Omit<Load, 'latencies'> {
  readonly params: number;
  readonly clients: number;
  readonly seconds: number;
  /** Made while all clients were asking: between a fifth and the end of the time. */
  readonly tokensPerSecond: number;
  /** Of the generator alone on the same prompts and lengths, with as many rows. */
  readonly offlineTokensPerSecond: number;
  readonly ratio: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number };
  /** Median resident memory in the second and in the last quarter of the time, bytes. */
  readonly memory: { readonly early: number; readonly late: number };
  /** After the last client has gone. */
  readonly left: { readonly rows: number; readonly waiting: number; readonly requests: number };
}

export async function benchServe(options: ServeBenchOptions): Promise<ServeBench> {
  const { engine, clients, seconds, slots, clock, memory, onStage } = options;
  const tokenizer = trainBpe([`${words.join(' ')} `.repeat(3)], {
    ...{ vocabSize: 300, specialTokens: { bos: '<s>', eos: '</s>' } },
  });
  const model = buildModel({ ...options.config, vocab_size: tokenizer.vocabSize });
  const parameters = allocateParameters(model.parameters);
  initialize(parameters, createRng(0));
  const rng = createRng(1);

  onStage('offline rate');
  const measure = () => offline(options, { model, parameters }, tokenizer.encode, rng.split('offline'));
  // The first call compiles.
  await measure();
  const before = await measure();
  const served = createServedModel({
    ...{ id: 'bench', engine, model, parameters, tokenizer, slots, queue: 4 * clients, maxTokens: 256 },
    ...{ prepack: true, rng: rng.split('serve'), clock },
    pause: () => new Promise((resolve) => setImmediate(resolve)),
  });
  let ids = 0;
  const app = createApp({
    ...{ models: [served], maxBodyBytes, maxRequests: 4 * clients, clock, now: options.now },
    newId: () => String(ids++),
    log: () => {},
  });
  const server = await listen(app, { host: '127.0.0.1', port: 0 });

  onStage(`${clients} clients for ${seconds} s`);
  const samples: number[] = [];
  const tokensMade = async (): Promise<number> => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    return Number(/^heed_tokens_total\{model="bench",kind="completion"\} (\d+)/m.exec(text)?.[1] ?? 0);
  };
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  const sampler = setInterval(() => samples.push(memory()), Math.min(1000, 25 * seconds));
  const asking = options.runClients({ url: server.url, clients, seconds, seed: 1 });
  // The rate while all clients ask: without the start, when nothing is complete yet, and the end, when rows run out.
  await sleep(200 * seconds);
  const first = { at: clock(), tokens: await tokensMade() };
  await sleep(780 * seconds);
  const last = { at: clock(), tokens: await tokensMade() };
  const load = await asking;
  clearInterval(sampler);
  // Rows of clients that left are swept out by the step after.
  for (let i = 0; i < 100 && (app.inFlight > 0 || served.session!.active > 0); i++) await sleep(10);
  const { active: rows, waiting } = served.session!;
  const left = { rows, waiting, requests: app.inFlight };
  await server.close(sleep(5000));
  onStage('offline rate again');
  const after = await measure();
  const { latencies, ...counts } = load;
  const quarter = Math.floor(samples.length / 4);
  const offlineTokensPerSecond = (before + after) / 2;
  const tokensPerSecond = (1000 * (last.tokens - first.tokens)) / (last.at - first.at);
  return {
    ...{ params: parameters.count, clients, seconds, ...counts, left },
    ...{ tokensPerSecond, offlineTokensPerSecond, ratio: tokensPerSecond / offlineTokensPerSecond },
    latencyMs: { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) },
    memory: { early: median(samples.slice(quarter, 2 * quarter)), late: median(samples.slice(-quarter)) },
  };
}

/**
 * Tokens a second of the generator on prompts and lengths as the clients ask for, while rows wait for every slot that falls
 * free: without the start, when nothing is complete yet, and the end, when rows run out.
 */
async function offline(
  { engine, slots, clock }: ServeBenchOptions,
  source: Pick<Parameters<typeof createGenerator>[0], 'model' | 'parameters'>,
  encode: (text: string) => number[],
  rng: Rng,
): Promise<number> {
  const generator = createGenerator({ engine, ...source, prepack: true });
  const rows = 16 * slots;
  const requests = Array.from({ length: rows }, (_, turn) => requestOf(rng, turn));
  const prompts = requests.map(({ prompt }) => encode(prompt));
  const common = { temperature: 1, topK: 0, topP: 1, stopIds: new Set<number>(), rng, batchSize: slots };
  await generator.generate(prompts.slice(0, slots), { ...common, maxNewTokens: 2 });
  const all = requests.reduce((sum, { max_tokens }) => sum + max_tokens, 0);
  const steps: { readonly at: number; readonly tokens: number }[] = [];
  let made = 0;
  await generator.generate(prompts, {
    ...common,
    maxNewTokens: 1,
    perPrompt: (index) => ({ maxNewTokens: requests[index]!.max_tokens }),
    onTokens(tokens) {
      made += tokens;
      if (made > 0.2 * all && made < 0.8 * all) steps.push({ at: clock(), tokens: made });
    },
  });
  generator.dispose();
  const [first, last] = [steps[0]!, steps.at(-1)!];
  return (1000 * (last.tokens - first.tokens)) / (last.at - first.at);
}

const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
const median = (values: readonly number[]): number =>
  quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
