import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { never, post, type TinyServer, tinyServer, yieldToEvents } from '../../test/support/tiny-server.ts';
import { createRng } from '../core/rng.ts';
import { createOrtEngine } from '../engine/ort/ort-engine.ts';
import { createGenerator } from '../generate/index.ts';
import { logProbForward } from '../parts/forward.ts';
import { meanDirection } from './embed-and-score.ts';

const engine = createOrtEngine({ threads: 1 });
let server: TinyServer;
beforeAll(() => {
  server = tinyServer(engine);
});
afterAll(async () => {
  await server.app.close(never());
  engine.dispose();
});

// biome-ignore lint/suspicious/noExplicitAny: bodies of JSON answers
type Json = any;
async function ask(
  path: string,
  body: unknown,
  of: TinyServer = server,
): Promise<{ status: number; json: Json }> {
  const response = await of.app.fetch(post(path, body));
  return { status: response.status, json: await response.json() };
}
const plain = { model: 'tiny', prompt: 'The gardener', max_tokens: 8, seed: 5, ignore_eos: true };

describe('completions', () => {
  it('are those of the generator for the same seed, with usage and ids', async () => {
    const { json } = await ask('/v1/completions', { ...plain, n: 2, logprobs: 0, return_token_ids: true });
    const generator = createGenerator({ engine, ...server.source });
    const prompt = server.tokenizer.encode('The gardener');
    const wanted = await generator.generate([prompt], {
      ...{ temperature: 1, topK: 0, topP: 1, maxNewTokens: 8, stopIds: new Set<number>(), n: 2 },
      rng: createRng(5),
    });
    generator.dispose();
    expect(json.choices.map((c: Json) => c.token_ids)).toEqual(wanted.map(({ ids }) => ids));
    wanted.forEach(({ ids, logProbs }, i) => {
      expect(json.choices[i].text).toBe(server.tokenizer.decode(ids));
      logProbs.forEach((p, t) => {
        expect(json.choices[i].logprobs.token_logprobs[t]).toBeCloseTo(p, 4);
      });
    });
    expect(json.choices[0].prompt_token_ids).toEqual(prompt);
    expect(json.usage).toEqual({
      prompt_tokens: prompt.length,
      completion_tokens: 16,
      total_tokens: prompt.length + 16,
    });
  });

  it('echo the prompt with the log-probabilities of a forward pass, and the likeliest tokens', async () => {
    const prompt = server.tokenizer.encode('The gardener waters the roses');
    const { json } = await ask('/v1/completions', {
      ...{ model: 'tiny', prompt, max_tokens: 0, echo: true, logprobs: 3 },
    });
    const [choice] = json.choices;
    expect(choice.text).toBe('The gardener waters the roses');
    const forward = logProbForward({ engine, ...server.source, batchSize: 1, bucket: 8 });
    const [wanted] = await forward.run([{ ids: prompt, mask: prompt.map(() => 1) }]);
    forward.dispose();
    const { token_logprobs: made, top_logprobs: top, tokens } = choice.logprobs;
    expect(made[0]).toBeNull();
    expect(made).toHaveLength(prompt.length);
    wanted!.forEach((p, t) => {
      expect(made[t + 1]).toBeCloseTo(p, 4);
      const listed = Object.values<number>(top[t + 1]);
      expect(listed.length === 3 || listed.length === 4).toBe(true);
      // Three likeliest in falling order; the token itself is among them or comes after.
      expect(listed[0]).toBeGreaterThanOrEqual(listed[1]!);
      expect(top[t + 1][tokens[t + 1]]).toBe(made[t + 1]);
    });
  });

  it('take several prompts, as text or ids, and keep the best of many', async () => {
    const { json } = await ask('/v1/completions', { ...plain, prompt: ['The', 'Nobody'], n: 2 });
    expect(json.choices.map((c: Json) => c.index)).toEqual([0, 1, 2, 3]);
    const all = await ask('/v1/completions', { ...plain, n: 4, logprobs: 0 });
    const best = await ask('/v1/completions', { ...plain, n: 1, best_of: 4, logprobs: 0 });
    const sum = (c: Json): number => c.logprobs.token_logprobs.reduce((a: number, b: number) => a + b, 0);
    const highest = Math.max(...all.json.choices.map(sum));
    expect(sum(best.json.choices[0])).toBeCloseTo(highest, 6);
    expect(best.json.usage.completion_tokens).toBe(32);
  });

  it('end before a stop string and leave nothing of it', async () => {
    const whole = (await ask('/v1/completions', { ...plain, max_tokens: 24 })).json.choices[0].text as string;
    const stop = whole.slice(9, 12);
    const { json } = await ask('/v1/completions', { ...plain, max_tokens: 24, stop: ['never there', stop] });
    expect(json.choices[0]).toMatchObject({
      text: whole.slice(0, whole.indexOf(stop)),
      finish_reason: 'stop',
    });
    expect(json.usage.completion_tokens).toBeLessThan(24);
  });

  it('obey logit_bias, and stop_token_ids', async () => {
    const biased = { ...plain, logit_bias: { 70: 100 }, return_token_ids: true };
    const { json } = await ask('/v1/completions', biased);
    expect(json.choices[0].token_ids).toEqual(new Array(8).fill(70));
    const stopped = await ask('/v1/completions', { ...biased, stop_token_ids: [70] });
    expect(stopped.json.choices[0]).toMatchObject({ token_ids: [70], finish_reason: 'stop' });
  });

  it('stream what they give whole', async () => {
    const body = { ...plain, n: 2, max_tokens: 20, logprobs: 1, return_token_ids: true };
    const whole = (await ask('/v1/completions', body)).json;
    const response = await server.app.fetch(
      post('/v1/completions', { ...body, stream: true, stream_options: { include_usage: true } }),
    );
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    const events = (await response.text()).trimEnd().split('\n\n');
    expect(events.at(-1)).toBe('data: [DONE]');
    const records: Json[] = events.slice(0, -1).map((event) => JSON.parse(event.slice('data: '.length)));
    expect(records.at(-1)).toMatchObject({ choices: [], usage: whole.usage });
    for (const wanted of whole.choices) {
      const mine = records.flatMap(({ choices }) => choices).filter(({ index }) => index === wanted.index);
      expect(mine.map(({ text }) => text).join('')).toBe(wanted.text);
      expect(mine.flatMap((c) => c.token_ids ?? [])).toEqual(wanted.token_ids);
      expect(mine.flatMap((c) => c.logprobs?.tokens ?? [])).toEqual(wanted.logprobs.tokens);
      expect(mine.at(-1).finish_reason).toBe(wanted.finish_reason);
    }
  });
});

