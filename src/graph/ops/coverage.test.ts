import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const folder = new URL('.', import.meta.url);
const files = readdirSync(folder);
const families = files.filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'));

describe('every family of operations', () => {
  it.each(families)('%s has a table of rows, which fails when an operation has none', (file) => {
    const name = file.replace(/\.ts$/, '');
    const test = files.includes(`${name}.test.ts`)
      ? readFileSync(new URL(`${name}.test.ts`, folder), 'utf8')
      : '';
    expect(test).toMatch(new RegExp(`testOps\\(\\s*'${name}'`));
  });
});
