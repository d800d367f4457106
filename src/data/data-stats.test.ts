import { describe, expect, it } from 'vitest';
import { countData, summarizeLengths } from './data-stats.ts';
import { toRows } from './row.ts';

describe('countData', () => {
  it('counts types, kinds of values, repeated rows, equal sides and characters', () => {
    const pair = { prompt: 'What?', chosen: 'Yes.', rejected: 'No' };
    const rows = toRows([
      { ...pair, id: 1 },
      { ...pair, id: 2 },
      { ...pair, prompt: 'what ' },
      { prompt: [{ role: 'user', content: 'abc' }], chosen: 'Same', rejected: 'Same', tags: ['a', 'bc'] },
      { question: 'q', tags: [], score: 0.5, info: { a: 1 }, mixed: [1, 'a'] },
    ]);
    const counter = countData();
    for (const row of rows) counter.add(row);
    const stats = counter.stats();
    expect(stats).toMatchObject({
      rows: 5,
      types: { preference: 4, unknown: 1 },
      duplicates: { exact: 1, normalized: 2 },
      equalSides: 1,
    });
    expect(Object.fromEntries(stats.columns.map(({ name, kinds }) => [name, kinds]))).toEqual({
      prompt: { text: 3, messages: 1 },
      chosen: { text: 4 },
      rejected: { text: 4 },
      id: { number: 2 },
      tags: { 'list of text': 1, 'empty list': 1 },
      question: { text: 1 },
      score: { number: 1 },
      info: { object: 1 },
      mixed: { list: 1 },
    });
    expect(stats.columns[0]).toMatchObject({ name: 'prompt', rows: 4 });
    // 5, 5, 5 and 3 characters.
    expect(stats.characters.prompt).toMatchObject({
      count: 4,
      total: 18,
      shortest: 3,
      median: 5,
      longest: 5,
    });
    expect(stats.characters.tags).toMatchObject({ count: 1, total: 3 });
    expect(stats.characters.mixed).toBeUndefined();
  });

  it('summarizes lengths with nearest ranks and doubling bins', () => {
    const lengths = [40, 9, 10, 15, 16, 100];
    expect(summarizeLengths(lengths)).toEqual({
      count: 6,
      total: 190,
      shortest: 9,
      median: 15,
      p95: 100,
      longest: 100,
      histogram: [
        { from: 8, to: 16, count: 3 },
        { from: 16, to: 32, count: 1 },
        { from: 32, to: 64, count: 1 },
        { from: 64, to: 128, count: 1 },
      ],
    });
    expect(summarizeLengths([])).toMatchObject({ count: 0, longest: 0, histogram: [] });
  });
});
