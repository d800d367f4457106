import { describe, expect, it } from 'vitest';
import { toRows } from '../../data/index.ts';
import { codeOf, codeTests } from './code-tests.ts';

const score = async (columns: Record<string, unknown>, options: object, ...completions: string[]) => {
  const [row] = toRows([columns], 'problems');
  const items = completions.map((completion) => ({
    ...{ prompt: '', completion, promptIds: [1], completionIds: [2], row: row! },
  }));
  return codeTests.build(codeTests.options.parse(options), { env: {}, seed: 0 }).score(items);
};

describe('codeOf', () => {
  it.each([
    ['a\n```ts\nlet x = 1\n```\nb', 'let x = 1\n', true],
    ['```\none\n```\n```js\ntwo\n```', 'two\n', true],
    ['```typescript\nopen', 'open', true],
    ['let x = `a`', 'let x = `a`', false],
  ])('%j', (text, code, fenced) => void expect(codeOf(text)).toEqual({ text: code, fenced }));
});

describe('code-tests', () => {
  // The form of MBPP in TypeScript: an open head, a body, tests that import assert.
  const row = {
    head: 'const add = function (a: number, b: number) : number {\n',
    test: "import * as assert from 'assert'\n\nlet actual: number = add(1, 2);\nassert.deepEqual(actual, 3, 'case 0');\n",
  };
  it('runs TypeScript: head and completion, or a fenced function', async () => {
    const options = { tests: 'test', prefix: 'head' };
    const completions = [
      '  return a + b;\n}',
      '  return a - b;\n}',
      '  return a + ',
      'Here:\n```ts\nexport function add(a: number, b: number): number { return a + b }\n```',
      '  while (true) {}\n}',
    ];
    expect(await score(row, { ...options, seconds: 1 }, ...completions)).toEqual([1, 0, 0, 1, 0]);
  });
  it('scores all or the share of several tests', async () => {
    const tests = ['assert.equal(f(1), 1)', 'assert.equal(f(2), 4)', 'assert.equal(await f(3), 3)'];
    const completion = 'const f = (x) => x';
    expect(await score({ tests }, { language: 'javascript' }, completion)).toEqual([0]);
    const [share] = await score({ tests }, { partial: true, wrong: -1 }, completion);
    expect(share).toBeCloseTo(-1 + (2 * 2) / 3, 12);
  });
  it('names the row whose tests cannot be used', async () => {
    await expect(score({}, {}, 'x')).rejects.toThrow(/problems, row 1: expected a column `tests` with code/);
    await expect(score({ tests: 'let x = = 1' }, { language: 'javascript' }, '1')).rejects.toThrow(
      /problems, row 1: expected tests that are JavaScript.*SyntaxError/,
    );
    await expect(score({ tests: 'import fs from "fs"' }, { language: 'javascript' }, '1')).rejects.toThrow(
      /row 1/,
    );
  });
});
