import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bpeCorpus } from '../../test/support/bpe-corpus.ts';
import { readPieceVocabulary, type Tokenizer, trainBpe } from '../tokenizer/index.ts';
import { describeExample } from './describe-example.ts';
import { encodeRows } from './encode-rows.ts';
import { createEncoder, type EncoderOptions } from './encoder.ts';
import type { EncodedExample } from './example.ts';
import { toRows } from './row.ts';

const chatml =
  "{% for message in messages %}{{ '<|start|>' + message.role + '\n' + message.content + '<|end|>\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|start|>assistant\n' }}{% endif %}";
const specialTokens = { bos: '<s>', eos: '</s>', additional: ['<|start|>', '<|end|>'] };
const withBos = trainBpe(bpeCorpus, { vocabSize: 400, specialTokens });
const plain = trainBpe(bpeCorpus, {
  vocabSize: 400,
  specialTokens: { eos: '<|end|>', additional: ['<|start|>'] },
});

const row = (columns: Record<string, unknown>) => toRows([columns], 'd.jsonl')[0]!;
const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });

/** The text with learned stretches in brackets. */
function show(example: EncodedExample, tokenizer: Tokenizer): string {
  const { spans } = describeExample(example, tokenizer);
  return spans.map(({ text, learned }) => (learned ? `[${text}]` : text)).join('');
}

describe('standard rows', () => {
  const encode = (columns: Record<string, unknown>, options: EncoderOptions = {}, tokenizer = withBos) =>
    createEncoder(tokenizer, options).supervised(row(columns));

  it('learn the completion and its EOS, with one BOS in front of the prompt', () => {
    const example = encode({ prompt: 'The gardener', completion: ' paints the roses.' });
    expect(show(example, withBos)).toBe('<s>The gardener[ paints the roses.</s>]');
    expect(example.promptLength).toBe(1 + withBos.encode('The gardener', { addSpecial: false }).length);
    expect(Array.from(example.ids).filter((id) => id === withBos.bosId)).toHaveLength(1);
    // The prompt has the ids that it has when sampling.
    expect(Array.from(example.ids.slice(0, example.promptLength))).toEqual(withBos.encode('The gardener'));
    // A BOS that the text states is not doubled, nor is an EOS.
    expect(encode({ prompt: '<s>The gardener', completion: ' paints the roses.</s>' })).toEqual(example);
  });

  it('never let a token reach over the seam', () => {
    // ' paints' is one token; a prompt that ends in its space must not lose it.
    const example = encode({ prompt: 'The gardener ', completion: 'paints' });
    expect(show(example, withBos)).toBe('<s>The gardener [paints</s>]');
  });

  it('learn texts but for their first token', () => {
    expect(show(encode({ text: 'The roses.' }), withBos)).toBe('<s>[The roses.</s>]');
    const bare = encode({ text: 'The roses.' }, { stop: 'none' }, plain);
    expect(Array.from(bare.ids)).toEqual(plain.encode('The roses.'));
    expect(Array.from(bare.mask)).toEqual([0, ...Array(bare.ids.length - 1).fill(1)]);
  });

  it('take options for the seam, the stop token and what is learned', () => {
    const columns = { prompt: 'Nobody', completion: 'counts' };
    expect(show(encode(columns, { separator: '\n' }), withBos)).toBe('<s>Nobody\n[counts</s>]');
    expect(show(encode(columns, { learn: 'all' }), withBos)).toBe('<s>[Nobodycounts</s>]');
    expect(show(encode(columns, { stop: 'none' }), withBos)).toBe('<s>Nobody[counts]');
    expect(() => encode(columns, { stop: 'require' })).toThrow(
      'd.jsonl, row 1: expected a completion that ends with its stop token </s>, received one that ends with',
    );
    const noEos = trainBpe(bpeCorpus, { vocabSize: 300 });
    expect(() => encode(columns, {}, noEos)).toThrow('expected a tokenizer with an EOS token');
    expect(() => createEncoder(withBos, { stopTokens: ['not one token'] })).toThrow(
      'texts that are one token each',
    );
    expect(() => createEncoder(withBos, { maxLength: 1 })).toThrow('a whole number of at least 2');
  });
});

