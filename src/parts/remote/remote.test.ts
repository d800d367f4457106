import { afterAll, describe, expect, it } from 'vitest';
import { generatorContract } from '../../../test/contracts/generator.ts';
import { never, tinyServer } from '../../../test/support/tiny-server.ts';
import { createRng } from '../../core/rng.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { createGenerator } from '../../generate/index.ts';
import { logProbForward } from '../forward.ts';
import { createRemoteClient, type RemoteOptions } from './openai-client.ts';
import { createRemoteGenerator } from './remote-generator.ts';
import { remoteLogProbs, remoteScorer } from './remote-scorer.ts';

const engine = createOrtEngine({ threads: 1 });
const server = tinyServer(engine, { slots: 4, queue: 64 });
const forward = logProbForward({ engine, ...server.source, batchSize: 1, bucket: 16 });
afterAll(async () => {
  forward.dispose();
  await server.app.close(never());
  engine.dispose();
});
const client = createRemoteClient({
  baseUrl: 'http://localhost/v1/',
  rng: createRng(0),
  fetch: async (url, init) => server.app.fetch(new Request(url, init)),
});
const { tokenizer } = server;
const common = {
  logProbs: async (ids: readonly number[]) => (await forward.run([{ ids, mask: ids.map(() => 1) }]))[0]!,
  decode: (ids: readonly number[]) => tokenizer.decode(ids),
  prompts: ['The gardener', 'Nobody counts', 'x'].map((text) => tokenizer.encode(text)),
  vocabSize: tokenizer.vocabSize,
};

describe('local generator', () => {
  generatorContract({ ...common, create: () => createGenerator({ engine, ...server.source }) });
});
describe('remote generator', () => {
  generatorContract({ ...common, create: () => createRemoteGenerator({ client, model: 'tiny' }) });

  /** A generator over a server that answers with these choices. */
  const answering = (choices: unknown[], encode?: (text: string) => number[]) =>
    createRemoteGenerator({
      client: { baseUrl: 'http://elsewhere/v1', post: async () => ({ choices }) },
      model: 'm',
      encode,
    });
  const options = {
    ...{ temperature: 0.5, topK: 0, topP: 1, maxNewTokens: 4, stopIds: new Set<number>(), rng: createRng(1) },
  };
  it('reads vLLM: ids and log-probabilities; those of sampling are unknown at another temperature', async () => {
    const choice = { index: 0, text: 'ab', token_ids: [7, 8], finish_reason: 'length' };
    const made = await answering([{ ...choice, logprobs: { token_logprobs: [-1, -2] } }]).generate(
      [[1]],
      options,
    );
    expect(made[0]).toMatchObject({ ids: [7, 8], logProbs: [-1, -2], finish: 'length' });
    expect(made[0]!.samplingLogProbs).toEqual([Number.NaN, Number.NaN]);
  });
  it('reads llama.cpp: ids beside the log-probabilities', async () => {
    const content = [{ id: 7, logprob: -1 }];
    const made = await answering([
      { index: 0, text: 'a', finish_reason: 'stop', logprobs: { content } },
    ]).generate([[1]], { ...options, temperature: 1 });
    expect(made[0]).toMatchObject({ ids: [7], logProbs: [-1], samplingLogProbs: [-1], finish: 'stop' });
  });
  it('encodes the text where there are no ids, and claims no log-probabilities for them', async () => {
    const choice = { index: 0, text: 'ab', finish_reason: 'stop', logprobs: { token_logprobs: [-1, -2] } };
    const made = await answering([choice], () => [4, 5]).generate([[1]], options);
    expect(made[0]).toMatchObject({ ids: [4, 5], logProbs: [Number.NaN, Number.NaN] });
    await expect(answering([choice]).generate([[1]], options)).rejects.toThrow(
      /expected token_ids, received text/,
    );
  });
  it('refuses an answer of another form, and options that no server has', async () => {
    await expect(answering([]).generate([[1]], options)).rejects.toThrow(/expected an answer with 1 choices/);
    await expect(answering([]).generate([[1]], { ...options, topLogProbs: 2 })).rejects.toThrow(
      /generate\(topLogProbs\)/,
    );
    const plain = [{ index: 0, text: 'ab', token_ids: [7, 8], finish_reason: 'length' }];
    await expect(answering(plain).generate([[1]], { ...options, entropy: true })).rejects.toThrow(
      /expected token_entropies, 2 of them, received none/,
    );
  });
});

