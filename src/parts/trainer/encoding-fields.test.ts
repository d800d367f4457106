import { describe, expect, it } from 'vitest';
import { bpeCorpus } from '../../../test/support/bpe-corpus.ts';
import { toRows } from '../../data/index.ts';
import { dpo } from '../../methods/preference/dpo.ts';
import { sft } from '../../methods/supervised/sft.ts';
import { trainBpe } from '../../tokenizer/index.ts';
import { encodingOptions } from './encoding-fields.ts';

const chatTemplate =
  "{% for m in messages %}{{ m.role + ':' + m.content + '<|eot|>' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}";
const plain = trainBpe(bpeCorpus, {
  vocabSize: 300,
  specialTokens: { eos: '</s>', additional: ['<|eot|>'] },
});
const tokenizer = { ...plain, chatTemplate, chatTemplates: new Map([['default', chatTemplate]]) };
const configOf = (method: { readonly config: { parse(given: unknown): unknown } }, given: object) =>
  method.config.parse({ model: 'm', data: 'd', ...given });

describe.each([
  [
    'sft',
    sft,
    [
      {
        messages: [
          { role: 'user', content: 'Roses?' },
          { role: 'assistant', content: 'Red.' },
        ],
      },
    ],
    [{ prompt: 'Roses?', completion: 'Red.' }],
  ],
  [
    'dpo',
    dpo,
    [
      {
        prompt: [{ role: 'user', content: 'a' }],
        chosen: [{ role: 'assistant', content: 'b' }],
        rejected: [{ role: 'assistant', content: 'c' }],
      },
    ],
    [{ prompt: 'Roses?', chosen: 'Red.', rejected: 'Blue.' }],
  ],
] as const)('%s', (_, method, chats, texts) => {
  const encode = (rows: readonly object[], given: object) =>
    // biome-ignore lint/complexity/noBannedTypes: the two methods have other configs and examples
    (method.encode as Function)(toRows(rows as never, 'd.jsonl'), {
      config: configOf(method as never, given),
      tokenizer,
    }).examples;

  it('learns turns up to a stop token that is named', () => {
    expect(() => encode(chats, {})).toThrow('If <|eot|> ends a turn, name it in stopTokens');
    const [example] = encode(chats, { stopTokens: ['<|eot|>'] });
    const { ids, mask } = example.chosen ?? example;
    expect(plain.tokenText(ids[mask.lastIndexOf(1)])).toBe('<|eot|>');
  });

  it('puts the separator into the prompt', () => {
    const [example] = encode(texts, { separator: '\n' });
    const { ids, promptLength } = example.chosen ?? example;
    expect(plain.decode(ids.slice(0, promptLength))).toBe('Roses?\n');
    expect(plain.decode(ids)).toBe('Roses?\nRed.');
  });
});

it('leaves out what is at its default', () => {
  expect(encodingOptions({ stopTokens: [], separator: '' })).toEqual({});
});
