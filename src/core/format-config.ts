/** A resolved configuration as YAML. */
import { stringify as stringifyYaml } from 'yaml';
import type { z } from 'zod';
import { type ConfigOf, type ConfigSchema, objectShape } from './config.ts';
import { isRecord } from './config-errors.ts';
import type { ResolvedConfig } from './resolve-config.ts';

/**
 * The configuration as a YAML file that heed reads back, each key followed by a comment that names its source. Keys
 * without a value are comments.
 */
export function formatConfig<S extends ConfigSchema>(
  schema: S,
  resolved: ResolvedConfig<ConfigOf<S>>,
): string {
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

function inlineYaml(value: unknown): string {
  const text = stringifyYaml(value, { collectionStyle: 'flow', lineWidth: 0, defaultStringType: 'PLAIN' });
  // Only the line end: `trim` would take spaces that belong to the value, such as a no-break space.
  return text.replace(/\n$/, '');
}
