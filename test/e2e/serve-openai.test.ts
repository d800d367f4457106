/** The official client of OpenAI against our server over a real socket. */
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOrtEngine } from '../../src/engine/ort/ort-engine.ts';
import { type Listening, listen } from '../../src/serve/index.ts';
import { never, type TinyServer, tinyServer, yieldToEvents } from '../support/tiny-server.ts';

const engine = createOrtEngine({ threads: 1 });
let server: TinyServer;
let listening: Listening;
let client: OpenAI;
beforeAll(async () => {
  server = tinyServer(engine, { apiKey: 'a secret', slots: 2, queue: 2 });
  listening = await listen(server.app, { host: '127.0.0.1', port: 0 });
  client = new OpenAI({ baseURL: `${listening.url}/v1`, apiKey: 'a secret', maxRetries: 0 });
});
afterAll(async () => {
  await listening.close(never());
  engine.dispose();
});

const messages = [{ role: 'user' as const, content: 'Nobody counts' }];
const chat = { model: 'tiny', messages, max_completion_tokens: 12, seed: 1 };
const idle = async (): Promise<void> => {
  while (server.app.inFlight > 0 || server.text.session!.active + server.text.session!.waiting > 0)
    await yieldToEvents();
};

describe('the openai client', () => {
  it('lists and finds models', async () => {
    const names = (await client.models.list()).data.map(({ id }) => id);
    expect(names).toEqual(['tiny', 'tiny-reward']);
    expect((await client.models.retrieve('tiny')).owned_by).toBe('heed');
    await expect(client.models.retrieve('gpt')).rejects.toThrow(OpenAI.NotFoundError);
  });

  it('streams a chat that says what the whole answer says', async () => {
    const whole = await client.chat.completions.create(chat);
    const stream = await client.chat.completions.create({
      ...chat,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = '';
    let finish: string | null = null;
    let usage: unknown;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage ?? usage;
    }
    expect(text).toBe(whole.choices[0]!.message.content);
    expect(finish).toBe(whole.choices[0]!.finish_reason);
    expect(usage).toEqual(whole.usage);
  });

  it('runs its helper for streams, completions and embeddings', async () => {
    const final = await client.chat.completions.stream(chat).finalChatCompletion();
    expect(final.choices[0]!.message.role).toBe('assistant');
    const completion = await client.completions.create({
      ...{ model: 'tiny', prompt: 'The', max_tokens: 3, echo: true, logprobs: 2 },
    });
    expect(completion.choices[0]!.text.startsWith('The')).toBe(true);
    expect(completion.choices[0]!.logprobs!.token_logprobs![0]).toBeNull();
    // The client asks for base64 by itself and decodes it.
    const { data } = await client.embeddings.create({ model: 'tiny', input: ['a', 'b'] });
    expect(Math.hypot(...data[1]!.embedding)).toBeCloseTo(1, 5);
  });

  it('frees the slot when a stream is aborted in the middle', async () => {
    for (let i = 0; i < 6; i++) {
      const stream = await client.chat.completions.create({
        ...{ ...chat, max_completion_tokens: 80, stream: true },
        logit_bias: { [server.tokenizer.eosId!]: -100 },
      });
      for await (const chunk of stream) {
        if ((chunk.choices[0]?.delta.content ?? '') !== '') break;
      }
      stream.controller.abort();
    }
    await idle();
    expect((await client.chat.completions.create(chat)).choices).toHaveLength(1);
  });

  it('frees the slot when a client that waits for the whole answer leaves', async () => {
    const controller = new AbortController();
    const request = client.chat.completions.create(
      { ...chat, max_completion_tokens: 80, logit_bias: { [server.tokenizer.eosId!]: -100 } },
      { signal: controller.signal },
    );
    const failed = expect(request).rejects.toThrow(OpenAI.APIUserAbortError);
    while (server.text.session!.active === 0) await yieldToEvents();
    controller.abort();
    await failed;
    await idle();
    const text = await (await fetch(`${listening.url}/metrics`)).text();
    expect(Number(/^heed_disconnects_total (\d+)/m.exec(text)![1])).toBeGreaterThanOrEqual(1);
  });

  it('raises the error class of each status', async () => {
    const wrongKey = new OpenAI({ baseURL: `${listening.url}/v1`, apiKey: 'wrong', maxRetries: 0 });
    await expect(wrongKey.models.list()).rejects.toThrow(OpenAI.AuthenticationError);
    await expect(client.chat.completions.create({ ...chat, model: 'gpt' })).rejects.toMatchObject({
      ...{ status: 404, code: 'model_not_found', param: 'model' },
    });
    await expect(client.chat.completions.create({ ...chat, temperature: -1 })).rejects.toMatchObject({
      ...{ status: 400, param: 'temperature', type: 'invalid_request_error' },
    });
    const content = 'x'.repeat(200_000);
    const large = client.chat.completions.create({ ...chat, messages: [{ role: 'user', content }] });
    await expect(large).rejects.toMatchObject({ status: 413 });
    const many = Array.from({ length: 12 }, () =>
      client.chat.completions.create({ ...chat, max_completion_tokens: 60 }).then(
        () => 200,
        (error: unknown) => (error instanceof OpenAI.RateLimitError ? 429 : error),
      ),
    );
    const outcomes = await Promise.all(many);
    expect(new Set(outcomes)).toEqual(new Set([200, 429]));
    await idle();
  });

  it('scores, asks for JSON, and searches with what it lets through of other fields', async () => {
    const input = [{ prompt: 'Nobody', completion: ' counts' }];
    const scored = await client.post<{ data: { score: number }[] }>('/score', {
      body: { model: 'tiny-reward', input },
    });
    expect(Number.isFinite(scored.data[0]!.score)).toBe(true);
    const bias = [...'"}:'].map((char) => [server.tokenizer.encode(char, { continuation: true })[0]!, 5]);
    const spoken = await client.chat.completions.create({
      ...{ ...chat, max_completion_tokens: 60, response_format: { type: 'json_object' } },
      logit_bias: Object.fromEntries(bias),
    });
    expect(spoken.choices[0]!.finish_reason).toBe('stop');
    expect(JSON.parse(spoken.choices[0]!.message.content!)).toEqual(expect.any(Object));
    const searched = await client.completions.create({
      ...{ model: 'tiny', prompt: 'The', max_tokens: 4, n: 2, best_of: 3 },
      ...{ use_beam_search: true, return_token_ids: true },
    } as OpenAI.CompletionCreateParamsNonStreaming);
    const scores = searched.choices.map((choice) => (choice as unknown as { beam_score: number }).beam_score);
    expect(scores[0]).toBeGreaterThan(scores[1]!);
  });

  it('waits as long as 429 says, and is answered in the end', async () => {
    const long = { ...chat, max_completion_tokens: 60, logit_bias: { [server.tokenizer.eosId!]: -100 } };
    const filling = Array.from({ length: 4 }, () => client.chat.completions.create(long));
    while (server.text.session!.active + server.text.session!.waiting < 4) await yieldToEvents();
    const refused = await client.chat.completions.create(long).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(OpenAI.RateLimitError);
    const headers = (refused as InstanceType<typeof OpenAI.RateLimitError>).headers!;
    expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    const patient = new OpenAI({ baseURL: `${listening.url}/v1`, apiKey: 'a secret', maxRetries: 5 });
    expect((await patient.chat.completions.create(long)).choices).toHaveLength(1);
    await Promise.all(filling);
    await idle();
  });

  it('asks for health without a key, and reads a stream that ends in [DONE]', async () => {
    expect(await (await fetch(`${listening.url}/health`)).json()).toEqual({ status: 'ok' });
    const response = await client.completions
      .create({ model: 'tiny', prompt: 'The', max_tokens: 3, stream: true })
      .asResponse();
    expect((await response.text()).endsWith('data: [DONE]\n\n')).toBe(true);
  });

  it('is told by 503 when the server shuts down', async () => {
    const other = tinyServer(engine);
    const port = await listen(other.app, { host: '127.0.0.1', port: 0 });
    const last = new OpenAI({ baseURL: `${port.url}/v1`, apiKey: 'none needed', maxRetries: 0 });
    const running = last.chat.completions.create({ ...chat, max_completion_tokens: 60 });
    while (other.text.session!.active === 0) await yieldToEvents();
    const closed = port.close(never());
    await expect(last.models.list()).rejects.toMatchObject({ status: 503, code: 'shutting_down' });
    expect((await running).choices).toHaveLength(1);
    await closed;
    await expect(fetch(port.url)).rejects.toThrow();
  });
});
