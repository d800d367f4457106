import { describe, expect, it } from 'vitest';
import { runHeed } from '../../test/support/run-heed.ts';
import { describeConfig } from '../core/config.ts';
import { parseArguments } from './command-line.ts';
import { commands } from './commands.ts';

it('names are unique and words; summaries are one line without a full stop', () => {
  expect(new Set(commands.map(({ name }) => name)).size).toBe(commands.length);
  for (const { name, summary } of commands) {
    expect(name).toMatch(/^[a-z][a-z-]*$/);
    expect(summary).toMatch(/^[^\n.]{10,100}$/);
  }
});

it('the API key of heed serve is not printed', async () => {
  for (const json of [[], ['--json']]) {
    const flags = ['--model', 'm', '--api-key', 'k-0123456789', '--print-config', ...json];
    const { code, stdout } = await runHeed(['serve', ...flags]);
    expect(code).toBe(0);
    expect(stdout).toContain('--api-key');
    expect(stdout).not.toContain('k-0123456789');
  }
});

describe.each(commands.map((record) => [record.name, record] as const))('heed %s', (_, record) => {
  it('documents every key, and no key collides with another or with a common flag', async () => {
    const command = await record.load();
    const fields = describeConfig(command.config);
    expect(fields.filter(({ description }) => description.length < 5).map(({ key }) => key)).toEqual([]);
    expect(() => parseArguments([], record, command, fields)).not.toThrow();
  });

  it('positionals are keys, and examples parse', async () => {
    const command = await record.load();
    const fields = describeConfig(command.config);
    const keys = fields.map(({ key }) => key);
    for (const key of command.positionals ?? []) expect(keys).toContain(key);
    for (const example of command.examples ?? []) {
      // As a shell would: words, or text in quotes.
      const [name, ...rest] = [...example.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
        ([word, quoted, single]) => quoted ?? single ?? word,
      );
      expect(name).toBe(record.name);
      expect(() => parseArguments(rest, record, command, fields)).not.toThrow();
    }
  });
});
