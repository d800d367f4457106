/** A tokenizer in BERT's form for the golden encoders, whose vocabulary has 24 ids. */
import { readHfTokenizer } from '../../src/tokenizer/hf-tokenizer.ts';

/** Word pieces of the letters a to p, in BERT's form; 24 ids as the golden models have. */
export const letters = 'abcdefghijklmnop'.split('');
const specials = ['[UNK]', '[CLS]', '[SEP]', '[PAD]'];
const vocab = Object.fromEntries([...specials, ...letters].map((token, id) => [token, id]));
const part = (id: string, type_id: number) => ({
  [id === 'A' || id === 'B' ? 'Sequence' : 'SpecialToken']: { id, type_id },
});
const definition = {
  added_tokens: specials.map((content, id) => ({ id, content, special: true })),
  normalizer: {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: {
    type: 'TemplateProcessing',
    single: [part('[CLS]', 0), part('A', 0), part('[SEP]', 0)],
    pair: [part('[CLS]', 0), part('A', 0), part('[SEP]', 0), part('B', 1), part('[SEP]', 1)],
    special_tokens: {
      '[CLS]': { id: '[CLS]', ids: [1], tokens: ['[CLS]'] },
      '[SEP]': { id: '[SEP]', ids: [2], tokens: ['[SEP]'] },
    },
  },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab,
  },
};
const files = new Map([
  ['tokenizer.json', new TextEncoder().encode(JSON.stringify(definition))],
  ['tokenizer_config.json', new TextEncoder().encode(JSON.stringify({ pad_token: '[PAD]' }))],
]);

export const lettersTokenizer = readHfTokenizer(files, 'letters');
