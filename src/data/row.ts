import { DataError } from '../core/errors.ts';

/** One example as a data set gives it: named columns, and where they came from. */
export interface Row {
  /** For messages: `train.jsonl, row 3`. */
  readonly where: string;
  readonly columns: Readonly<Record<string, unknown>>;
}

/** Objects in memory as rows, numbered from 1. */
export function toRows(objects: readonly Readonly<Record<string, unknown>>[], name = 'rows'): Row[] {
  return objects.map((columns, index) => {
    const where = `${name}, row ${index + 1}`;
    return { where, columns: withoutNulls(columns, where) };
  });
}

/** Deepest nesting of a cell. */
const MAX_DEPTH = 200;

/**
 * Without keys whose value is null, at every depth: Arrow fills keys that an object lacks with null, and chat templates
 * treat a null `tool_calls` as present. A null column is a missing column. Elements of lists are kept.
 *
 * @throws DataError for values nested deeper than 200, which would overflow the stack of whatever reads them
 */
export function withoutNulls<T>(value: T, where = 'row', depth = 0): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  if (depth > MAX_DEPTH) {
    throw new DataError({
      where,
      expected: `values nested at most ${MAX_DEPTH} deep`,
      received: 'deeper ones',
      fix: 'Store deep values as JSON text',
    });
  }
  if (Array.isArray(value)) return value.map((entry) => withoutNulls(entry, where, depth + 1)) as T;
  const entries = Object.entries(value).filter(([, entry]) => entry !== null && entry !== undefined);
  return Object.fromEntries(entries.map(([key, entry]) => [key, withoutNulls(entry, where, depth + 1)])) as T;
}
