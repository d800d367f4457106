/** What a wrong configuration is told: the place, the type that was expected, and the nearest right name. */
import type { z } from 'zod';
import type { ConfigField } from './config.ts';
import { ConfigError } from './errors.ts';
import type { ConfigSource } from './resolve-config.ts';
import { suggest } from './suggest.ts';

/** The error for a flag that no key and no switch has. `others` are further flags that could have been meant. */
export function unknownFlag(
  shown: string,
  fields: readonly ConfigField[],
  others: readonly string[] = [],
): ConfigError {
  const names = new Map(others.map((flag) => [flag, flag]));
  for (const item of fields) {
    names.set(item.flag, item.flag);
    for (const alias of item.aliases) names.set(alias, item.flag);
  }
  const near = suggest(shown, names.keys());
  return new ConfigError({
    where: shown,
    expected: 'a flag of this command',
    received: 'an unknown one',
    fix: near === undefined ? 'See --help for all flags' : `Did you mean ${names.get(near)}?`,
  });
}

/** The error for a key of a file that the schema lacks. */
export function unknownKey(where: string, key: string, fields: readonly ConfigField[]): ConfigError {
  const names = new Map<string, string>();
  for (const item of fields) {
    names.set(item.key, item.key);
    for (const alias of item.aliases) names.set(alias, item.key);
  }
  const near = suggest(key, names.keys());
  return new ConfigError({
    where,
    expected: 'a key of this command',
    received: `the unknown key ${key}`,
    fix: near === undefined ? 'Remove it, or see --help for all keys' : `Did you mean ${names.get(near)}?`,
  });
}

/** One error for everything that the schema refused: the first problem in full, the others in short. */
export function refusal(
  issues: readonly z.core.$ZodIssue[],
  fields: readonly ConfigField[],
  input: unknown,
  sources: ReadonlyMap<string, ConfigSource>,
): ConfigError {
  const problems = issues.map((issue) => problemOf(issue, fields, input, sources));
  const [first, ...rest] = problems;
  const others = rest.map(
    ({ where, expected, received }) => `${where} (expected ${expected}, received ${received})`,
  );
  const fixes = [first!.fix, others.length === 0 ? undefined : `Also wrong: ${others.join('; ')}`];
  const fix = fixes.filter((text) => text !== undefined).join(first!.fix?.endsWith('?') ? ' ' : '. ');
  return new ConfigError({
    where: first!.where,
    expected: first!.expected,
    received: first!.received,
    ...(fix === '' ? {} : { fix }),
  });
}

function problemOf(
  issue: z.core.$ZodIssue,
  fields: readonly ConfigField[],
  input: unknown,
  sources: ReadonlyMap<string, ConfigSource>,
): { where: string; expected: string; received: string; fix: string | undefined } {
  const path = issue.path.map(String);
  const item = fields.find(
    ({ path: own }) => own.length <= path.length && own.every((name, at) => name === path[at]),
  );
  const key = item?.key ?? path.join('.');
  const value = path.reduce<unknown>((inner, name) => (isContainer(inner) ? inner[name] : undefined), input);
  const source =
    sources.get(key) ?? path.map((_, at) => sources.get(path.slice(0, at + 1).join('.'))).find(Boolean);
  if (item !== undefined && source === undefined && value === undefined && issue.code !== 'custom') {
    return {
      where: item.key,
      expected: `a value (${item.description === '' ? item.type : item.description})`,
      received: 'nothing',
      fix: `Pass ${item.flag} <${item.placeholder}>, or write \`${item.key}:\` in the file given by --config`,
    };
  }
  return {
    where:
      source === undefined
        ? key || 'configuration'
        : source.kind === 'file'
          ? `${source.text} (${path.join('.')})`
          : source.text,
    expected: expectedOf(issue, item),
    received: item?.isSecret && value !== undefined ? 'another value, not shown' : shorten(value),
    fix: fixOf(value, item),
  };
}

function expectedOf(issue: z.core.$ZodIssue, item: ConfigField | undefined): string {
  const plural = (count: number | bigint, noun: string): string =>
    `${count} ${noun}${Number(count) === 1 ? '' : 's'}`;
  switch (issue.code) {
    case 'custom':
      return issue.message;
    case 'too_small':
      if (issue.origin === 'string') return `text of at least ${plural(issue.minimum, 'character')}`;
      if (issue.origin === 'array') return `at least ${plural(issue.minimum, 'item')}`;
      break;
    case 'too_big':
      if (issue.origin === 'string') return `text of at most ${plural(issue.maximum, 'character')}`;
      if (issue.origin === 'array') return `at most ${plural(issue.maximum, 'item')}`;
      break;
    case 'invalid_format':
      return issue.message.replace(/^Invalid/, 'valid');
    default:
  }
  return item === undefined ? issue.message : item.type;
}

function fixOf(value: unknown, item: ConfigField | undefined): string | undefined {
  if (item === undefined || typeof value !== 'string' || !item.type.includes(' | ')) return undefined;
  const near = suggest(value, item.type.split(' | '));
  return near === undefined ? undefined : `Did you mean ${near}?`;
}

function shorten(value: unknown): string {
  const text =
    value === undefined ? 'nothing' : typeof value === 'number' ? String(value) : JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}

/** A plain map, not a list. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return isContainer(value) && !Array.isArray(value);
}

function isContainer(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
