import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editDistance, foldName, suggest } from './suggest.ts';

describe('editDistance', () => {
  it.each([
    ['', '', 0],
    ['abc', '', 3],
    ['lerning', 'learning', 1],
    // kitten → sitten → sittin → sitting
    ['kitten', 'sitting', 3],
    // One swap of neighbors, not two replacements.
    ['bate', 'baet', 1],
    ['ab', 'ba', 1],
  ])('%s → %s is %i', (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance);
  });

  it('is symmetric, and at least the difference and at most the longer of the lengths', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }), (a, b) => {
        const distance = editDistance(a, b);
        expect(distance).toBe(editDistance(b, a));
        expect(distance).toBeGreaterThanOrEqual(Math.abs(a.length - b.length));
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
        expect(distance === 0).toBe(a === b);
      }),
    );
  });
});

describe('suggest', () => {
  const keys = [
    'learningRate',
    'beta',
    'maxSteps',
    'maxLength',
    'warmupSteps',
    'gradientAccumulation',
    'lora.rank',
  ];

  it.each([
    ['learning_rate', 'learningRate'],
    ['--lerning-rate', 'learningRate'],
    ['betta', 'beta'],
    ['btea', 'beta'],
    ['lr', 'learningRate'],
    ['rate', 'learningRate'],
    ['accumulation', 'gradientAccumulation'],
    // Two candidates have the word: a guess would mislead.
    ['steps', undefined],
    ['zebra', undefined],
    ['', undefined],
  ])('%s → %s', (name, expected) => {
    expect(suggest(name, keys)).toBe(expected);
  });
});

it('foldName makes every spelling of a key equal', () => {
  expect(['learning_rate', 'learning-rate', 'learningRate', 'LEARNING_RATE'].map(foldName)).toEqual(
    Array(4).fill('learningrate'),
  );
});
