import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  exports: Record<string, string | { default: string }>;
};

describe('package.json', () => {
  it('exports only what the source has', () => {
    const files = Object.values(exports).flatMap((entry) =>
      typeof entry === 'string' ? [] : [entry.default],
    );
    expect(files.length).toBeGreaterThan(10);
    const sources = files.map((file) => file.replace('./dist/', 'src/').replace(/\.js$/, '.ts'));
    expect(sources.filter((source) => !existsSync(source))).toEqual([]);
  });
});
