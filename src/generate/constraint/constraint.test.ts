import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../../test/support/tiny-model.ts';
import { tinyTokenizer } from '../../../test/support/tiny-server.ts';
import { createRng } from '../../core/rng.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { tokenBytes } from '../../tokenizer/index.ts';
import { type Completion, createGenerator, type GenerateOptions } from '../generate.ts';
import { regexAutomaton, utf8Ranges } from './byte-automaton.ts';
import { choiceConstraint } from './choice.ts';
import type { Constraint, ConstraintState } from './constraint.ts';
import { regexConstraint } from './regex.ts';
import { tokenTrie } from './token-trie.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());

/** 24 tokens: letters, pieces of several, halves of é and 🙂, and 23, which stops and has no text. */
const pieces = ['a', 'b', 'c', 'ab', 'ba', 'aab', 'bb', 'ca', '0', '1', '12', ' ', 'a b', '"', 'bc0', ''].map(
  (text) => [...Buffer.from(text)],
);
const bytes = [
  ...pieces,
  [0xc3],
  [0xa9],
  [0xf0, 0x9f],
  [0x99],
  [0x82],
  [0x99, 0x82],
  [...Buffer.from('éa')],
  [],
];
const trie = tokenTrie(bytes.map((word) => Uint8Array.from(word)));
const stop = 23;
const textOf = (ids: readonly number[]): string =>
  Buffer.from(ids.filter((id) => id !== stop).flatMap((id) => bytes[id]!)).toString('utf8');
const options: GenerateOptions = {
  ...{ temperature: 1, topK: 0, topP: 1, maxNewTokens: 40, stopIds: new Set([stop]), rng: createRng(2) },
};

/** Regular expressions over a, b, c, é and 🙂 without repetition, so that all of their matches can be listed. */
const finite: fc.Arbitrary<{ source: string; matches: string[] }> = fc.letrec<{
  node: { source: string; matches: string[] };
}>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom('a', 'b', 'c', 'é', '🙂').map((letter) => ({ source: letter, matches: [letter] })),
    fc.tuple(tie('node'), tie('node')).map(([x, y]) => ({
      source: x.source + y.source,
      matches: x.matches.flatMap((s) => y.matches.map((t) => s + t)),
    })),
    fc.tuple(tie('node'), tie('node')).map(([x, y]) => ({
      source: `(?:${x.source}|${y.source})`,
      matches: [...x.matches, ...y.matches],
    })),
    tie('node').map((x) => ({ source: `(?:${x.source})?`, matches: ['', ...x.matches] })),
    tie('node').map((x) => ({
      source: `(?:${x.source}){1,2}`,
      matches: [...x.matches, ...x.matches.flatMap((s) => x.matches.map((t) => s + t))],
    })),
  ),
})).node;