describe('entropies', () => {
  it('of the whole distribution, on request: of texts, chats and streams alike', async () => {
    const body = { ...plain, return_entropy: true, logprobs: 20, temperature: 0.7 };
    const { json } = await ask('/v1/completions', body);
    const { token_entropies: entropies, token_ids: ids } = json.choices[0];
    expect(entropies).toHaveLength(8);
    expect(ids).toBeUndefined();
    // The full distribution in each place, by a pass over the text.
    const all = await ask('/v1/completions', { ...body, return_token_ids: true });
    const sequence = [...all.json.choices[0].prompt_token_ids, ...all.json.choices[0].token_ids];
    const scored = await server.text.scoreTokens(sequence, server.text.vocabSize);
    scored.slice(-8).forEach(({ top }, t) => {
      const entropy = -top.reduce((sum, { logProb }) => sum + Math.exp(logProb) * logProb, 0);
      expect(entropies[t]).toBeCloseTo(entropy, 4);
    });
    const response = await server.app.fetch(post('/v1/completions', { ...body, stream: true }));
    const events = (await response.text()).split('\n\n').filter((event) => event.startsWith('data: {'));
    const pieces: Json[] = events.map((event) => JSON.parse(event.slice(6)).choices[0]);
    expect(pieces.flatMap((piece) => piece.token_entropies ?? [])).toEqual(entropies);
    const chat = {
      ...{ model: 'tiny', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 3, ignore_eos: true },
    };
    const spoken = await ask('/v1/chat/completions', { ...chat, return_entropy: true });
    expect(spoken.json.choices[0].token_entropies).toHaveLength(3);
    expect((await ask('/v1/chat/completions', chat)).json.choices[0].token_entropies).toBeUndefined();
  });
});

