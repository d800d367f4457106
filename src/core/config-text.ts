/** Text from a flag or an environment variable → the value that a schema expects. */
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { unwrap } from './config.ts';

const TRUE = new Set(['true', 'yes', 'on', '1']);
const FALSE = new Set(['false', 'no', 'off', '0']);

/**
 * Reads `text` as the schema's type: `1e-5` for a number, `true`, `yes`, `on`, `1` for a boolean, `a,b` or `[a, b]`
 * for a list, `{a: 1}` for a map, `null` or `none` where null is allowed. Text that fits nothing comes back as it is, so that
 * the schema refuses it and the error shows what the user wrote.
 */
export function parseConfigText(text: string, schema: z.ZodType): unknown {
  const trimmed = text.trim();
  if ((trimmed === 'null' || trimmed === 'none') && schema.safeParse(null).success) return null;
  const inner = unwrap(schema);
  if (inner instanceof z.ZodNumber) return numberOf(trimmed) ?? text;
  if (inner instanceof z.ZodBoolean) return booleanOf(trimmed) ?? text;
  if (inner instanceof z.ZodLiteral)
    return inner.def.values.find((value) => String(value) === trimmed) ?? text;
  if (inner instanceof z.ZodArray) {
    if (trimmed.startsWith('[')) return yamlOf(trimmed) ?? text;
    const element = inner.element as z.ZodType;
    return trimmed === '' ? [] : trimmed.split(',').map((part) => parseConfigText(part.trim(), element));
  }
  if (inner instanceof z.ZodUnion) {
    for (const option of inner.options as z.ZodType[]) {
      const value = parseConfigText(text, option);
      if (option.safeParse(value).success) return value;
    }
    return text;
  }
  if (inner instanceof z.ZodString || inner instanceof z.ZodEnum) return text;
  return yamlOf(trimmed) ?? text;
}

function numberOf(text: string): number | undefined {
  const value = text === '' ? Number.NaN : Number(text);
  return Number.isNaN(value) ? undefined : value;
}

function booleanOf(text: string): boolean | undefined {
  const lower = text.toLowerCase();
  if (TRUE.has(lower)) return true;
  return FALSE.has(lower) ? false : undefined;
}

function yamlOf(text: string): unknown {
  try {
    return parseYaml(text) as unknown;
  } catch {
    return undefined;
  }
}
