/**
 * Conversations by chat templates shaped like the families', against texts, ids and assistant masks of transformers
 * (record-templates.py). transformers takes its masks from `{% generation %}` marks; heed takes them from prefixes, so the
 * same templates without the marks must give the same masks.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { chatFormat } from '../../src/data/chat-format.ts';
import { createEncoder } from '../../src/data/encoder.ts';
import { toRows } from '../../src/data/row.ts';
import type { Message } from '../../src/data/row-types.ts';
import { loadTokenizer } from '../../src/tokenizer/index.ts';
import { goldenFolder } from '../support/golden-model.ts';

const folder = goldenFolder('templates');

interface Conversation {
  readonly messages: readonly Message[];
  readonly tools?: readonly unknown[];
  readonly variables?: Readonly<Record<string, unknown>>;
}
type Case =
  | { readonly error: string }
  | { readonly text: string; readonly prompt: string; readonly ids: number[]; readonly mask: number[] };

const { conversations, templates } = JSON.parse(readFileSync(join(folder, 'recorded.json'), 'utf8')) as {
  readonly conversations: Readonly<Record<string, Conversation>>;
  readonly templates: Readonly<
    Record<string, { readonly tokenizer: string; readonly cases: Readonly<Record<string, Case>> }>
  >;
};

/**
 * Conversations in which the whole text has a token that reaches over the place where sampling begins: parts are then
 * tokenized apart, so that a prompt has the ids that it has when sampling. Text and learned text are the same.
 */
const split = ['chatml, white space', 'turns, thinking in the text'];

/** The empty thought is part of the prompt here, written by the template and not by the model: it is not learned. */
const prompted = ['thinking, thinking off'];

/** Why a conversation has no mask although transformers gives one, by template and title. */
const refused: Readonly<Record<string, RegExp>> = {
  'thinking, thinking twice': /up to message 2, rendered with the answer, to be how the whole begins/,
  'thinking, system and turns': /up to message 3, rendered with the answer, to be how the whole begins/,
  'thinking, no answer yet': /up to message 2, rendered with the answer, to be how the whole begins/,
  'thinking, tools': /up to message 3, rendered with the answer, to be how the whole begins/,
  'thinking, white space': /up to message 2, rendered with the answer, to be how the whole begins/,
};

describe.each(Object.entries(templates))('%s', (name, { tokenizer: family, cases }) => {
  const marked = readFileSync(join(folder, `${name}.jinja`), 'utf8');
  const plain = marked.replace(/\{%-? *(end)?generation *-?%\}/g, '{%- if true -%}{%- endif -%}');

  it.each(Object.entries(conversations))(
    'renders and masks: %s',
    async (title, { messages, tools, variables }) => {
      const tokenizer = await loadTokenizer(goldenFolder(join('tokenizers', family)));
      const wanted = cases[title]!;
      for (const template of [marked, plain]) {
        const options = { template, ...(variables === undefined ? {} : { variables }) };
        const format = chatFormat(tokenizer, options);
        const given = tools === undefined ? {} : { tools };
        if ('error' in wanted) {
          expect(() => format.render(messages, given)).toThrow(wanted.error);
          continue;
        }
        expect(format.render(messages, given)).toBe(wanted.text);
        const prompt = format.render(messages.slice(0, -1), { addGenerationPrompt: true, ...given });
        expect(prompt).toBe(wanted.prompt);
        expect(tokenizer.encode(wanted.text, { addSpecial: false, parseSpecial: true })).toEqual(wanted.ids);
        const encode = () =>
          createEncoder(tokenizer, options).supervised(toRows([{ messages, ...given }], 'chats')[0]!);
        const reason = refused[`${name}, ${title}`];
        if (reason !== undefined) {
          expect(encode).toThrow(reason);
          continue;
        }
        const example = encode();
        const key = `${name}, ${title}`;
        const decode = (ids: ArrayLike<number>) => tokenizer.decode(ids, { skipSpecial: false });
        if (split.includes(key)) {
          expect(example.boundary).toBe('split');
          expect(decode(example.ids)).toBe(decode(wanted.ids));
          const learned = decode(Array.from(example.ids).filter((_, i) => example.mask[i] === 1));
          expect(decode(wanted.ids.filter((_, i) => wanted.mask[i] === 1))).toContain(learned.trimStart());
        } else {
          expect(example.boundary).toBe('exact');
          expect(Array.from(example.ids)).toEqual(wanted.ids);
          const begin = format.render(messages.slice(0, -1), { addGenerationPrompt: true });
          const prompt = tokenizer.encode(begin, { addSpecial: false, parseSpecial: true }).length;
          const mask = wanted.mask.map((x, i) => (prompted.includes(key) && i < prompt ? 0 : x));
          expect(Array.from(example.mask)).toEqual(mask);
        }
        // What is learned ends with its stop token.
        const last = example.mask.lastIndexOf(1);
        expect(example.ids[last]).toBe(tokenizer.eosId);
      }
    },
  );
});
