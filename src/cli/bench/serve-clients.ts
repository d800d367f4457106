/** Clients of the load test: what they ask for, how they behave, and what came back. */
import { Agent, type IncomingMessage, request } from 'node:http';
import { createRng, type Rng } from '../../core/rng.ts';

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

/** Bodies beyond this are refused by the server under test. */
export const maxBodyBytes = 65_536;
export const words = 'the garden is warm and nobody waters old roses before noon or counts seeds'.split(' ');

export interface LoadOptions {
  readonly url: string;
  readonly clients: number;
  readonly seconds: number;
  readonly seed: number;
}

export interface Load {
  /** Requests by what their clients did. */
  readonly requests: Readonly<Record<string, number>>;
  /** Answers by status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Answers that were not what they should be, the first few. */
  readonly wrong: readonly string[];
  /** Until whole answers, ms, ascending. */
  readonly latencies: readonly number[];
}

/** Lets clients ask for a time, each with one request at a time. */
export async function runClients(
  { url, clients, seconds, seed }: LoadOptions,
  clock: () => number,
): Promise<Load> {
  const rng = createRng(seed).split('clients');
  const requests: Record<string, number> = {};
  const statuses: Record<string, number> = {};
  const wrong: string[] = [];
  const latencies: number[] = [];
  const count = (counts: Record<string, number>, key: string | number): void => {
    counts[key] = (counts[key] ?? 0) + 1;
  };
  const end = clock() + 1000 * seconds;
  const client = async (number: number): Promise<void> => {
    const own = rng.split(number);
    for (let turn = 0; clock() < end; turn++) {
      const habit = draw(own, turn);
      count(requests, habit);
      const begun = clock();
      try {
        const outcome = await act(habit, url, requestOf(own, turn));
        count(statuses, outcome.status);
        if (outcome.problem !== undefined && wrong.length < 10) wrong.push(`${habit}: ${outcome.problem}`);
        if (habit === 'whole') latencies.push(clock() - begun);
      } catch (error) {
        if (wrong.length < 10) wrong.push(`${habit}: ${String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
  latencies.sort((a, b) => a - b);
  return { requests, statuses, wrong, latencies };
}

export interface Asked {
  readonly model: string;
  readonly prompt: string;
  readonly max_tokens: number;
  readonly ignore_eos: true;
}

/** What a client asks for on one of its turns. */
export function requestOf(rng: Rng, turn: number): Asked {
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
  const post = (body: unknown): Promise<IncomingMessage> =>
    send(`${url}/v1/completions`, typeof body === 'string' ? body : JSON.stringify(body));
  switch (habit) {
    case 'whole': {
      const response = await post(asked);
      const text = await textOf(response);
      const json = JSON.parse(text) as { usage?: { completion_tokens?: number } };
      const right = response.statusCode === 200 && json.usage?.completion_tokens === asked.max_tokens;
      return { status: response.statusCode!, ...(right ? {} : { problem: text.slice(0, 200) }) };
    }
    case 'stream':
    case 'slow': {
      const response = await post({ ...asked, stream: true });
      const text = await textOf(response, habit === 'slow' ? 25 : 0);
      const right = text.endsWith('data: [DONE]\n\n');
      return { status: response.statusCode!, ...(right ? {} : { problem: text.slice(-200) }) };
    }
    case 'leave': {
      const response = await post({ ...asked, stream: true });
      await new Promise((resolve) => response.once('data', resolve));
      response.destroy();
      return { status: response.statusCode! };
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

/** Connections stay open. Not `fetch`, whose streams take a tenth of a core that the server under test needs. */
const agent = new Agent({ keepAlive: true });

function send(url: string, body: string): Promise<IncomingMessage> {
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method: 'POST', agent, headers }, resolve);
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** The whole text of a response, read with a rest of so many milliseconds after each piece. */
async function textOf(response: IncomingMessage, restMs = 0): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  for await (const piece of response) {
    text += piece;
    if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs));
  }
  return text;
}

/** Whether a refusal has the status, the shape and the field that it should have. */
async function refused(
  response: IncomingMessage,
  status: number,
  param: string | null = null,
): Promise<Outcome> {
  const text = await textOf(response);
  let problem: string | undefined;
  try {
    const { error } = JSON.parse(text) as { error: Record<string, unknown> };
    const shaped = ['message', 'type', 'param', 'code'].every((key) => key in error);
    if (!shaped || error.param !== param || response.statusCode !== status) problem = text.slice(0, 200);
  } catch {
    problem = text.slice(0, 200);
  }
  return { status: response.statusCode!, ...(problem === undefined ? {} : { problem }) };
}