describe('beam search', () => {
  const search = { ...plain, use_beam_search: true, max_tokens: 6 };
  it('gives the best sequences of the generator, with scores and both kinds of prompts', async () => {
    const body = { ...search, prompt: ['The gardener', 'Nobody'], n: 2, best_of: 3, logprobs: 0 };
    const { status, json } = await ask('/v1/completions', {
      ...{ ...body, return_token_ids: true, length_penalty: 0.5, early_stopping: 'never' },
    });
    expect(status).toBe(200);
    const generator = createGenerator({ engine, ...server.source });
    const wanted = await generator.generate(
      body.prompt.map((text) => server.tokenizer.encode(text)),
      {
        ...{ temperature: 1, topK: 0, topP: 1, maxNewTokens: 6, stopIds: new Set<number>(), n: 2 },
        ...{ rng: createRng(5), beams: 3, lengthPenalty: 0.5, earlyStopping: 'never' as const },
      },
    );
    generator.dispose();
    expect(json.choices.map((c: Json) => c.token_ids)).toEqual(wanted.map(({ ids }) => ids));
    wanted.forEach(({ ids, logProbs, score }, i) => {
      expect(json.choices[i].text).toBe(server.tokenizer.decode(ids));
      expect(json.choices[i].beam_score).toBeCloseTo(score!, 4);
      expect(json.choices[i].logprobs.token_logprobs[5]).toBeCloseTo(logProbs[5]!, 4);
    });
    expect(json.usage.completion_tokens).toBe(24);
    const chat = { model: 'tiny', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 3, n: 2 };
    const spoken = await ask('/v1/chat/completions', { ...chat, use_beam_search: true });
    expect(spoken.json.choices).toHaveLength(2);
    expect(spoken.json.choices[0].beam_score).toBeGreaterThanOrEqual(spoken.json.choices[1].beam_score);
  });
  it.each([
    ['stream', { stream: true }],
    ['stop', { stop: 'x' }],
    ['logprobs', { logprobs: 2 }],
    ['temperature', { temperature: 0.5 }],
    ['top_p', { top_p: 0.5 }],
    ['guided_choice', { guided_choice: ['a'] }],
    ['return_entropy', { return_entropy: true }],
    ['n', { n: 30 }],
    ['best_of', { n: 3, best_of: 2 }],
    ['prompt', { prompt: [1, 99999] }],
  ])('refuses what it has not: %s', async (param, more) => {
    const { status, json } = await ask('/v1/completions', { ...search, ...more });
    expect(status).toBe(400);
    expect(json.error).toMatchObject({ param, type: 'invalid_request_error' });
  });
  it('ends when the client leaves, and fills the context at most', async () => {
    const controller = new AbortController();
    const init = { signal: controller.signal };
    const left = server.app.fetch(post('/v1/completions', { ...search, n: 4, max_tokens: 80 }, init));
    while (server.text.passes === 0) await yieldToEvents();
    controller.abort();
    expect((await left).status).toBe(503);
    expect(server.text.passes).toBe(0);
    const { json } = await ask('/v1/completions', { ...search, max_tokens: 500, n: 2 });
    expect(json.choices[0].finish_reason).toBe('length');
    expect(json.usage.total_tokens - json.usage.prompt_tokens).toBe(2 * (96 - json.usage.prompt_tokens));
  });
});

describe('guessing', () => {
  it('changes no answer, and says how much of it was right', async () => {
    const guessing = tinyServer(engine, { speculate: 4 });
    const body = { ...plain, prompt: 'The gardener The gardener The gardener', max_tokens: 60 };
    for (const more of [{}, { temperature: 0 }, { stream: true }]) {
      const [with_, without] = await Promise.all(
        [guessing, server].map(async ({ app }) =>
          (await (await app.fetch(post('/v1/completions', { ...body, ...more }))).text()).replace(
            /cmpl-t\d+/g,
            '',
          ),
        ),
      );
      expect(with_).toBe(without);
    }
    const text = await (await guessing.app.fetch(new Request('http://localhost/metrics'))).text();
    const value = (name: string): number =>
      Number(new RegExp(`^${name}\\{model="tiny"\\} (\\d+)`, 'm').exec(text)![1]);
    expect(value('heed_guessed_tokens')).toBeGreaterThan(value('heed_guessed_tokens_kept'));
    expect(value('heed_guessed_tokens_kept')).toBeGreaterThan(0);
    await guessing.app.close(never());
  });
});

