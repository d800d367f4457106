import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../../test/support/tiny-model.ts';
import { tinyTokenizer } from '../../../test/support/tiny-server.ts';
import { createRng } from '../../core/rng.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { tokenBytes } from '../../tokenizer/index.ts';
import { createGenerator } from '../generate.ts';
import { machineConstraint } from './byte-machine.ts';
import type { ConstraintState } from './constraint.ts';
import { jsonDepth, jsonObjectConstraint, jsonObjectMachine } from './json-object.ts';
import { tokenTrie } from './token-trie.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());

const machine = jsonObjectMachine();
/** Whether the machine takes a text as whole. */
function takes(bytes: Uint8Array): boolean {
  let state: ReturnType<typeof machine.step> = machine.start;
  for (const byte of bytes) {
    if (state === undefined) return false;
    state = machine.step(state, byte);
  }
  return state !== undefined && machine.accepts(state);
}
const bytesOf = (text: string): Uint8Array => Buffer.from(text);

/** Values with numbers of at most 15 digits: what a machine of bounded digits can write. */
const number = fc.oneof(
  fc.integer(),
  fc.integer().map((n) => n / 8),
  fc.constantFrom(0, -0.5, 1e21, -2.5e-7),
);
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    fc.oneof(number, fc.boolean(), fc.constant(null), fc.string({ unit: 'binary' })),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string({ unit: 'grapheme' }), tie('value'), { maxKeys: 4 }),
  ),
}));
const object = fc.dictionary(fc.string({ unit: 'grapheme' }), value, { maxKeys: 5 });

const isObject = (text: string): boolean => {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === 'object' && json !== null && !Array.isArray(json);
  } catch {
    return false;
  }
};

describe('JSON objects', () => {
  it('takes what JSON.stringify writes, compact and indented', () => {
    fc.assert(
      fc.property(object, fc.constantFrom(undefined, 1, 2, 4), (given, indent) => {
        expect(takes(bytesOf(JSON.stringify(given, null, indent)))).toBe(true);
      }),
    );
    expect(takes(bytesOf('{"a": "\\ud83d\\u00e9\\n/", "b": [1E+2, -0.0], "c": {}}'))).toBe(true);
  });

  it('takes nothing that JSON.parse refuses, or that is no object: texts with a byte changed, put in or taken out', () => {
    let refused = 0;
    fc.assert(
      fc.property(
        object,
        fc.constantFrom(undefined, 2),
        fc.nat(),
        fc.oneof(fc.constantFrom(...bytesOf('{}[]",:\\u0129eE.+-tfn \n')), fc.integer({ min: 0, max: 255 })),
        fc.constantFrom('change', 'insert', 'remove'),
        (given, indent, at, byte, how) => {
          const bytes = [...bytesOf(JSON.stringify(given, null, indent))];
          const place = at % bytes.length;
          bytes.splice(place, how === 'insert' ? 0 : 1, ...(how === 'remove' ? [] : [byte]));
          const whole = Uint8Array.from(bytes);
          if (!takes(whole)) {
            refused++;
            return;
          }
          expect(isObject(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(whole))).toBe(
            true,
          );
        },
      ),
      { numRuns: 2000 },
    );
    expect(refused).toBeGreaterThan(200);
  });

  it('bounds nesting, digits and white space', () => {
    const nested = (depth: number): Uint8Array =>
      bytesOf(`{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`);
    expect(takes(nested(jsonDepth))).toBe(true);
    expect(takes(nested(jsonDepth + 1))).toBe(false);
    const number = (text: string): boolean => takes(bytesOf(`{"a": ${text}}`));
    expect([number('1'.repeat(15)), number('1'.repeat(16))]).toEqual([true, false]);
    expect([number('1e10'), number('1e100'), number('01'), number('-'), number('1.')]).toEqual([
      true,
      ...new Array(4).fill(false),
    ]);
    expect(takes(bytesOf('{"\\u0123": 1}'))).toBe(true);
    for (const wrong of ['\\u012', '\\u012g', '\\x', '\\'])
      expect(takes(bytesOf(`{"${wrong}": 1}`))).toBe(false);
    expect(takes(bytesOf('{  }'))).toBe(false);
    expect(takes(bytesOf('{}\n'))).toBe(false);
  });

  const tokenizer = tinyTokenizer();
  const bytes = Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenBytes(tokenizer, id));
  const textOf = (ids: readonly number[]): string => tokenizer.decode([...ids]);

  it('completions of random models are objects when they end, and begin one when they are cut', async () => {
    const constraint = jsonObjectConstraint(tokenTrie(bytes));
    let ended = 0;
    for (const seed of [1, 2, 3]) {
      const source = tinyModel(seed, { vocab_size: tokenizer.vocabSize, head_dim: 8 });
      const generator = createGenerator({ engine, ...source, prepack: false });
      // Brackets that close are made likelier, or a random model writes strings for ever.
      const bias = [...'"}],:'].map(
        (char) => [tokenizer.encode(char, { continuation: true })[0]!, 3] as const,
      );
      const made = await generator.generate(
        [
          [1, 70],
          [1, 80, 90],
        ],
        {
          ...{ temperature: 1, topK: 0, topP: 1, maxNewTokens: 60, n: 4, rng: createRng(seed) },
          ...{ stopIds: new Set([tokenizer.eosId!]), logitBias: new Map(bias), constraint },
        },
      );
      for (const { ids, finish } of made) {
        const text = textOf(ids);
        if (finish === 'stop') {
          ended++;
          expect(text).toSatisfy(isObject);
        } else expect(text.startsWith('{')).toBe(true);
      }
      generator.dispose();
    }
    expect(ended).toBeGreaterThan(6);
  });

  it('lets tokens through that lead on, and keeps only so many', () => {
    const trie = tokenTrie(bytes);
    const walk = (state: ConstraintState, text: string): ConstraintState =>
      tokenizer.encode(text, { continuation: true }).reduce((at, token) => at.next(token), state);
    const inKey = walk(jsonObjectConstraint(trie).start, '{"a');
    const tokensOf = (state: ConstraintState): string[] =>
      [...state.allowed].map((id) => textOf([id])).toSorted();
    expect(tokensOf(walk(inKey, '"'))).toEqual([':']);
    expect(tokensOf(walk(inKey, '": tru'))).toEqual(['e']);
    // With no room for more than a state, each visit finds the same again.
    const small = machineConstraint(machine, trie, undefined, 1);
    expect(tokensOf(walk(small.start, '{"a": [1'))).toEqual(tokensOf(walk(inKey, '": [1')));
    expect(tokensOf(walk(small.start, '{"a": [1'))).toEqual(tokensOf(walk(inKey, '": [1')));
  });

  it('writes strings of ASCII where the vocabulary lacks bytes, and refuses one without all of ASCII', () => {
    const ascii = Array.from({ length: 0x7f }, (_, byte) => Uint8Array.of(byte));
    const half = Uint8Array.of(0xc3);
    const constraint = jsonObjectConstraint(tokenTrie([...ascii, half]));
    const inString = [...bytesOf('{"')].reduce((at, token) => at.next(token), constraint.start);
    expect([...inString.allowed]).not.toContain(0x7f);
    expect([...inString.allowed]).toContain(0x61);
    expect(() => jsonObjectConstraint(tokenTrie(ascii.filter((_, byte) => byte !== 0x22)))).toThrow(
      /JSON object: expected a vocabulary with every printable character.*none for/,
    );
  });
});
