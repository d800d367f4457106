import { afterAll, describe, expect, it } from 'vitest';
import { post, tinyServer } from '../../test/support/tiny-server.ts';
import { createOrtEngine } from '../engine/ort/ort-engine.ts';

const engine = createOrtEngine({ threads: 1 });
const server = tinyServer(engine);
afterAll(async () => {
  await Promise.all([server.text.dispose(), server.reward.dispose()]);
  engine.dispose();
});

interface Answer {
  readonly choices: readonly { text?: string; message?: { content: string }; finish_reason: string }[];
  readonly error?: { readonly param: string; readonly message: string };
}

const schema = {
  type: 'object',
  properties: { ok: { type: 'boolean' }, size: { enum: ['small', 'large'] } },
  required: ['ok', 'size'],
  additionalProperties: false,
};

async function ask(path: string, body: object): Promise<Answer & { status: number }> {
  const response = await server.app.fetch(post(path, { model: 'tiny', max_tokens: 60, ...body }));
  return { ...((await response.json()) as Answer), status: response.status };
}

const complete = (body: object) => ask('/v1/completions', { prompt: 'The', n: 4, ...body });

describe('constraints of requests', () => {
  it.each([
    ['response_format', { response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } }],
    ['guided_json', { guided_json: schema }],
    ['guided_json as text', { guided_json: JSON.stringify(schema) }],
    ['structured_outputs', { structured_outputs: { json: schema } }],
  ])('a JSON schema in %s', async (_, body) => {
    const { choices } = await complete(body);
    expect(choices).toHaveLength(4);
    for (const { text, finish_reason } of choices) {
      expect(JSON.parse(text!)).toEqual({
        ok: expect.any(Boolean),
        size: expect.stringMatching(/^(small|large)$/),
      });
      expect(finish_reason).toBe('stop');
    }
  });

  it('choices and regular expressions, beside requests without any', async () => {
    const [free, choice, regex, other] = await Promise.all([
      complete({ seed: 1 }),
      complete({ guided_choice: ['red', 'green and blue'] }),
      complete({ guided_regex: '[A-C]{5}[0-9]?' }),
      complete({ structured_outputs: { choice: ['x'] } }),
    ]);
    for (const { text } of choice.choices) expect(['red', 'green and blue']).toContain(text);
    for (const { text } of regex.choices) expect(text).toMatch(/^[A-C]{5}[0-9]?$/);
    for (const { text } of other.choices) expect(text).toBe('x');
    expect((await complete({ seed: 1 })).choices).toEqual(free.choices);
  });

  it('any JSON object, beginning it at once and ending with it', async () => {
    const { tokenizer } = server;
    // A random model would write strings for ever.
    const bias = [...'"}:'].map((char) => [tokenizer.encode(char, { continuation: true })[0]!, 4]);
    const messages = [{ role: 'user', content: 'Answer in JSON.' }];
    const common = { n: 4, seed: 3, logit_bias: Object.fromEntries(bias) };
    for (const [path, body] of [
      ['/v1/chat/completions', { messages, response_format: { type: 'json_object' } }],
      ['/v1/completions', { prompt: 'The', structured_outputs: { json_object: true } }],
    ] as const) {
      const { choices } = await ask(path, { ...common, ...body });
      const texts = choices.map(({ text, message }) => text ?? message!.content);
      const whole = texts.filter((_, i) => choices[i]!.finish_reason === 'stop');
      expect(whole.length).toBeGreaterThan(0);
      for (const text of whole) expect(JSON.parse(text)).toEqual(expect.any(Object));
      for (const text of texts) expect(text).toMatch(/^\{/);
    }
  });

  it('streams text that matches', async () => {
    const body = {
      model: 'tiny',
      prompt: 'The',
      stream: true,
      guided_regex: '(?:ab|cd){2,8}!',
      max_tokens: 60,
    };
    const response = await server.app.fetch(post('/v1/completions', body));
    const events = (await response.text()).split('\n\n').filter((line) => line.startsWith('data: {'));
    const pieces = events.map((line) => JSON.parse(line.slice(6)) as Answer);
    expect(pieces.map(({ choices }) => choices[0]!.text).join('')).toMatch(/^(?:ab|cd){2,8}!$/);
    expect(pieces.at(-1)!.choices[0]!.finish_reason).toBe('stop');
  });

  it('says which field cannot be kept to', async () => {
    const format = { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'object' } } };
    expect(await complete({ response_format: format })).toMatchObject({
      status: 400,
      error: { param: 'response_format', message: expect.stringContaining('#/properties') },
    });
    expect(await complete({ guided_regex: '(' })).toMatchObject({
      status: 400,
      error: { param: 'guided_regex' },
    });
    expect(await complete({ guided_regex: 'a', guided_choice: ['a'] })).toMatchObject({ status: 400 });
    expect(await complete({ response_format: { type: 'grammar' } })).toMatchObject({
      status: 400,
      error: { param: 'response_format.type' },
    });
    expect(await complete({ response_format: { type: 'json_object' }, guided_regex: 'a' })).toMatchObject({
      status: 400,
      error: { param: 'guided_regex' },
    });
    expect(await complete({ guided_grammar: 'root ::= "a"' })).toMatchObject({ status: 400 });
  });
});
