/** The server under load: clients that ask, leave, dawdle and send rubbish; memory, slots, error shapes and throughput. */
import { createRng, type Rng } from '../../core/rng.ts';
import { mean } from '../../core/statistics.ts';
import type { Engine } from '../../engine/engine.ts';
import { createGenerator, type Generator } from '../../generate/generate.ts';
import { buildModel } from '../../models/registry.ts';
import { allocateParameters, initialize } from '../../nn/parameters.ts';
import { createApp, createServedModel, listen } from '../../serve/index.ts';
import { trainBpe } from '../../tokenizer/index.ts';
import { median } from './median.ts';
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

/** The load comes in rounds of about this long. */
const roundSeconds = 30;

export interface ServeBench extends Omit<Load, 'latencies'> {
  readonly params: number;
  readonly clients: number;
  readonly seconds: number;
  /** Made while all clients were asking: between a fifth and the end of each round. */
  readonly tokensPerSecond: number;
  /** Of the generator alone on such prompts and lengths, with as many rows. */
  readonly offlineTokensPerSecond: number;
  /** Median of `ratios`: of each round's rate to the mean of the generator's before and after it, as a machine's speed changes. */
  readonly ratio: number;
  readonly ratios: readonly number[];
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

  // One for the whole time, so that memory shows what the server takes.
  const generator = createGenerator({ engine, model, parameters, prepack: true, frozen: true });
  const alone = () => offline(options, generator, tokenizer.encode, rng.split('offline'));
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

  const tokensMade = async (): Promise<number> => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    return Number(/^heed_tokens_total\{model="bench",kind="completion"\} (\d+)/m.exec(text)?.[1] ?? 0);
  };
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  const samples: number[] = [];
  const loads: Load[] = [];
  const rates: number[] = [];
  onStage('the generator alone');
  // The first call compiles.
  await alone();
  const offlineRates = [await alone()];
  const rounds = Math.max(1, Math.round(seconds / roundSeconds));
  const span = (1000 * seconds) / rounds;
  for (let round = 1; round <= rounds; round++) {
    onStage(`${clients} clients, round ${round} of ${rounds}`);
    const sampler = setInterval(() => samples.push(memory()), Math.min(1000, span / 40));
    const asking = options.runClients({ url: server.url, clients, seconds: span / 1000, seed: round });
    // The rate while all clients ask: without the start, when nothing is complete yet, and the end, when rows run out.
    await sleep(0.2 * span);
    const first = { at: clock(), tokens: await tokensMade() };
    await sleep(0.78 * span);
    const last = { at: clock(), tokens: await tokensMade() };
    loads.push(await asking);
    clearInterval(sampler);
    rates.push((1000 * (last.tokens - first.tokens)) / (last.at - first.at));
    // Rows of clients that left are swept out by the step after.
    for (let i = 0; i < 100 && (app.inFlight > 0 || served.session!.active > 0); i++) await sleep(10);
    offlineRates.push(await alone());
  }
  const { active: rows, waiting } = served.session!;
  const left = { rows, waiting, requests: app.inFlight };
  await server.close(sleep(5000));
  generator.dispose();
  const latencies = loads.flatMap((load) => load.latencies).sort((a, b) => a - b);
  const quarter = Math.floor(samples.length / 4);
  const ratios = rates.map((rate, round) => (2 * rate) / (offlineRates[round]! + offlineRates[round + 1]!));
  return {
    ...{ params: parameters.count, clients, seconds, left },
    requests: added(loads.map((load) => load.requests)),
    statuses: added(loads.map((load) => load.statuses)),
    wrong: loads.flatMap((load) => load.wrong).slice(0, 10),
    ...{ tokensPerSecond: mean(rates), offlineTokensPerSecond: mean(offlineRates) },
    ...{ ratio: median(ratios), ratios },
    latencyMs: { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) },
    memory: { early: median(samples.slice(quarter, 2 * quarter)), late: median(samples.slice(-quarter)) },
  };
}

/**
 * Tokens a second of the generator on prompts and lengths as the clients ask for, while rows wait for every slot that falls
 * free: without the start, when nothing is complete yet, and the end, when rows run out.
 */
async function offline(
  { slots, clock }: ServeBenchOptions,
  generator: Generator,
  encode: (text: string) => number[],
  rng: Rng,
): Promise<number> {
  const rows = 10 * slots;
  const requests = Array.from({ length: rows }, (_, turn) => requestOf(rng, turn));
  const prompts = requests.map(({ prompt }) => encode(prompt));
  const common = { temperature: 1, topK: 0, topP: 1, stopIds: new Set<number>(), rng, batchSize: slots };
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
  const [first, last] = [steps[0]!, steps.at(-1)!];
  return (1000 * (last.tokens - first.tokens)) / (last.at - first.at);
}

/** Sums of counts by key. */
function added(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [key, count] of all.flatMap((counts) => Object.entries(counts)))
    sums[key] = (sums[key] ?? 0) + count;
  return sums;
}

const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
