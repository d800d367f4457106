/** The server under load: clients that ask, leave, dawdle and send rubbish; memory, slots, error shapes and throughput. */
import { createRng, type Rng } from '../../core/rng.ts';
import type { Engine } from '../../engine/engine.ts';
import { createGenerator } from '../../generate/generate.ts';
import { buildModel } from '../../models/registry.ts';
import { allocateParameters, initialize } from '../../nn/parameters.ts';
import { createApp, createServedModel, listen } from '../../serve/index.ts';
import { trainBpe } from '../../tokenizer/index.ts';

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
}

export interface ServeBench {
  readonly params: number;
  readonly clients: number;
  readonly seconds: number;
  /** Requests by what their clients did. */
  readonly requests: Readonly<Record<string, number>>;
  /** Answers by status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Answers that were not what they should be, the first few. */
  readonly wrong: readonly string[];
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

/** What clients do, and how often of 100 requests. */
const habits = [
  ['whole', 60],
  ['stream', 20],
  ['leave', 6],
  ['slow', 4],
  ['bad JSON', 4],
  ['wrong field', 2],
  ['unknown model', 2],
  ['huge body', 2],
] as const;
type Habit = (typeof habits)[number][0];

const maxBodyBytes = 65_536;
const words = 'the garden is warm and nobody waters old roses before noon or counts seeds'.split(' ');

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
    ...{ prepack: true, rng: rng.split('serve') },
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
  const requests: Record<string, number> = {};
  const statuses: Record<string, number> = {};
  const wrong: string[] = [];
  const latencies: number[] = [];
  const samples: number[] = [];
  const count = (counts: Record<string, number>, key: string | number): void => {
    counts[key] = (counts[key] ?? 0) + 1;
  };
  const start = clock();
  const end = start + 1000 * seconds;
  const sampler = setInterval(() => samples.push(memory()), Math.min(1000, 25 * seconds));
  const client = async (number: number): Promise<void> => {
    const own = rng.split('clients').split(number);
    for (let turn = 0; clock() < end; turn++) {
      const habit = draw(own, turn);
      count(requests, habit);
      const asked = clock();
      try {
        const outcome = await act(habit, server.url, requestOf(own, turn));
        count(statuses, outcome.status);
        if (outcome.problem !== undefined && wrong.length < 10) wrong.push(`${habit}: ${outcome.problem}`);
        if (habit === 'whole') latencies.push(clock() - asked);
      } catch (error) {
        if (wrong.length < 10) wrong.push(`${habit}: ${String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
  const elapsed = (clock() - start) / 1000;
  clearInterval(sampler);
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const made = Number(/^heed_tokens_total\{model="bench",kind="completion"\} (\d+)/m.exec(text)?.[1] ?? 0);
  // Rows of clients that left are swept out by the step after.
  for (let i = 0; i < 100 && (app.inFlight > 0 || served.session!.active > 0); i++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  const { active: rows, waiting } = served.session!;
  const left = { rows, waiting, requests: app.inFlight };
  await server.close(new Promise((resolve) => setTimeout(resolve, 5000)));
  onStage('offline rate again');
  const after = await measure();
  latencies.sort((a, b) => a - b);
  const quarter = Math.floor(samples.length / 4);
  const offlineTokensPerSecond = (before + after) / 2;
  const tokensPerSecond = made / elapsed;
  return {
    ...{ params: parameters.count, clients, seconds: elapsed, requests, statuses, wrong, left },
    ...{ tokensPerSecond, offlineTokensPerSecond, ratio: tokensPerSecond / offlineTokensPerSecond },
    latencyMs: { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) },
    memory: { early: median(samples.slice(quarter, 2 * quarter)), late: median(samples.slice(-quarter)) },
  };
}

/** Tokens a second of the generator on prompts and lengths as the clients ask for. */
async function offline(
  { engine, slots, clock }: ServeBenchOptions,
  source: Pick<Parameters<typeof createGenerator>[0], 'model' | 'parameters'>,
  encode: (text: string) => number[],
  rng: Rng,
): Promise<number> {
  const generator = createGenerator({ engine, ...source, prepack: true });
  const rows = 8 * slots;
  const requests = Array.from({ length: rows }, (_, turn) => requestOf(rng, turn));
  const common = { temperature: 1, topK: 0, topP: 1, stopIds: new Set<number>(), rng, batchSize: slots };
  // One length for all: the mean of what the clients ask for.
  const maxNewTokens = Math.round(requests.reduce((sum, { max_tokens }) => sum + max_tokens, 0) / rows);
  const prompts = requests.map(({ prompt }) => encode(prompt));
  await generator.generate(prompts.slice(0, slots), { ...common, maxNewTokens: 2 });
  const start = clock();
  const made = await generator.generate(prompts, { ...common, maxNewTokens });
  const tokens = made.reduce((sum, { ids }) => sum + ids.length, 0);
  const rate = (1000 * tokens) / (clock() - start);
  generator.dispose();
  return rate;
}

interface Asked {
  readonly model: string;
  readonly prompt: string;
  readonly max_tokens: number;
  readonly ignore_eos: true;
}

function requestOf(rng: Rng, turn: number): Asked {
  const length = 4 + rng.integer(12, turn, 1);
  const prompt = Array.from({ length }, (_, i) => words[rng.integer(words.length, turn, 2, i)]).join(' ');
  return { model: 'bench', prompt, max_tokens: 32 + rng.integer(64, turn, 3), ignore_eos: true };
}

function draw(rng: Rng, turn: number): Habit {
  let at = rng.integer(100, turn, 0);
  for (const [habit, share] of habits) {
    if (at < share) return habit;
    at -= share;
  }
  return 'whole';
}

interface Outcome {
  readonly status: number;
  readonly problem?: string;
}

async function act(habit: Habit, url: string, asked: Asked): Promise<Outcome> {
  const post = (body: unknown, signal?: AbortSignal): Promise<Response> =>
    fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
    });
  switch (habit) {
    case 'whole': {
      const response = await post(asked);
      const json = (await response.json()) as { usage?: { completion_tokens?: number } };
      const right = response.status === 200 && json.usage?.completion_tokens === asked.max_tokens;
      return { status: response.status, ...(right ? {} : { problem: JSON.stringify(json).slice(0, 200) }) };
    }
    case 'stream':
    case 'slow': {
      const response = await post({ ...asked, stream: true });
      let text = '';
      for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
        text += piece;
        if (habit === 'slow') await new Promise((resolve) => setTimeout(resolve, 25));
      }
      const right = text.endsWith('data: [DONE]\n\n');
      return { status: response.status, ...(right ? {} : { problem: text.slice(-200) }) };
    }
    case 'leave': {
      const controller = new AbortController();
      const response = await post({ ...asked, stream: true }, controller.signal);
      const reader = response.body!.getReader();
      await reader.read();
      controller.abort();
      await reader.read().catch(() => undefined);
      return { status: response.status };
    }
    case 'bad JSON':
      return refused(await post(JSON.stringify(asked).slice(0, -5)), 400);
    case 'wrong field':
      return refused(await post({ ...asked, temperature: 'hot' }), 400, 'temperature');
    case 'unknown model':
      return refused(await post({ ...asked, model: 'gpt-9' }), 404, 'model');
    case 'huge body':
      return refused(await post({ ...asked, prompt: 'x'.repeat(2 * maxBodyBytes) }), 413);
  }
}

/** Whether a refusal has the status, the shape and the field that it should have. */
async function refused(response: Response, status: number, param: string | null = null): Promise<Outcome> {
  const text = await response.text();
  let problem: string | undefined;
  try {
    const { error } = JSON.parse(text) as { error: Record<string, unknown> };
    const shaped = ['message', 'type', 'param', 'code'].every((key) => key in error);
    if (!shaped || error.param !== param || response.status !== status) problem = text.slice(0, 200);
  } catch {
    problem = text.slice(0, 200);
  }
  return { status: response.status, ...(problem === undefined ? {} : { problem }) };
}

const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
const median = (values: readonly number[]): number =>
  quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