describe('regular expressions', () => {
  it('let through the tokens that begin the rest of a match, and no others', () => {
    fc.assert(
      fc.property(finite, fc.array(fc.nat()), ({ source, matches }, choices) => {
        fc.pre(matches.length <= 200);
        const wanted = new Set(matches.map((text) => Buffer.from(text).toString('latin1')));
        const all = [...wanted];
        let state: ConstraintState = regexConstraint(source, trie).start;
        let written = '';
        for (const choice of [...choices, 0, 0, 0]) {
          const starts = (token: number): boolean => {
            const after = written + Buffer.from(bytes[token]!).toString('latin1');
            return bytes[token]!.length > 0 && canEnd(after);
          };
          // With these tokens: é and 🙂 can be written in whole or in their halves.
          const canEnd = (prefix: string): boolean => all.some((text) => text.startsWith(prefix));
          const right = [...bytes.keys()].filter(starts);
          expect([...state.allowed].sort((x, y) => x - y)).toEqual(right);
          expect(state.mayEnd).toBe(wanted.has(written));
          if (right.length === 0) break;
          const token = right[choice % right.length]!;
          written += Buffer.from(bytes[token]!).toString('latin1');
          state = state.next(token);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('match what JavaScript matches, from beginning to end', () => {
    const sources = [
      'a*b',
      '(ab|c)+1?',
      '[^"]*',
      '\\w{2,4}',
      '^a.c$',
      '\\p{L}+',
      '(?:a|é)🙂?',
      '(?=a)[ab]+',
      '[\\s\\S]',
    ];
    const text = fc.string({
      unit: fc.constantFrom('a', 'b', 'c', '1', '"', 'é', '🙂', '\n', 'ß'),
      maxLength: 6,
    });
    for (const source of sources) {
      const { next, accepts } = regexAutomaton(source);
      const pattern = new RegExp(`^(?:${source})$`, 'u');
      fc.assert(
        fc.property(text, (text) => {
          let state = 0;
          for (const byte of Buffer.from(text)) state = state < 0 ? -1 : next[state]![byte]!;
          expect(state >= 0 && accepts[state]).toBe(pattern.test(text));
        }),
        { numRuns: 100 },
      );
    }
  });

  it('never lead where no token goes on', () => {
    // Without a token for "d" nothing may begin that needs it: "ab" must not be written in "abd|ac".
    const { start } = regexConstraint('abd|ac', trie);
    expect([...start.allowed]).toEqual([0]);
    expect([...start.next(0).allowed]).toEqual([2]);
    expect(() => regexConstraint('d+', trie)).toThrow(/regex: expected texts that the tokenizer can write/);
  });

  it('are refused when they have no automaton', () => {
    expect(() => regexAutomaton('a(')).toThrow(/expected a regular expression of JavaScript.*received a\(/);
    expect(() => regexAutomaton('(a+)\\1')).toThrow(/expected a regular expression of JavaScript/);
    expect(() => regexAutomaton('a(?!.*)b')).toThrow(/a regular expression that matches something/);
    expect(() => regexAutomaton('(?:[ab]*a[ab]{15})', 'x')).toThrow(
      /x: expected an automaton of at most 20000 states/,
    );
  });

  it('have the UTF-8 of exactly the characters of a range', () => {
    const points = fc.tuple(fc.integer({ min: 0, max: 0x10ffff }), fc.integer({ min: 0, max: 0x10ffff }));
    fc.assert(
      fc.property(points, fc.integer({ min: 0, max: 0x10ffff }), ([x, y], probe) => {
        fc.pre(probe < 0xd800 || probe > 0xdfff);
        const [min, max] = [Math.min(x, y), Math.max(x, y)];
        for (const point of [probe, min, max]) {
          if (point >= 0xd800 && point <= 0xdfff) continue;
          const utf8 = [...Buffer.from(String.fromCodePoint(point))];
          const found = utf8Ranges(min, max).filter(
            (ranges) =>
              ranges.length === utf8.length && ranges.every(([a, b], i) => utf8[i]! >= a && utf8[i]! <= b),
          );
          expect(found.length).toBe(point >= min && point <= max ? 1 : 0);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('generation under constraints', () => {
  const check = ({ ids, finish }: Completion, source: string, constraint: Constraint): void => {
    if (finish === 'stop') {
      expect(textOf(ids)).toMatch(new RegExp(`^(?:${source})$`, 'u'));
      return;
    }
    // Cut at the length: the beginning of a match.
    let state = constraint.start;
    for (const id of ids) {
      expect(state.allowed.includes(id)).toBe(true);
      state = state.next(id);
    }
  };

  it('matches whatever the model, the sampling and the batch are', async () => {
    const infinite = ['a*', '(?:ab|c)+1', '[ab]{3,}', '(?:é|🙂)+', '"[^"]*"', '(?:a|b)*0(?: a|b)*'];
    const source = fc.oneof(
      finite.map(({ source }) => source),
      fc.constantFrom(...infinite),
    );
    let stopped = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.nat(1000),
        fc.array(source, { minLength: 1, maxLength: 4 }),
        async (seed, sources) => {
          const constraints = sources.map((one) => regexConstraint(one, trie));
          const generator = createGenerator({ engine, ...tinyModel(seed, { initializer_range: 0.5 }) });
          const made = await generator.generate(
            sources.map(() => [1 + (seed % 20)]),
            {
              ...options,
              ...{ rng: createRng(seed), n: 2, temperature: seed % 3 },
              perPrompt: (index) => ({ constraint: constraints[index]! }),
            },
          );
          generator.dispose();
          made.forEach((completion, i) => {
            check(completion, sources[Math.floor(i / 2)]!, constraints[Math.floor(i / 2)]!);
            if (completion.finish === 'stop') stopped++;
          });
        },
      ),
      { numRuns: 25 },
    );
    expect(stopped).toBeGreaterThan(20);
  });

  it('draws from the model’s distribution over what is allowed', async () => {
    const generator = createGenerator({ engine, ...tinyModel(3) });
    const constraint = choiceConstraint([[0], [1, 2], [8]]);
    const made = await generator.generate([[4]], { ...options, constraint, n: 1, topLogProbs: 24 });
    const top = made[0]!.topLogProbs![0]!.filter(({ id }) => [0, 1, 8].includes(id));
    const total = Math.log(top.reduce((sum, { logProb }) => sum + Math.exp(logProb), 0));
    const first = top.find(({ id }) => id === made[0]!.ids[0])!;
    expect(made[0]!.samplingLogProbs[0]).toBeCloseTo(first.logProb - total, 5);
    expect(made[0]!.logProbs[0]).toBe(first.logProb);
    generator.dispose();
  });

  it('writes one of the choices, ends where nothing may follow, and stops between a choice and its longer one', async () => {
    const choices = [[0, 1], [0, 1, 2], [8]];
    const constraint = choiceConstraint(choices);
    const generator = createGenerator({ engine, ...tinyModel(3) });
    const made = await generator.generate([[4], [9]], { ...options, constraint, n: 40 });
    const seen = new Set(made.map(({ ids }) => String(ids)));
    expect(seen).toEqual(new Set(['0,1,23', '0,1,2', '8']));
    expect(made.every(({ finish }) => finish === 'stop')).toBe(true);
    const [bare] = await generator.generate([[4]], { ...options, constraint, stopIds: new Set() });
    expect(['0,1,2', '8']).toContain(String(bare!.ids));
    const bias = new Map([[stop, 1000]]);
    const [early] = await generator.generate([[4]], {
      ...options,
      constraint,
      logitBias: bias,
      minNewTokens: 3,
    });
    expect(['0,1,2', '8']).toContain(String(early!.ids));
    expect(() => choiceConstraint([])).toThrow(/choices: expected at least one/);
    expect(() => choiceConstraint([[1], []])).toThrow(/received an empty one/);
    generator.dispose();
  });

  it('knows the bytes of a real vocabulary', () => {
    const tokenizer = tinyTokenizer();
    const table = Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenBytes(tokenizer, id));
    expect(tokenTrie(table).complete).toBe(true);
    for (const text of ['The gardener’s 🙂 naïve café\n', '<0x0A>']) {
      const ids = tokenizer.encode(text, { continuation: true });
      expect(Buffer.concat(ids.map((id) => table[id]!)).toString('utf8')).toBe(text);
    }
    expect(table[tokenizer.eosId!]).toHaveLength(0);
  });
});
