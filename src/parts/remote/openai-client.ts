/** Requests to an OpenAI-compatible server: at most so many at a time, tried again after failures that pass, with a time limit. */
import { DataError, EngineError } from '../../core/errors.ts';
import type { Rng } from '../../core/rng.ts';

export interface RemoteOptions {
  /** Up to and with `/v1`. */
  readonly baseUrl: string;
  readonly apiKey?: string | undefined;
  /** Requests at a time; 8 when left out. */
  readonly concurrency?: number | undefined;
  /** Milliseconds that one attempt may take; 120 000 when left out. */
  readonly timeout?: number | undefined;
  /** Further attempts after the first; 5 when left out. */
  readonly retries?: number | undefined;
  /** Milliseconds before the first further attempt; doubled each time, to at most 30 000. 500 when left out. */
  readonly backoff?: number | undefined;
  /** Ends all requests, those that wait too, with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Draws the part of each waiting time that is random. */
  readonly rng: Rng;
  readonly fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
  /** Waits so many milliseconds. */
  readonly sleep?: ((ms: number) => Promise<void>) | undefined;
}

export interface RemoteClient {
  readonly baseUrl: string;
  /**
   * POSTs JSON and reads the JSON of the answer.
   *
   * @throws DataError when the server refuses the request (400, 401, 404, 413 …): it would refuse it again
   * @throws EngineError when no attempt was answered
   */
  post(path: string, body: Readonly<Record<string, unknown>>): Promise<unknown>;
}

const mostWait = 30_000;

/** Answers after which the same request may succeed. */
const passing = new Set([408, 409, 425, 429, 500, 502, 503, 504]);

export function createRemoteClient(options: RemoteOptions): RemoteClient {
  const { apiKey, concurrency = 8, timeout = 120_000, retries = 5, backoff = 500, rng, signal } = options;
  const { fetch: send = fetch, sleep = (ms) => new Promise<void>((done) => setTimeout(done, ms)) } = options;
  const baseUrl = options.baseUrl.replace(/\/+$/, '');
  let running = 0;
  let requests = 0;
  const waiting: (() => void)[] = [];

  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (running >= concurrency) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await work();
    } finally {
      // The place goes to the one that waits longest, so that it is never free in between.
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  }

  async function attempt(url: string, body: string): Promise<Answer> {
    try {
      const response = await send(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
        },
        body,
        signal: AbortSignal.any([AbortSignal.timeout(timeout), ...(signal === undefined ? [] : [signal])]),
      });
      const text = await response.text();
      const { status } = response;
      if (response.ok) return { kind: 'done', json: readJson(url, text) };
      const after = Number(response.headers.get('retry-after'));
      const asked = Number.isFinite(after) && after > 0 ? after * 1000 : undefined;
      return {
        kind: passing.has(status) ? 'passing' : 'refused',
        asked,
        reason: `${status}: ${wordsOf(text).replace(/\.$/, '')}`,
      };
    } catch (error) {
      if (error instanceof DataError || signal?.aborted === true) throw error;
      const { name, message, cause } = error as Error;
      const why = (cause as NodeJS.ErrnoException | undefined)?.code;
      const reason = name === 'TimeoutError' ? `no answer within ${timeout} ms` : (why ?? message);
      return { kind: 'passing', asked: undefined, reason };
    }
  }

  return {
    baseUrl,
    post(path, body) {
      const url = `${baseUrl}${path}`;
      const text = JSON.stringify(body);
      const request = requests++;
      return inTurn(async () => {
        for (let tried = 0; ; tried++) {
          signal?.throwIfAborted();
          const answer = await attempt(url, text);
          if (answer.kind === 'done') return answer.json;
          if (answer.kind === 'refused') {
            throw new DataError({
              where: `POST ${url}`,
              expected: 'the server to take the request',
              received: answer.reason,
              ...(/^404/.test(answer.reason) && {
                fix: 'Check the name of the model, and that the address ends as the server says, often in /v1',
              }),
            });
          }
          if (tried >= retries) {
            throw new EngineError({
              where: `POST ${url}`,
              expected: 'an answer',
              received: `${answer.reason}, after ${tried + 1} attempts`,
              fix: 'Check that the server runs and is not overloaded, or lower the concurrency',
            });
          }
          // Half of the time is random, so that clients that failed together do not come back together.
          const wait = Math.min(backoff * 2 ** tried, mostWait) * (0.5 + rng.uniform(request, tried) / 2);
          await sleep(Math.max(wait, Math.min(answer.asked ?? 0, mostWait)));
        }
      });
    },
  };
}

type Answer =
  | { readonly kind: 'done'; readonly json: unknown }
  | { readonly kind: 'passing' | 'refused'; readonly asked: number | undefined; readonly reason: string };

function readJson(url: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new DataError({
      where: `POST ${url}`,
      expected: 'JSON',
      received: text.slice(0, 80) || 'nothing',
      fix: 'Check that the address is that of an OpenAI-compatible server, up to /v1',
      cause,
    });
  }
}

/** What a server says of an error, in whichever form. */
function wordsOf(text: string): string {
  try {
    const json = JSON.parse(text) as { error?: { message?: unknown }; message?: unknown; detail?: unknown };
    const words = json.error?.message ?? json.message ?? json.detail ?? json.error;
    return (typeof words === 'string' ? words : text).slice(0, 400);
  } catch {
    return text.slice(0, 200) || 'no explanation';
  }
}
