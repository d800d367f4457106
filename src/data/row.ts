/** One example as a data set gives it: named columns, and where they came from. */
export interface Row {
  /** For messages: `train.jsonl, row 3`. */
  readonly where: string;
  readonly columns: Readonly<Record<string, unknown>>;
}

/** Objects in memory as rows, numbered from 1. */
export function toRows(objects: readonly Readonly<Record<string, unknown>>[], name = 'rows'): Row[] {
  return objects.map((columns, index) => ({
    where: `${name}, row ${index + 1}`,
    columns: withoutNulls(columns),
  }));
}

/**
 * Without keys whose value is null, at every depth: Arrow fills keys that an object lacks with null, and chat templates
 * treat a null `tool_calls` as present. A null column is a missing column. Elements of lists are kept.
 */
export function withoutNulls<T>(value: T): T {
  if (Array.isArray(value)) return value.map(withoutNulls) as T;
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, entry]) => entry !== null);
  return Object.fromEntries(entries.map(([key, entry]) => [key, withoutNulls(entry)])) as T;
}
