/** Rows as a Parquet file, with a schema that fits all of them. */
import type { SchemaElement } from 'hyparquet';
import { fileWriter, ParquetWriter } from 'hyparquet-writer';
import { DataError } from '../../core/errors.ts';
import type { Row } from '../row.ts';
import type { Stream } from '../stream.ts';

/** What the values of a column are, over all rows. */
type Shape =
  | { readonly kind: 'none' }
  | { readonly kind: 'text' | 'boolean' | 'int32' | 'double' | 'bytes' | 'json' }
  | { readonly kind: 'list'; readonly element: Shape }
  | { readonly kind: 'struct'; readonly fields: ReadonlyMap<string, Shape> };

const NONE: Shape = { kind: 'none' };
const JSON_TEXT: Shape = { kind: 'json' };

/** Rows in a row group: what a reader holds in memory at once. */
const GROUP = 1000;

/**
 * Writes a Parquet file: text, booleans, 32-bit integers and doubles, lists, and objects as structs, all optional; Snappy
 * compression, 1000 rows in a group. Values that have no common type, such as tools with different parameters, are
 * written as JSON (the type of Parquet), which reads back as it was; other readers see its text. The rows are read twice,
 * first for the schema.
 *
 * @returns how many rows were written
 * @throws DataError for a column of bytes and something else
 */
export async function writeParquet(path: string, rows: Stream<Row>): Promise<number> {
  const shapes = new Map<string, Shape>();
  let count = 0;
  for await (const { value } of rows.from()) {
    count++;
    for (const [name, cell] of Object.entries(value.columns)) {
      const shape = join(shapes.get(name) ?? NONE, shapeOf(cell));
      if (shape === undefined) {
        throw new DataError({
          where: `${value.where}, \`${name}\``,
          expected: 'a column of bytes throughout',
          received: 'bytes in some rows only',
          fix: 'Leave the column out with --drop',
        });
      }
      shapes.set(name, shape);
    }
  }
  if (count === 0) return 0;
  const columns = [...shapes].map(([name, shape]) => ({ name, shape: settle(shape) }));
  const schema: SchemaElement[] = [
    { name: 'schema', num_children: columns.length },
    ...columns.flatMap(({ name, shape }) => elementsOf(name, shape)),
  ];
  const writer = new ParquetWriter({ writer: fileWriter(path), schema, createdBy: 'heed' });
  let held: Row[] = [];
  const flush = async (): Promise<void> => {
    const data = columns.map(({ name, shape }) => ({
      name,
      data: held.map(({ columns: cells }) => cellFor(cells[name], shape)),
    }));
    await writer.write({ columnData: data, rowGroupSize: GROUP });
    held = [];
  };
  for await (const { value } of rows.from()) {
    held.push(value);
    if (held.length === GROUP) await flush();
  }
  if (held.length > 0) await flush();
  await writer.finish();
  return count;
}

function shapeOf(value: unknown): Shape {
  if (value === undefined || value === null) return NONE;
  if (typeof value === 'string') return { kind: 'text' };
  if (typeof value === 'boolean') return { kind: 'boolean' };
  if (typeof value === 'number')
    return { kind: value === (value | 0) && !Object.is(value, -0) ? 'int32' : 'double' };
  if (value instanceof Uint8Array) return { kind: 'bytes' };
  if (Array.isArray(value)) {
    const element = value.reduce((shape: Shape, entry) => join(shape, shapeOf(entry)) ?? JSON_TEXT, NONE);
    return { kind: 'list', element };
  }
  const entries = Object.entries(value);
  return { kind: 'struct', fields: new Map(entries.map(([name, entry]) => [name, shapeOf(entry)])) };
}

/** The shape that holds both: JSON where nothing narrower does; undefined when one of them is bytes. */
function join(a: Shape, b: Shape): Shape | undefined {
  if (a.kind === 'none') return b;
  if (b.kind === 'none' || (a.kind === b.kind && a.kind !== 'list' && a.kind !== 'struct')) return a;
  if (a.kind === 'list' && b.kind === 'list') {
    const element = join(a.element, b.element);
    return element && { kind: 'list', element };
  }
  if (a.kind === 'struct' && b.kind === 'struct') {
    const fields = new Map(a.fields);
    for (const [name, shape] of b.fields) {
      const joined = join(fields.get(name) ?? NONE, shape);
      if (joined === undefined) return undefined;
      fields.set(name, joined);
    }
    return { kind: 'struct', fields };
  }
  const numbers = new Set(['int32', 'double']);
  if (numbers.has(a.kind) && numbers.has(b.kind)) return { kind: 'double' };
  return a.kind === 'bytes' || b.kind === 'bytes' ? undefined : JSON_TEXT;
}

/**
 * What Parquet can hold: a column without values is text; lists and objects that are always empty are JSON. JSON inside a list or
 * an object makes the whole column JSON, so that other readers meet it in one place.
 */
function settle(shape: Shape): Shape {
  if (shape.kind === 'none') return { kind: 'text' };
  return holdsJson(shape) ? JSON_TEXT : shape;
}

function holdsJson(shape: Shape): boolean {
  if (shape.kind === 'list') return shape.element.kind === 'none' || holdsJson(shape.element);
  if (shape.kind !== 'struct') return shape.kind === 'json';
  return (
    shape.fields.size === 0 ||
    [...shape.fields.values()].some((field) => field.kind === 'none' || holdsJson(field))
  );
}

function elementsOf(name: string, shape: Shape): SchemaElement[] {
  const head = { name, repetition_type: 'OPTIONAL' } as const;
  switch (shape.kind) {
    case 'text':
    case 'none':
      return [{ ...head, type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } }];
    case 'json':
      return [{ ...head, type: 'BYTE_ARRAY', converted_type: 'JSON', logical_type: { type: 'JSON' } }];
    case 'bytes':
      return [{ ...head, type: 'BYTE_ARRAY' }];
    case 'boolean':
      return [{ ...head, type: 'BOOLEAN' }];
    case 'int32':
      return [{ ...head, type: 'INT32' }];
    case 'double':
      return [{ ...head, type: 'DOUBLE' }];
    case 'list':
      return [
        { ...head, num_children: 1, converted_type: 'LIST', logical_type: { type: 'LIST' } },
        { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
        ...elementsOf('element', shape.element),
      ];
    case 'struct':
      return [
        { ...head, num_children: shape.fields.size },
        ...[...shape.fields].flatMap(([field, inner]) => elementsOf(field, inner)),
      ];
  }
}

/** A value for the writer: nothing for what is missing. */
function cellFor(value: unknown, shape: Shape): unknown {
  if (value === undefined || value === null) return undefined;
  if (shape.kind === 'list') return (value as unknown[]).map((entry) => cellFor(entry, shape.element));
  if (shape.kind !== 'struct') return value;
  const cells = value as Readonly<Record<string, unknown>>;
  return Object.fromEntries([...shape.fields].map(([name, field]) => [name, cellFor(cells[name], field)]));
}
