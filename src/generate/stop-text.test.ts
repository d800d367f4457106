import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { completionText, findStop } from './stop-text.ts';

/** Tokens are strings: ids are indices into this list. Ids 6 and 7 are halves of one character. */
const pieces = ['a', 'b', 'ab', 'ba', 'aab', 'bb'];
const decode = (ids: readonly number[]): string => {
  const bytes = ids.flatMap((id) => (id === 6 ? [0xc3] : id === 7 ? [0xa9] : [...Buffer.from(pieces[id]!)]));
  return Buffer.from(bytes).toString('utf8');
};

describe('findStop', () => {
  it('finds the stop that begins first, also across the border of the last token', () => {
    expect(findStop('one END', 'one EN', ['ND', 'END'])).toEqual({ stop: 'END', at: 4 });
  });
  it('passes over one that was there before', () => {
    expect(findStop('xx abc', 'xx ab', ['xx'])).toBeUndefined();
    // Of the two places of "aa" in "aaa" only the second needs the last letter.
    expect(findStop('aaa', 'aa', ['aa'])).toEqual({ stop: 'aa', at: 1 });
  });
  it('finds a character of several tokens when it is whole', () => {
    expect(findStop(decode([0, 6]), decode([0]), ['é'])).toBeUndefined();
    expect(findStop(decode([0, 6, 7]), decode([0, 6]), ['é'])).toEqual({ stop: 'é', at: 1 });
  });
  it('ends a completion where a search in the whole text would, whatever the tokens', () => {
    const ids = fc.array(fc.integer({ min: 0, max: 7 }), { minLength: 1, maxLength: 12 });
    const stops = fc.uniqueArray(fc.constantFrom('a', 'ab', 'bab', 'aab', 'bbb', 'é', 'bé'), {
      minLength: 1,
    });
    fc.assert(
      fc.property(ids, stops, (ids, stops) => {
        const count =
          ids.findIndex((_, t) => stops.some((stop) => decode(ids.slice(0, t + 1)).includes(stop))) + 1;
        const ended = ids.findIndex(
          (_, t) => findStop(decode(ids.slice(0, t + 1)), decode(ids.slice(0, t)), stops) !== undefined,
        );
        expect(ended + 1).toBe(count);
        if (count === 0) return;
        const text = decode(ids.slice(0, count));
        const found = findStop(text, decode(ids.slice(0, count - 1)), stops)!;
        expect(found.at).toBe(Math.min(...stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0)));
        expect(completionText({ ids: ids.slice(0, count), stop: found.stop }, decode)).toBe(
          text.slice(0, found.at),
        );
      }),
      { numRuns: 500 },
    );
  });
  it('leaves the text whole after a stop token or at the length', () => {
    expect(completionText({ ids: [0, 1], stop: 1 }, decode)).toBe('ab');
    expect(completionText({ ids: [0, 1] }, decode)).toBe('ab');
  });
});