describe('chat completions', () => {
  it('render the template and give role, content, log-probabilities of the top tokens', async () => {
    const { status, json } = await ask('/v1/chat/completions', {
      ...{ model: 'tiny', messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello' }] }] },
      ...{ max_completion_tokens: 4, logprobs: true, top_logprobs: 2, temperature: 0, ignore_eos: true },
    });
    expect(status).toBe(200);
    expect(json.object).toBe('chat.completion');
    const [{ message, logprobs }] = json.choices;
    expect(message.role).toBe('assistant');
    expect(logprobs.content).toHaveLength(4);
    // Greedy: the token is the first of the top ones.
    for (const entry of logprobs.content) {
      expect(entry.top_logprobs).toHaveLength(2);
      expect(entry.top_logprobs[0]).toMatchObject({ token_id: entry.token_id, logprob: entry.logprob });
    }
    // The prompt is what the plain template makes of it.
    const rendered = server.tokenizer.encode('User: Hello\n\nAssistant:', { addSpecial: false });
    expect(json.usage.prompt_tokens - rendered.length).toBeLessThanOrEqual(1);
  });
});

describe('embeddings and scores', () => {
  it('embed as unit vectors, the same in base64, and alone as together', async () => {
    const input = ['The gardener', 'Nobody counts'];
    const { json } = await ask('/v1/embeddings', { model: 'tiny', input });
    const [first] = json.data;
    expect(Math.hypot(...first.embedding)).toBeCloseTo(1, 6);
    const alone = await ask('/v1/embeddings', { model: 'tiny', input: input[0], encoding_format: 'base64' });
    const bytes = Buffer.from(alone.json.data[0].embedding, 'base64');
    const vector = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    expect([...vector]).toEqual(first.embedding);
  });
  it('mean direction: of (3, 0) and (0, 4), mean (1.5, 2), length 2.5', () => {
    const direction = meanDirection(Float32Array.of(3, 0, 0, 4), 2);
    expect(direction[0]).toBeCloseTo(0.6, 6);
    expect(direction[1]).toBeCloseTo(0.8, 6);
  });
  it('score texts, conversations and ids alike, and refuse a language model', async () => {
    const { tokenizer } = server;
    const prompt = tokenizer.encode('Nobody');
    const completion = [...tokenizer.encode(' counts', { continuation: true }), tokenizer.eosId!];
    const { json } = await ask('/v1/score', {
      model: 'tiny-reward',
      input: [
        { prompt: 'Nobody', completion: ' counts' },
        { prompt_token_ids: prompt, completion_token_ids: completion },
        {
          messages: [
            { role: 'user', content: 'Hi' },
            { role: 'assistant', content: 'Yes' },
          ],
        },
        { prompt_token_ids: prompt, completion_token_ids: new Array(200).fill(9) },
      ],
    });
    const scores = json.data.map((d: Json) => d.score);
    expect(scores[0]).toBeCloseTo(scores[1], 5);
    expect(Number.isFinite(scores[2])).toBe(true);
    // Longer than the context: cannot be scored, which is not 0.
    expect(scores[3]).toBeNull();
    const refused = await ask('/v1/score', { model: 'tiny', input: [{ prompt: 'a', completion: 'b' }] });
    expect(refused.status).toBe(400);
    expect((await ask('/v1/completions', { ...plain, model: 'tiny-reward' })).json.error.param).toBe('model');
  });
  it('score by the steps of a completion where the card says so', async () => {
    const card = {
      ...{ format: 1 as const, eosRule: 'as-is' as const, maxLength: 96 },
      process: {
        ...{ separator: '\n', aggregate: 'min' as const },
        ...{ heldOut: false, solutions: 1, steps: 2, accuracy: 1, ece: 0 },
      },
    };
    const of = tinyServer(engine, { card });
    const { tokenizer } = of;
    const prompt = tokenizer.encode('Nobody');
    const score = async (completion: string): Promise<readonly (number | null)[]> => {
      const completion_token_ids = tokenizer.encode(completion, { continuation: true });
      const input = [
        { prompt: 'Nobody', completion },
        { prompt_token_ids: prompt, completion_token_ids },
      ];
      const { json } = await ask('/v1/score', { model: 'tiny-reward', input }, of);
      return json.data.map((d: Json) => d.score);
    };
    const [first, second] = [await score(' counts'), await score(' counts\n waits')];
    // A probability, that of the least step: a further step can only lower it.
    expect(first[0]).toBeGreaterThan(0);
    expect(first[0]).toBeLessThan(1);
    expect(second[0]).toBeLessThanOrEqual(first[0]!);
    expect(second[0]).toBeCloseTo(second[1]!, 5);
    expect(first[0]).toBeCloseTo(first[1]!, 5);
    await of.app.close(never());
  });
});

describe('errors', () => {
  const chat = { model: 'tiny', messages: [{ role: 'user', content: 'x' }] };
  const cases: [string, string, unknown, number, Json][] = [
    [
      'unknown model',
      '/v1/completions',
      { ...plain, model: 'gpt' },
      404,
      { param: 'model', code: 'model_not_found' },
    ],
    ['bad JSON', '/v1/completions', '{"model": ', 400, { code: 'invalid_json' }],
    ['no object', '/v1/completions', '[1]', 400, { type: 'invalid_request_error' }],
    [
      'missing field',
      '/v1/completions',
      { model: 'tiny' },
      400,
      { param: 'prompt', code: 'missing_required_parameter' },
    ],
    ['wrong type', '/v1/completions', { ...plain, temperature: 'hot' }, 400, { param: 'temperature' }],
    [
      'nested',
      '/v1/chat/completions',
      { ...chat, messages: [{ content: 'x' }] },
      400,
      { param: 'messages.0.role' },
    ],
    [
      'tools',
      '/v1/chat/completions',
      { ...chat, tools: [{}] },
      400,
      { param: 'tools', code: 'unsupported_parameter' },
    ],
    [
      'image',
      '/v1/chat/completions',
      { ...chat, messages: [{ role: 'user', content: [{ type: 'image_url' }] }] },
      400,
      {},
    ],
    [
      'long prompt',
      '/v1/completions',
      { ...plain, prompt: 'x '.repeat(200) },
      400,
      { code: 'context_length_exceeded' },
    ],
    ['foreign id', '/v1/completions', { ...plain, prompt: [1, 99999] }, 400, { param: 'prompt' }],
    [
      'foreign bias',
      '/v1/completions',
      { ...plain, logit_bias: { 99999: 1 } },
      400,
      { param: 'logit_bias.99999' },
    ],
    ['nothing to do', '/v1/completions', { ...plain, max_tokens: 0 }, 400, { param: 'max_tokens' }],
    ['too many', '/v1/completions', { ...plain, n: 100 }, 400, { param: 'n' }],
    ['large body', '/v1/completions', 'x'.repeat(100_001), 413, { code: 'request_too_large' }],
    ['unknown url', '/v1/nothing', {}, 404, { code: 'unknown_url' }],
  ];
  it.each(cases)('%s', async (_, path, body, status, error) => {
    const answer = await ask(path, body);
    expect(answer.json).toMatchObject({ error });
    expect(Object.keys(answer.json.error)).toEqual(['message', 'type', 'param', 'code']);
    expect(answer.status).toBe(status);
  });
  it('another method than POST: 405', async () => {
    const response = await server.app.fetch(new Request('http://localhost/v1/completions'));
    expect(response.status).toBe(405);
    expect(((await response.json()) as Json).error.code).toBe('method_not_allowed');
  });
  it('a body that is larger than it says is cut at the limit', async () => {
    const body = new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(30_000)),
    });
    const init = { body, duplex: 'half' } as RequestInit;
    const response = await server.app.fetch(post('/v1/completions', '', init));
    expect(response.status).toBe(413);
  });
});

