import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadTokenizer } from './load-tokenizer.ts';

function folderOf(files: Readonly<Record<string, unknown>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'heed-load-'));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return folder;
}

/** A SentencePiece-style definition with a dummy space: ▁ 0, a 1, b 2, ab 3, ▁ab 4, then the special tokens. */
const vocab = { '▁': 0, a: 1, b: 2, ab: 3, '▁ab': 4, '<s>': 5, '</s>': 6, '<0x0A>': 7 };
const definition = {
  added_tokens: [
    { id: 5, content: '<s>', special: true },
    { id: 6, content: '</s>', special: true },
  ],
  normalizer: {
    type: 'Sequence',
    normalizers: [
      { type: 'Prepend', prepend: '▁' },
      { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    ],
  },
  pre_tokenizer: null,
  post_processor: {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [],
    special_tokens: { '<s>': { id: '<s>', ids: [5], tokens: ['<s>'] } },
  },
  decoder: {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 },
    ],
  },
  model: { type: 'BPE', byte_fallback: true, vocab, merges: ['a b', '▁ ab'] },
};
const config = { bos_token: '<s>', eos_token: { content: '</s>' } };

describe('loadTokenizer', () => {
  it('reads tokenizer.json with its configuration', async () => {
    const folder = folderOf({ 'tokenizer.json': definition, 'tokenizer_config.json': config });
    const tokenizer = await loadTokenizer(folder);
    expect(tokenizer.encode('ab ab')).toEqual([5, 4, 4]);
    expect(tokenizer.encode('ab ab', { addSpecial: false })).toEqual([4, 4]);
    expect(tokenizer.decode([5, 4, 4])).toBe('ab ab');
    expect([tokenizer.bosId, tokenizer.eosId, tokenizer.padId]).toEqual([5, 6, undefined]);
    expect([tokenizer.vocabSize, tokenizer.addsBos]).toEqual([8, true]);
    expect(tokenizer.tokenText(4)).toBe(' ab');
    expect((await loadTokenizer(join(folder, 'tokenizer.json'))).encode('ab')).toEqual([5, 4]);
  });

  it('puts no dummy space before a continuation', async () => {
    const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first', split: false };
    for (const variant of [definition, { ...definition, normalizer: null, pre_tokenizer: metaspace }]) {
      const tokenizer = await loadTokenizer(
        folderOf({ 'tokenizer.json': variant, 'tokenizer_config.json': config }),
      );
      expect(tokenizer.encode('ab')).toEqual([5, 4]);
      expect(tokenizer.encode('ab', { continuation: true })).toEqual([3]);
      expect(tokenizer.encode(' ab', { continuation: true })).toEqual([4]);
    }
  });

  it('says which part of a text has no token', async () => {
    const model = { type: 'WordPiece', vocab: { a: 0 }, unk_token: '[UNK]' }; // which is not in the vocabulary
    const wordPiece = { ...definition, added_tokens: [], normalizer: null, post_processor: null, model };
    const tokenizer = await loadTokenizer(folderOf({ 'tokenizer.json': wordPiece }));
    expect(tokenizer.encode('a')).toEqual([0]);
    expect(() => tokenizer.encode('x')).toThrow('expected a token for every part of the text, received none');
  });

  it('fills special tokens from special_tokens_map.json, and refuses unknown ones', async () => {
    const files = { 'tokenizer.json': definition, 'special_tokens_map.json': { pad_token: '</s>' } };
    expect((await loadTokenizer(folderOf(files))).padId).toBe(6);
    const wrong = folderOf({ 'tokenizer.json': definition, 'tokenizer_config.json': { pad_token: '[PAD]' } });
    await expect(loadTokenizer(wrong)).rejects.toThrow(
      'pad_token: expected a token of tokenizer.json, received "[PAD]". Add it to the vocabulary',
    );
  });

  it('adds tokens that only added_tokens_decoder knows', async () => {
    const decoder = { 8: { content: '<|x|>', special: true } };
    const tokenizer = await loadTokenizer(
      folderOf({ 'tokenizer.json': definition, 'tokenizer_config.json': { added_tokens_decoder: decoder } }),
    );
    expect(tokenizer.encode('<|x|>', { addSpecial: false })).toEqual([8]);
    expect(tokenizer.vocabSize).toBe(9);
  });

  it('prefers chat_template.jinja, then the configuration, then chat_template.json', async () => {
    const templateOf = async (files: Readonly<Record<string, unknown>>): Promise<string | undefined> =>
      (await loadTokenizer(folderOf({ 'tokenizer.json': definition, ...files }))).chatTemplate;
    const old = { 'chat_template.json': { chat_template: 'C' } };
    const middle = { ...old, 'tokenizer_config.json': { chat_template: 'B' } };
    expect(await templateOf({ ...middle, 'chat_template.jinja': 'A' })).toBe('A');
    expect(await templateOf(middle)).toBe('B');
    expect(await templateOf(old)).toBe('C');
    expect(await templateOf({})).toBeUndefined();
  });

  it('keeps named templates', async () => {
    const named = [
      { name: 'default', template: 'D' },
      { name: 'tool_use', template: 'T' },
    ];
    const tokenizer = await loadTokenizer(
      folderOf({
        'tokenizer.json': definition,
        'tokenizer_config.json': { chat_template: named },
        'additional_chat_templates/rag.jinja': 'R',
      }),
    );
    expect(tokenizer.chatTemplate).toBe('D');
    expect([...tokenizer.chatTemplates]).toEqual([
      ['default', 'D'],
      ['tool_use', 'T'],
      ['rag', 'R'],
    ]);
    const folder = folderOf({});
    await tokenizer.save(folder);
    expect((await loadTokenizer(folder)).chatTemplates).toEqual(tokenizer.chatTemplates);
  });

  it('says what is missing', async () => {
    await expect(loadTokenizer('/nowhere/at-all')).rejects.toThrow('/nowhere/at-all, which does not exist');
    await expect(loadTokenizer(folderOf({ 'config.json': {} }))).rejects.toThrow('received none of them');
    await expect(loadTokenizer(folderOf({ 'vocab.json': { a: 0 }, 'merges.txt': '' }))).rejects.toThrow(
      'received only vocab.json, merges.txt. Save the tokenizer with transformers',
    );
    await expect(loadTokenizer(folderOf({ 'tok1.bin': 'x', 'tok2.bin': 'x' }))).rejects.toThrow(
      'expected one tokenizer, received tok1.bin, tok2.bin',
    );
    await expect(loadTokenizer(folderOf({ 'tokenizer.json': '{"model":' }))).rejects.toThrow(
      /tokenizer\.json: expected a JSON object/,
    );
    await expect(loadTokenizer(folderOf({ 'tokenizer.json': { version: '1.0' } }))).rejects.toThrow(
      'expected a tokenizer that @huggingface/tokenizers can build',
    );
  });
});