describe('remote scores', () => {
  it('are those of the reward model, undefined where it cannot score', async () => {
    const item = (completionIds: number[]) => ({
      ...{ prompt: '', completion: '', promptIds: [1, 70, 80], completionIds, finish: 'stop' as const },
    });
    const items = [
      item([90]),
      item([91, 92]),
      item(new Array<number>(120).fill(9).concat(new Array(20).fill(1))),
    ];
    const local = await server.reward.score(items);
    const scorer = remoteScorer({ client, model: 'tiny-reward', batchSize: 2 });
    const remote = await scorer.score(items);
    expect(remote[0]).toBeCloseTo(local[0]!, 5);
    expect(remote[1]).toBeCloseTo(local[1]!, 5);
    expect(remote[2]).toBeUndefined();
  });
  it('log-probabilities are those of a forward pass', async () => {
    const ids = tokenizer.encode('The gardener waters');
    const [remote] = await remoteLogProbs(client, 'tiny', [ids]);
    const local = await common.logProbs(ids);
    expect(remote).toHaveLength(local.length);
    local.forEach((p, t) => {
      expect(remote![t]).toBeCloseTo(p, 4);
    });
  });
});

describe('remote client', () => {
  /** A client whose attempts are answered by these, one after another. */
  function scripted(answers: (() => Response | Promise<Response>)[], more: Partial<RemoteOptions> = {}) {
    const waits: number[] = [];
    let sent = 0;
    const made = createRemoteClient({
      baseUrl: 'http://x/v1',
      rng: createRng(3),
      fetch: async () => answers[Math.min(sent++, answers.length - 1)]!(),
      sleep: async (ms) => {
        waits.push(ms);
      },
      ...more,
    });
    return { client: made, waits, sent: () => sent };
  }
  const ok = (): Response => Response.json({ fine: true });
  const status =
    (code: number, headers: Record<string, string> = {}) =>
    (): Response =>
      Response.json({ error: { message: 'no room' } }, { status: code, headers });

  it('tries again after 429, 503 and a broken connection, each time waiting about twice as long', async () => {
    const broken = (): never => {
      throw new TypeError('fetch failed');
    };
    const { client, waits } = scripted([status(503), broken, status(429), ok]);
    expect(await client.post('/x', {})).toEqual({ fine: true });
    expect(waits).toHaveLength(3);
    [500, 1000, 2000].forEach((base, i) => {
      expect(waits[i]).toBeGreaterThanOrEqual(base / 2);
      expect(waits[i]).toBeLessThan(base);
    });
    const again = scripted([status(503), broken, status(429), ok]);
    await again.client.post('/x', {});
    expect(again.waits).toEqual(waits);
  });
  it('waits as long as the server asks', async () => {
    const { client, waits } = scripted([status(429, { 'retry-after': '7' }), ok]);
    await client.post('/x', {});
    expect(waits).toEqual([7000]);
  });
  it('does not repeat what is refused, and gives the words of the server', async () => {
    const { client, sent } = scripted([status(400)]);
    await expect(client.post('/x', {})).rejects.toThrow('received 400: no room');
    expect(sent()).toBe(1);
  });
  it('gives up after its retries, and names a page that is no API', async () => {
    const { client, sent } = scripted([status(500)], { retries: 2 });
    await expect(client.post('/x', {})).rejects.toThrow(/500: no room, after 3 attempts/);
    expect(sent()).toBe(3);
    const page = scripted([() => new Response('<html>')]);
    await expect(page.client.post('/x', {})).rejects.toThrow(/expected JSON, received <html>/);
  });
  it('gives up an attempt that takes too long', async () => {
    const slow = createRemoteClient({
      ...{ baseUrl: 'http://x/v1', rng: createRng(3), timeout: 5, retries: 0 },
      fetch: (_, { signal }) =>
        new Promise((_, reject) => {
          signal!.addEventListener('abort', () => reject(signal!.reason));
        }),
    });
    await expect(slow.post('/x', {})).rejects.toThrow(/no answer within 5 ms, after 1 attempts/);
  });
  it('ends what is under way and what waits when its signal is aborted, and tries nothing again', async () => {
    const controller = new AbortController();
    let sent = 0;
    let waited = 0;
    const stopped = createRemoteClient({
      ...{ baseUrl: 'http://x/v1', rng: createRng(3), concurrency: 1, signal: controller.signal },
      sleep: async () => {
        waited++;
      },
      fetch: (_, { signal }) => {
        sent++;
        return new Promise((_, reject) => {
          signal!.addEventListener('abort', () => reject(signal!.reason));
        });
      },
    });
    const both = [stopped.post('/x', {}), stopped.post('/x', {})];
    controller.abort(new Error('enough'));
    for (const one of await Promise.allSettled(both))
      expect(one).toMatchObject({ status: 'rejected', reason: { message: 'enough' } });
    expect([sent, waited]).toEqual([1, 0]);
  });
  it('keeps to its limit of requests at a time', async () => {
    let running = 0;
    let most = 0;
    const limited = createRemoteClient({
      ...{ baseUrl: 'http://x/v1', rng: createRng(3), concurrency: 3 },
      fetch: async () => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setImmediate(resolve));
        running--;
        return ok();
      },
    });
    await Promise.all(Array.from({ length: 20 }, () => limited.post('/x', {})));
    expect(most).toBe(3);
  });
});