describe('conversations', () => {
  const messages = [user('Hello'), assistant('Hi.'), user('Roses?'), assistant('Red.')];
  const options = { template: chatml };

  it('learn every assistant turn up to its stop token', () => {
    const example = createEncoder(plain, options).supervised(row({ messages }));
    expect(show(example, plain)).toBe(
      '<|start|>user\nHello<|end|>\n<|start|>assistant\n[Hi.<|end|>]\n' +
        '<|start|>user\nRoses?<|end|>\n<|start|>assistant\n[Red.<|end|>]\n',
    );
    // No second BOS: the template says what a text begins with, and this one says nothing.
    const encoder = createEncoder(withBos, { ...options, stopTokens: ['<|end|>'] });
    expect(encoder.supervised(row({ messages })).ids[0]).toBe(
      withBos.encode('<|start|>', { addSpecial: false })[0],
    );
    const everything = createEncoder(plain, { ...options, learn: 'all' }).supervised(row({ messages }));
    expect(Array.from(everything.mask)).toEqual([0, ...Array(example.ids.length - 1).fill(1)]);
  });

  it('learn only the last turn of a completion', () => {
    const columns = { prompt: messages.slice(0, 3), completion: messages.slice(3) };
    const encoder = createEncoder(plain, options);
    const example = encoder.supervised(row(columns));
    expect(show(example, plain)).toMatch(
      /^<\|start\|>user\nHello<\|end\|>[^[]*assistant\n\[Red\.<\|end\|>\]\n$/,
    );
    const prompt = encoder.prompt(row({ prompt: messages.slice(0, 3) }));
    expect(Array.from(prompt.ids)).toEqual(Array.from(example.ids.slice(0, example.promptLength)));
    expect(encoder.chat()?.source).toBe('option');
  });

  it('refuse a turn without its stop token, and say which token may be it', () => {
    expect(() => createEncoder(withBos, options).supervised(row({ messages }))).toThrow(
      'd.jsonl, row 1: expected a completion that ends with its stop token </s>, received one that ends with "." "<|end|>" "\\n". ' +
        'If <|end|> ends a turn, name it in stopTokens.',
    );
    const bare = '{% for message in messages %}{{ message.content }}\n{% endfor %}';
    expect(() => createEncoder(plain, { template: bare }).supervised(row({ messages }))).toThrow(
      'Use a chat template that writes eos_token after each assistant message, or set stop to append',
    );
    const appended = createEncoder(plain, { template: bare, stop: 'append' }).supervised(row({ messages }));
    expect(show(appended, plain)).toBe('Hello\n[Hi.\n]Roses?\n[Red.\n<|end|>]');
  });

  it('refuse a template that rewrites earlier turns', () => {
    const forgetful =
      "{% for message in messages %}{{ message.role + ':' + (message.content if loop.last else '…') + eos_token }}{% endfor %}" +
      "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}";
    expect(() => createEncoder(plain, { template: forgetful }).supervised(row({ messages }))).toThrow(
      /row 1, chat template: expected the conversation up to message 2, rendered with the generation prompt, to be how the whole begins, received "user:Hello/,
    );
    // A prompt written with a thought that the answer lacks: sampling would begin elsewhere.
    const thinking = chatml.replace("assistant\n' }}{% endif", "assistant\n<think>' }}{% endif");
    expect(() => createEncoder(plain, { template: thinking }).supervised(row({ messages }))).toThrow(
      'rendered with the generation prompt, to be how the whole begins',
    );
    const refusing = "{% if messages | length > 3 %}{{ raise_exception('Too long') }}{% endif %}";
    expect(() => createEncoder(plain, { template: refusing }).supervised(row({ messages }))).toThrow(
      'd.jsonl, row 1, chat template: expected messages that the template accepts, received user, assistant, user, assistant: Too long',
    );
  });

  it('accept a template that writes EOS only after the last turn', () => {
    const once = `${chatml}{% if not add_generation_prompt %}{{ eos_token }}{% endif %}`;
    const encoder = createEncoder(withBos, { template: once, stopTokens: ['<|end|>'] });
    const example = encoder.supervised(row({ messages }));
    expect(show(example, withBos)).toBe(
      '<|start|>user\nHello<|end|>\n<|start|>assistant\n[Hi.<|end|>]\n' +
        '<|start|>user\nRoses?<|end|>\n<|start|>assistant\n[Red.<|end|>]\n</s>',
    );
  });

  it('tokenize apart where a token would reach over a cut', () => {
    // The generation prompt ends in a space, which the whole text joins with the next word: ' paints'.
    const template =
      "{% for message in messages %}{{ message.role + ': ' + message.content }}{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}" +
      "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";
    const encoder = createEncoder(plain, { template });
    const columns = { prompt: [user('Nobody')], completion: [assistant('paints clocks')] };
    const { examples, report } = encodeRows([row(columns)], encoder.supervised);
    expect(show(examples[0]!, plain)).toBe('user: Nobodyassistant: [paints clocks<|end|>]');
    expect([examples[0]!.boundary, report.split]).toEqual(['split', 1]);
    const prompt = encoder.prompt(row({ prompt: columns.prompt }));
    expect(Array.from(examples[0]!.ids.slice(0, prompt.ids.length))).toEqual(Array.from(prompt.ids));
  });

  it('put no dummy space between parts tokenized apart', () => {
    // A SentencePiece-style vocabulary: 'b: ' + 'a' as a whole is b : ' a', so the prompt's space is cut off.
    const bytes = Array.from(
      { length: 256 },
      (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
    );
    const texts = ['<unk>', '<s>', '</s>', ...bytes, ' ', 'a', 'b', ':', ' a'];
    const pieces = texts.map((piece, id) => ({ id, piece, score: -id }));
    const tokenizer = readPieceVocabulary({ pieces }, new Map(), 'vocab.json');
    const template =
      "{% for message in messages %}{{ message.content + (eos_token if message.role == 'assistant' else ': ') }}{% endfor %}";
    const columns = { prompt: [user('b')], completion: [assistant('a')] };
    const example = createEncoder(tokenizer, { template }).supervised(row(columns));
    const idOf = (text: string): number => texts.indexOf(text);
    expect(Array.from(example.ids)).toEqual([idOf(' '), idOf('b'), idOf(':'), idOf(' '), idOf('a'), 2]);
    expect([Array.from(example.mask), example.boundary]).toEqual([[0, 0, 0, 0, 1, 1], 'split']);
  });

  it('never learn their first token', () => {
    const template = '{% for message in messages %}{{ message.content + eos_token }}{% endfor %}';
    const example = createEncoder(plain, { template }).supervised(row({ messages: [assistant('Red.')] }));
    expect(Array.from(example.mask)).toEqual([0, ...Array(example.ids.length - 1).fill(1)]);
  });

  it('are learned exactly, whatever they say', () => {
    const encoder = createEncoder(withBos);
    const content = fc
      .string({ unit: 'grapheme', minLength: 1 })
      .filter((text) => text.trim() !== '' && !/<\/?s>/.test(text));
    const turns = fc.array(fc.tuple(content, content), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(turns, (pairs) => {
        const conversation = pairs.flatMap(([question, answer]) => [user(question), assistant(answer)]);
        const example = encoder.supervised(row({ messages: conversation }));
        const { spans } = describeExample(example, withBos);
        const learned = spans.filter((span) => span.learned).map((span) => span.text);
        expect(learned).toEqual(pairs.map(([, answer]) => ` ${answer}</s>`));
        const whole = pairs.map(([question, answer]) => `User: ${question}\n\nAssistant: ${answer}</s>`);
        expect(spans.map((span) => span.text).join('')).toBe(`<s>${whole.join('\n\n')}`);
      }),
    );
  });
});

describe('pairs', () => {
  it('share their prompt', () => {
    const { chosen, rejected } = createEncoder(withBos).preference(
      row({
        prompt: [user('Roses?')],
        chosen: [assistant('Red.')],
        rejected: [assistant('The old clock-maker.')],
      }),
    );
    expect(show(chosen, withBos)).toBe('<s>User: Roses?\n\nAssistant:[ Red.</s>]');
    expect(show(rejected, withBos)).toBe('<s>User: Roses?\n\nAssistant:[ The old clock-maker.</s>]');
    expect(chosen.promptLength).toBe(rejected.promptLength);
    const standard = createEncoder(withBos).preference(row({ chosen: 'It is red', rejected: 'It is blue' }));
    expect(show(standard.chosen, withBos)).toBe('<s>It is[ red</s>]');
  });

  it('are refused when cutting makes both sides equal', () => {
    const columns = { prompt: 'P', chosen: ` ${'x'.repeat(20)}a`, rejected: ` ${'x'.repeat(20)}b` };
    expect(() => createEncoder(withBos, { maxLength: 10 }).preference(row(columns))).toThrow(
      'd.jsonl, row 1: expected `chosen` and `rejected` to differ, received equal tokens after cutting to 10',
    );
    expect(() => createEncoder(withBos, { maxLength: 30 }).preference(row(columns))).not.toThrow();
  });

  it('keep the label of an unpaired row', () => {
    const { example, label } = createEncoder(withBos).unpaired(
      row({ prompt: 'a', completion: 'b', label: false }),
    );
    expect([show(example, withBos), label]).toEqual(['<s>a[b</s>]', false]);
  });
});

describe('length', () => {
  // Bytes only: one token per character.
  const bytes = trainBpe([], { vocabSize: 258, specialTokens: { bos: '<s>', eos: '</s>' } });
  const encode = (prompt: string, completion: string, options: EncoderOptions) => {
    const example = createEncoder(bytes, options).supervised(row({ prompt, completion }));
    return [show(example, bytes), example.truncated, example.promptLength];
  };

  it('cuts the end of a completion', () => {
    expect(encode('abc', 'wxyz', { maxLength: 9 })).toEqual(['<s>abc[wxyz</s>]', 0, 4]);
    expect(encode('abc', 'wxyz', { maxLength: 8 })).toEqual(['<s>abc[wxyz]', 1, 4]);
    expect(encode('abc', 'wxyz', { maxLength: 5 })).toEqual(['<s>abc[w]', 4, 4]);
  });

  it('refuses a prompt that leaves no room', () => {
    expect(() => encode('abc', 'wxyz', { maxLength: 4 })).toThrow(
      'd.jsonl, row 1: expected a prompt of fewer than 4 tokens, the longest sequence, received 4 tokens. ' +
        'Raise the maximum length, remove the row, or set truncation to keep-start or keep-end.',
    );
  });

  it('cuts a prompt when asked, to what the completion leaves but at least half', () => {
    // 9 tokens into 8: the completion and EOS take 4, the prompt has 5 and keeps 4.
    expect(encode('abcd', 'xyz', { maxLength: 8, truncation: 'keep-start' })).toEqual([
      '<s>abc[xyz</s>]',
      1,
      4,
    ]);
    expect(encode('abcd', 'xyz', { maxLength: 8, truncation: 'keep-end' })).toEqual([
      '<s>bcd[xyz</s>]',
      1,
      4,
    ]);
    // The completion alone takes 6 of 6: the prompt keeps half, then the completion is cut.
    expect(encode('abcdef', 'vwxyz', { maxLength: 6, truncation: 'keep-end' })).toEqual(['<s>ef[vwx]', 7, 3]);
    // A prompt shorter than its share is not cut.
    expect(encode('a', 'uvwxyz', { maxLength: 6, truncation: 'keep-end' })).toEqual(['<s>a[uvwx]', 3, 2]);
  });

  it('cuts the prompt of a pair equally on both sides', () => {
    const options = { maxLength: 8, truncation: 'keep-end' } as const;
    const pair = createEncoder(bytes, options).preference(
      row({ prompt: 'abcd', chosen: 'xyz', rejected: 'x' }),
    );
    expect([show(pair.chosen, bytes), show(pair.rejected, bytes)]).toEqual([
      '<s>bcd[xyz</s>]',
      '<s>bcd[x</s>]',
    ]);
  });

  it('cuts prompts for sampling', () => {
    const prompt = (text: string, options: EncoderOptions) => {
      const { ids, truncated } = createEncoder(bytes, options).prompt(row({ prompt: text }));
      return [bytes.decode(ids, { skipSpecial: false }), truncated];
    };
    expect(prompt('abcdef', { maxLength: 8 })).toEqual(['<s>abcdef', 0]);
    expect(() => prompt('abcdef', { maxLength: 7 })).toThrow('expected a prompt of fewer than 7 tokens');
    expect(prompt('abcdef', { maxLength: 5, truncation: 'keep-end' })).toEqual(['<s>def', 3]);
    expect(prompt('abcdef', { maxLength: 5, truncation: 'keep-start' })).toEqual(['<s>abc', 3]);
  });

  it('never exceeds the limit, and learns something, for any row', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 12 });
    const truncation = fc.constantFrom('keep-start', 'keep-end');
    fc.assert(
      fc.property(
        text,
        text,
        fc.integer({ min: 2, max: 20 }),
        truncation,
        (prompt, completion, maxLength, mode) => {
          const encoder = createEncoder(bytes, { maxLength, truncation: mode });
          const example = encoder.supervised(row({ prompt, completion }));
          expect(example.ids.length).toBe(Math.min(prompt.length + completion.length + 2, maxLength));
          expect(example.mask.indexOf(1)).toBe(example.promptLength);
          expect(example.ids[0]).toBe(bytes.bosId);
          expect(example.truncated + example.ids.length).toBe(prompt.length + completion.length + 2);
        },
      ),
    );
  });
});

