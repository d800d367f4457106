/** A resolved configuration as YAML. */
import { stringify as stringifyYaml } from 'yaml';
import type { z } from 'zod';
import { type ConfigOf, type ConfigSchema, describeConfig, objectShape } from './config.ts';
import { isRecord } from './config-errors.ts';
import type { ResolvedConfig } from './resolve-config.ts';

/** Stands for the value of a secret. */
export const MASK = '********';

/**
 * The configuration as a YAML file that heed reads back, each key followed by a comment that names its source. Keys
 * without a value are comments, and so are secrets, whose value is left out.
 */
export function formatConfig<S extends ConfigSchema>(
  schema: S,
  resolved: ResolvedConfig<ConfigOf<S>>,
): string {
  const secrets = secretKeys(schema);
  const rows: { text: string; comment: string }[] = [];
  const visit = (object: z.ZodType, value: unknown, parents: readonly string[], indent: string): void => {
    for (const [name, child] of Object.entries(objectShape(object) ?? {})) {
      const path = [...parents, name];
      const item = isRecord(value) ? value[name] : undefined;
      const comment = resolved.sources.get(path.join('.'))?.text ?? '';
      if (objectShape(child) !== undefined && isRecord(item)) {
        rows.push({ text: `${indent}${name}:`, comment });
        visit(child, item, path, `${indent}  `);
      } else if (item === undefined) {
        rows.push({ text: `${indent}# ${name}:`, comment: 'not set' });
      } else if (secrets.has(path.join('.'))) {
        rows.push({ text: `${indent}# ${name}: ${MASK}`, comment });
      } else {
        rows.push({ text: `${indent}${name}: ${inlineYaml(item)}`, comment });
      }
    }
  };
  visit(schema, resolved.value, [], '');
  const width = Math.min(48, Math.max(0, ...rows.map(({ text }) => text.length)));
  return rows
    .map(({ text, comment }) => (comment === '' ? text : `${text.padEnd(width)}  # ${comment}`))
    .map((line) => `${line}\n`)
    .join('');
}

/** The configuration without the values of secrets. */
export function withoutSecrets<S extends ConfigSchema>(
  schema: S,
  value: ConfigOf<S>,
): Record<string, unknown> {
  const secrets = secretKeys(schema);
  const copy = (
    inner: Readonly<Record<string, unknown>>,
    parents: readonly string[],
  ): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(inner)
        .filter(([name]) => !secrets.has([...parents, name].join('.')))
        .map(([name, item]) => [name, isRecord(item) ? copy(item, [...parents, name]) : item]),
    );
  return copy(value, []);
}

const secretKeys = (schema: ConfigSchema): ReadonlySet<string> =>
  new Set(describeConfig(schema).flatMap(({ key, isSecret }) => (isSecret ? [key] : [])));

function inlineYaml(value: unknown): string {
  const text = stringifyYaml(value, { collectionStyle: 'flow', lineWidth: 0, defaultStringType: 'PLAIN' });
  // Only the line end: `trim` would take spaces that belong to the value, such as a no-break space.
  return text.replace(/\n$/, '');
}
