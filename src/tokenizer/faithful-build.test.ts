import { describe, expect, it } from 'vitest';
import { faithfulDefinition } from './faithful-build.ts';
import { readHfTokenizer } from './hf-tokenizer.ts';

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

/** One token per byte, and merges of spaces. */
function byteLevelTokenizer(preTokenizer: unknown, config: object = {}) {
  const alphabet = [...Array(256).keys()].map((byte) => {
    const plain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return plain ? String.fromCharCode(byte) : undefined;
  });
  let next = 256;
  const pieces = alphabet.map((piece) => piece ?? String.fromCharCode(next++));
  const vocab = Object.fromEntries([...pieces, 'ĠĠ', '12', '½½'].map((piece, id) => [piece, id]));
  const two = pieces[0xc2]! + pieces[0xbd]!;
  vocab[two] = 300;
  vocab[two + two] = 301;
  const definition = {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: preTokenizer,
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab, merges: ['Ġ Ġ', '1 2', `${pieces[0xc2]} ${pieces[0xbd]}`, `${two} ${two}`] },
  };
  return readHfTokenizer(
    new Map([
      ['tokenizer.json', bytes(definition)],
      ['tokenizer_config.json', bytes(config)],
    ]),
    'test',
  );
}

const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };

describe('tokenizers as the Rust library builds them', () => {
  it('take every number for a digit, not only 0–9', () => {
    const split = (individual: boolean) =>
      byteLevelTokenizer({
        type: 'Sequence',
        pretokenizers: [
          { type: 'Digits', individual_digits: individual },
          { ...byteLevel, use_regex: false },
        ],
      });
    expect(split(true).encode('12½½')).toEqual([0x31, 0x32, 300, 300]);
    expect(split(false).encode('12½½')).toEqual([257, 301]);
  });

  it('take U+0085 for a space and U+FEFF for none', () => {
    const tokenizer = byteLevelTokenizer(byteLevel);
    // Two spaces before a word keep one for it; before white space they stay together.
    expect(tokenizer.encode('  \u0085').slice(0, 1)).toEqual([256]);
    expect(tokenizer.encode('  \ufeff').slice(0, 2)).toEqual([32, 32]);
  });

  it('decode byte pairs exactly, though the configuration asks for cleaned spaces', () => {
    const text = "it is n't so , he 's not !";
    const asked = { clean_up_tokenization_spaces: true };
    const tokenizer = byteLevelTokenizer(byteLevel, asked);
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    const insisted = {
      ...asked,
      clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output: true,
    };
    const spoiled = byteLevelTokenizer(byteLevel, insisted);
    expect(spoiled.decode(spoiled.encode(text))).toBe("it isn't so, he's not!");
  });

  it('keep U+FEFF in byte tokens, and write one sign for each byte that is no text', () => {
    const pieces = [
      'a',
      '<unk>',
      ...[...Array(256).keys()].map((b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`),
    ];
    const definition = {
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      decoder: { type: 'Sequence', decoders: [{ type: 'ByteFallback' }, { type: 'Fuse' }] },
      model: {
        type: 'BPE',
        byte_fallback: true,
        unk_token: '<unk>',
        vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
        merges: [],
      },
    };
    const tokenizer = readHfTokenizer(new Map([['tokenizer.json', bytes(definition)]]), 'test');
    const ids = [0xef, 0xbb, 0xbf].map((byte) => byte + 2);
    expect(tokenizer.encode('\ufeffa')).toEqual([...ids, 0]);
    expect(tokenizer.decode([...ids, 0])).toBe('\ufeffa');
    expect(tokenizer.decode([0xe2 + 2, 0x82 + 2, 0])).toBe('\ufffd\ufffda');
  });

  it('are otherwise left as they are', () => {
    const definition = {
      normalizer: {
        type: 'Sequence',
        normalizers: [{ type: 'NFC' }, { type: 'BertNormalizer', handle_chinese_chars: false }],
      },
      pre_tokenizer: { ...byteLevel, add_prefix_space: true },
      model: {},
    };
    expect(faithfulDefinition(definition)).toEqual(definition);
    expect(faithfulDefinition({ model: {}, pre_tokenizer: null })).toMatchObject({ pre_tokenizer: null });
  });
});
