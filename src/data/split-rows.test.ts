import { describe, expect, it } from 'vitest';
import { toRows } from './row.ts';
import { hashSplitter } from './split-rows.ts';

const row = (columns: Record<string, unknown>) => toRows([columns])[0]!;

describe('hashSplitter', () => {
  it('keeps rows of one prompt together, whatever their completions, case and spacing', () => {
    const splitOf = hashSplitter({ test: 0.5 }, 0);
    for (let index = 0; index < 40; index++) {
      const prompt = `Question number ${index}?`;
      const side = splitOf(row({ prompt, chosen: 'a', rejected: 'b' }));
      expect(splitOf(row({ prompt: `question  number ${index}`, completion: 'c' }))).toBe(side);
      const messages = [{ role: 'user', content: prompt }];
      const asMessages = splitOf(row({ prompt: messages }));
      expect(splitOf(row({ messages: [...messages, { role: 'assistant', content: 'x' }] }))).toBe(asMessages);
      expect(splitOf(row({ chosen: [...messages, { role: 'assistant', content: 'y' }] }))).toBe(asMessages);
    }
  });

  it('gives the shares on average, and other sides with another seed', () => {
    const rows = Array.from({ length: 4000 }, (_, index) => row({ text: `text ${index}` }));
    const count = (seed: number): Record<string, number> => {
      const splitOf = hashSplitter({ validation: 0.1, test: 0.2 }, seed);
      const counts: Record<string, number> = {};
      for (const one of rows) counts[splitOf(one)] = (counts[splitOf(one)] ?? 0) + 1;
      return counts;
    };
    const { validation, test, train } = count(1);
    // Binomial of 4000: standard deviations 19 and 25.
    expect(Math.abs(validation! - 400)).toBeLessThan(80);
    expect(Math.abs(test! - 800)).toBeLessThan(100);
    expect(train! + validation! + test!).toBe(4000);
    const [one, two] = [1, 2].map((seed) => rows.map(hashSplitter({ test: 0.5 }, seed)));
    expect(one!.filter((side, index) => side !== two![index]).length).toBeGreaterThan(1800);
  });

  it.each([[{}], [{ test: 0 }], [{ test: 0.6, validation: 0.4 }]])('refuses the shares %j', (shares) => {
    expect(() => hashSplitter(shares, 0)).toThrow('split shares: expected at least one share above 0');
  });
});