describe('limits', () => {
  it('asks for the key, and takes the right one only', async () => {
    const locked = tinyServer(engine, { apiKey: 'secret' });
    const get = (authorization?: string): Promise<Response> | Response =>
      locked.app.fetch(
        new Request('http://localhost/v1/models', { headers: authorization ? { authorization } : {} }),
      );
    expect((await get()).status).toBe(401);
    expect((await get('Bearer secre')).status).toBe(401);
    expect((await get('Bearer secret')).status).toBe(200);
    expect((await locked.app.fetch(new Request('http://localhost/health'))).status).toBe(200);
    await locked.app.close(never());
  });

  it('says 429 and when to come back while slots and queue are full, and recovers', async () => {
    const small = tinyServer(engine, { slots: 1, queue: 1 });
    const long = { ...plain, max_tokens: 60 };
    const running = [
      small.app.fetch(post('/v1/completions', long)),
      small.app.fetch(post('/v1/completions', long)),
    ];
    await yieldToEvents();
    const third = await small.app.fetch(post('/v1/completions', long));
    expect(third.status).toBe(429);
    expect(Number(third.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(((await third.json()) as Json).error.type).toBe('rate_limit_error');
    for (const response of await Promise.all(running)) expect(response.status).toBe(200);
    expect((await ask('/v1/completions', long, small)).status).toBe(200);
    await small.app.close(never());
  });

  it('frees slots when a client leaves, whether it reads a stream or waits', async () => {
    const endless = { ...plain, max_tokens: 90, stream: true };
    const made = async (): Promise<number> => {
      const text = await (await server.app.fetch(new Request('http://localhost/metrics'))).text();
      return Number(/^heed_tokens_total\{model="tiny",kind="completion"\} (\d+)/m.exec(text)?.[1] ?? 0);
    };
    const before = await made();
    const response = await server.app.fetch(post('/v1/completions', endless));
    const reader = response.body!.getReader();
    await reader.read();
    expect(server.text.session!.active).toBe(1);
    await reader.cancel();
    while (server.text.session!.active > 0) await yieldToEvents();
    while (server.app.inFlight > 0) await yieldToEvents();
    // It was withdrawn, and did not just come to its end.
    expect((await made()) - before).toBeLessThan(90);
    const controller = new AbortController();
    const waiting = server.app.fetch(
      post('/v1/completions', { ...endless, stream: false }, { signal: controller.signal }),
    );
    while (server.text.session!.active === 0) await yieldToEvents();
    controller.abort();
    const answer = (await (await waiting).json()) as Json;
    expect(answer.usage.completion_tokens).toBeLessThan(90);
    expect(server.text.session!.active).toBe(0);
  });

  it('drains when closed: what runs is answered, what comes is refused', async () => {
    const closing = tinyServer(engine);
    const running = closing.app.fetch(post('/v1/completions', { ...plain, max_tokens: 40 }));
    await yieldToEvents();
    const closed = closing.app.close(never());
    const refused = await closing.app.fetch(post('/v1/completions', plain));
    expect(refused.status).toBe(503);
    expect(((await refused.json()) as Json).error.code).toBe('shutting_down');
    expect((await closing.app.fetch(new Request('http://localhost/health'))).status).toBe(503);
    const answer = (await (await running).json()) as Json;
    expect(answer.usage.completion_tokens).toBe(40);
    await closed;
  });

  it('counts requests, tokens and rows for Prometheus', async () => {
    const fresh = tinyServer(engine);
    await ask('/v1/completions', plain, fresh);
    const text = await (await fresh.app.fetch(new Request('http://localhost/metrics'))).text();
    expect(text).toContain('heed_requests_total{route="/v1/completions",status="200"} 1');
    expect(text).toContain('heed_tokens_total{model="tiny",kind="completion"} 8');
    expect(text).toContain('heed_rows_active{model="tiny"} 0');
    expect(fresh.log[0]).toMatchObject({ id: 't0', path: '/v1/completions', status: 200 });
    await fresh.app.close(never());
  });
});
