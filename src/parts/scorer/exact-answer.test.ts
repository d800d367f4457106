import { describe, expect, it } from 'vitest';
import { toRows } from '../../data/index.ts';
import { exactAnswer, extractAnswer, sameAnswer } from './exact-answer.ts';

describe('extractAnswer', () => {
  it.each([
    ['Natalia sold 48 / 2 = 24 clips.\n#### 72', 'any', '72'],
    ['so \\boxed{1} or rather \\boxed{\\frac{3}{4}}', 'any', '\\frac{3}{4}'],
    ['\\boxed{12 #### 5', 'any', '5'],
    ['The answer is $1,250.50. Because 3 of 4.', 'any', '1,250.50'],
    ['The final answer is: **42**', 'any', '42'],
    ['Answer: Paris. It is in France', 'any', 'Paris'],
    ['First 3, then -7 apples', 'any', '-7'],
    ['\\fbox{7} of 9', 'any', '7'],
    ['\\boxed{\\{1, 2\\}}', 'any', '\\{1, 2\\}'],
    ['my answer = 5! Or 6', 'any', '5'],
    ['the answer is $ 18 per day', 'stated', '18'],
    ['the answer is Room 5', 'stated', 'Room 5'],
    ['.5 or 2.5e-1', 'last-number', '2.5e-1'],
    ['no digits here', 'any', 'no digits here'],
    ['  ', 'any', undefined],
    ['#### 5\n\nmore 6', 'last-number', '6'],
    ['5', 'boxed', undefined],
    ['x ####   \n', 'hash', undefined],
    ['12 apples', 'whole', '12 apples'],
  ] as const)('%j as %s is %j', (text, form, answer) => {
    expect(extractAnswer(text, form)).toBe(answer);
  });
});

describe('sameAnswer', () => {
  it.each([
    ['1,000', '1000'],
    ['$1000.00', '1e3'],
    ['\\frac{1}{2}', '0.5'],
    ['3/6', '1/2'],
    ['\\dfrac{1}{2}', '\\tfrac{2}{4}'],
    ['2.5e-1', '1/4'],
    ['-1/2', '-0.5'],
    ['1/0.5', '2'],
    ['50%', '50'],
    ['−7', '-7'],
    ['0.1', '.10'],
    ['123456789012345678901', '123456789012345678901.0'],
    ['\\text{Paris}.', 'paris'],
    ['$x + 1$', 'x+1'],
  ])('%s equals %s', (a, b) => void expect(sameAnswer(a, b)).toBe(true));
  it.each([
    ['1000', '100'],
    ['123456789012345678901', '123456789012345678902'],
    ['0.3333', '1/3'],
    ['1/0', '1'],
    ['1/2/3', '1/2'],
    ['1/x', '1'],
    ['-', '0'],
    ['0/5', '5/0'],
    ['-7', '7'],
    ['1,00', '100'],
    ['paris', 'london'],
    ['1e9999', '1e9998'],
  ])('%s differs from %s', (a, b) => void expect(sameAnswer(a, b)).toBe(false));
});

describe('exact-answer', () => {
  const item = (completion: string, columns: object) => ({
    ...{ prompt: '', completion, promptIds: [1], completionIds: [2] },
    row: toRows([columns as Record<string, unknown>], 'gsm8k')[0]!,
  });
  const score = (completion: string, columns: object, options: object = {}) =>
    exactAnswer
      .build(exactAnswer.options.parse(options), { env: {}, seed: 0 })
      .score([item(completion, columns)]);

  it('is 1 or 0, against a number, a text, a list or a whole solution', async () => {
    expect(await score('It is 72', { answer: 72 })).toEqual([1]);
    expect(await score('It is 71', { answer: '48 + 24 = 72\n#### 72' })).toEqual([0]);
    expect(await score('#### 72', { answer: '48 + 24 = 72\n#### 72' })).toEqual([1]);
    expect(await score('#### two', { answer: ['2', 'two'] })).toEqual([1]);
    expect(await score('', { answer: 1 })).toEqual([0]);
    expect(await score('5', { gold: 5 }, { column: 'gold', right: 2, wrong: -1 })).toEqual([2]);
  });
  it('names the row that lacks the column, unless the column is optional', async () => {
    await expect(score('5', { gold: 5 })).rejects.toThrow(
      /gsm8k, row 1: expected a column `answer`.*the columns `gold`/,
    );
    expect(await score('5', { gold: 5 }, { optional: true })).toEqual([null]);
    await expect(score('5', { answer: [] })).rejects.toThrow(/a list of them, received \[\]/);
    await expect(score('5', { answer: ['5', null] })).rejects.toThrow(/received \["5",null\]/);
  });
});
