/** Records on their way to a server: sent in batches in the background, tried again, and never a reason to stop a run. */
import type { MetricRecord } from '../trainer/trainer.ts';
import type { Sink, SinkContext } from './sink.ts';

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface RemoteSinkOptions {
  /** For messages: `mlflow`. */
  readonly name: string;
  readonly warn: SinkContext['warn'];
  /** Sends records, in order. Called by one batch at a time; rejects to have the batch tried again with the next one. */
  readonly send: (records: readonly MetricRecord[]) => Promise<void>;
  readonly finish?: (outcome: Parameters<Sink['close']>[0]) => Promise<void>;
}

/** Records that are kept while a server does not answer; beyond them the oldest are given up. */
const mostWaiting = 10_000;

/** A sink that sends what has gathered whenever the batch before is through. */
export function remoteSink({ name, warn, send, finish }: RemoteSinkOptions): Sink {
  let waiting: MetricRecord[] = [];
  let sending: Promise<void> | undefined;
  let lost = 0;
  let warned = false;
  const flush = async (): Promise<void> => {
    const batch = waiting;
    waiting = [];
    try {
      await send(batch);
    } catch (error) {
      waiting = [...batch, ...waiting];
      lost += Math.max(0, waiting.length - mostWaiting);
      waiting = waiting.slice(-mostWaiting);
      if (!warned)
        warn(`${name}: ${(error as Error).message}. The run goes on; records are kept and sent later.`);
      warned = true;
    }
  };
  return {
    log(record) {
      waiting.push(record);
      sending ??= flush().finally(() => {
        sending = undefined;
      });
    },
    async close(outcome) {
      await sending;
      if (waiting.length > 0) await flush();
      lost += waiting.length;
      try {
        await finish?.(outcome);
      } catch (error) {
        warn(`${name}: could not end the run there: ${(error as Error).message}`);
      }
      if (lost > 0) warn(`${name}: ${lost} records were not sent; metrics.jsonl has all of them`);
    },
  };
}

/** Milliseconds that a server may take to answer. */
const patience = 20_000;

/** POSTs JSON and reads the JSON of the answer. Rejects with the server's words when it refuses. */
export async function postJson(
  fetchFrom: Fetch,
  url: string,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const response = await fetchFrom(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(patience),
  });
  const text = await response.text();
  if (!response.ok)
    throw new Error(`${new URL(url).pathname} answered ${response.status}: ${text.slice(0, 200)}`);
  return text === '' ? {} : JSON.parse(text);
}