describe('encodeRows', () => {
  const rows = toRows([
    { prompt: 'Nobody', completion: ' counts' },
    { prompt: 'Nobody', completion: '' },
    { prompt: 'Nobody', completion: ` ${'waters the roses '.repeat(20)}` },
  ]);

  it('throws, or drops and counts', () => {
    const { supervised } = createEncoder(withBos, { maxLength: 20 });
    expect(() => encodeRows(rows, supervised)).toThrow('rows, row 2, `completion`');
    const { examples, report } = encodeRows(rows, supervised, { refused: 'drop' });
    const tokens = examples.reduce((sum, { ids }) => sum + ids.length, 0);
    expect(examples).toHaveLength(2);
    expect(report).toMatchObject({ rows: 3, dropped: 1, sequences: 2, tokens, truncated: 1, split: 0 });
    expect(report.learned).toBe(tokens - examples[0]!.promptLength - examples[1]!.promptLength);
    expect(report.truncatedTokens).toBe(examples[1]!.truncated);
    expect(report.reasons).toEqual([expect.stringContaining('expected a completion that is not empty')]);
    expect(() => encodeRows(rows.slice(1, 2), supervised, { refused: 'drop' })).toThrow(
      '1 refused, the first with',
    );
    expect(() => encodeRows([], supervised)).toThrow(
      'expected at least one row that can be used, received no rows',
    );
  });
});
