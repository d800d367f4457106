import { describe, expect, it } from 'vitest';
import * as registry from './index.ts';
import { papers } from './papers.ts';

describe('papers', () => {
  it('has every paper once, under an id that can be typed', () => {
    const ids = papers.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.filter((id) => !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(id))).toEqual([]);
    const numbers = papers.flatMap(({ arxiv }) => arxiv ?? []);
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(numbers.filter((number) => !/^\d{4}\.\d{5}$/.test(number))).toEqual([]);
  });

  it('names only methods that are there: a paper is not built by saying so', () => {
    const built = new Set<string>(Object.values(registry).map(({ id }) => id));
    expect(papers.flatMap(({ methods }) => methods).filter((id) => !built.has(id))).toEqual([]);
  });
});
