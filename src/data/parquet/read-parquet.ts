/** Rows of a Parquet file. Decoding is hyparquet's; what the file claims of its sizes is checked before. */
import { open } from 'node:fs/promises';
import {
  type DecodedArray,
  type FileMetaData,
  type ParquetParsers,
  parquetMetadata,
  parquetSchema,
  type RowGroup,
  type SchemaTree,
} from 'hyparquet';
import { assembleNested } from 'hyparquet/src/assemble.js';
import { DEFAULT_PARSERS } from 'hyparquet/src/convert.js';
import { getTreePath } from 'hyparquet/src/schema.js';
import { DataError } from '../../core/errors.ts';
import { damaged, named } from './damaged.ts';
import { readChunk } from './read-chunk.ts';
import { checkThrift, FileClaimError } from './thrift.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** hyparquet's conversions, but text that is not UTF-8 is an error instead of replacement characters. */
const parsers: ParquetParsers = {
  ...DEFAULT_PARSERS,
  stringFromBytes: (bytes) => bytes && utf8.decode(bytes),
  jsonFromBytes: (bytes) => bytes && JSON.parse(utf8.decode(bytes)),
};

/** Bytes that are read by their place. */
export interface ByteSource {
  readonly size: number;
  /** Memory of its own. */
  read(start: number, end: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A file as a source. @throws what the file system throws */
async function fileSource(path: string): Promise<ByteSource> {
  const file = await open(path);
  const { size } = await file.stat();
  return {
    size,
    async read(start, end) {
      const bytes = new Uint8Array(end - start);
      for (let at = 0; at < bytes.length; ) {
        const { bytesRead } = await file.read(bytes, at, bytes.length - at, start + at);
        if (bytesRead === 0) {
          throw damaged(path, start + at, 'a file that became shorter while it was read');
        }
        at += bytesRead;
      }
      return bytes;
    },
    close: () => file.close(),
  };
}

/** A Parquet file whose footer was read. */
export interface ParquetFile {
  readonly rows: number;
  /** Top-level columns. */
  readonly columns: readonly string[];
  /** Rows from `start` on, a page of each column in memory at a time; row groups before it are not read. */
  read(start?: number): AsyncGenerator<Readonly<Record<string, unknown>>, void, undefined>;
  close(): Promise<void>;
}

/**
 * Opens a Parquet file: Snappy, gzip, Brotli, Zstandard, LZ4_RAW or no compression; pages of version 1 and 2; all encodings
 * of hyparquet. Numbers of 64 bits become numbers where they are exact and decimal text elsewhere, numbers that are not finite
 * (NaN stands for nothing in pandas) are missing, dates become ISO text; bytes that
 * are not marked as text become text where they are UTF-8. No memory is asked for by a size that the bytes do not prove, and
 * pages whose header has a checksum are compared with it.
 *
 * @param path also the name in errors
 * @param source of the bytes; the file at `path` when left out
 * @throws DataError naming the file, the row group, the column, the page and the byte
 */
export async function openParquet(path: string, source?: ByteSource): Promise<ParquetFile> {
  const file = source ?? (await fileSource(path));
  try {
    const metadata = await readFooter(file, path);
    const tree = named(path, undefined, () => checkMetadata(metadata, file.size));
    return {
      rows: Number(metadata.num_rows),
      columns: tree.children.map(({ element }) => element.name),
      async *read(start = 0) {
        let first = 0;
        for (const [index, group] of metadata.row_groups.entries()) {
          const count = Number(group.num_rows);
          if (start < first + count) {
            let at = first;
            for await (const { count: rows, columns } of readGroup(file, path, tree, group, index)) {
              for (let row = Math.max(0, start - at); row < rows; row++) {
                yield Object.fromEntries(columns.map(({ name, values }) => [name, plain(values[row])]));
              }
              at += rows;
            }
          }
          first += count;
        }
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

const FOOTER = 8;

async function readFooter(file: ByteSource, path: string): Promise<FileMetaData> {
  const { size } = file;
  const tail = await file.read(Math.max(0, size - FOOTER), size);
  const magic = new TextDecoder().decode(tail.subarray(4));
  if (size < FOOTER + 4 || magic !== 'PAR1') {
    throw new DataError({
      where: `${path}, byte ${Math.max(0, size - 4)}`,
      expected: 'a Parquet file, which ends with PAR1',
      received: magic === 'PARE' ? 'an encrypted one' : JSON.stringify(magic),
      fix: magic === 'PARE' ? 'Decrypt it first' : 'Download or write the file again: its end is missing',
    });
  }
  const length = new DataView(tail.buffer, tail.byteOffset).getUint32(0, true);
  const start = size - FOOTER - length;
  if (start < 4) {
    throw damaged(path, size - FOOTER, `a footer of ${length} bytes in a file of ${size}`);
  }
  const bytes = await file.read(start, size);
  return named(path, start, () => {
    checkThrift(bytes.subarray(0, length), 0);
    // Statistics are not used and may hold text cut within a character.
    return parquetMetadata(bytes, { geoparquet: false });
  });
}

/** Sizes, counts and offsets of the footer that do not agree with each other or the file. */
function checkMetadata(metadata: FileMetaData, size: number): SchemaTree {
  const { schema } = metadata;
  if (schema.length > 10_000) throw new FileClaimError(0, `a schema of ${schema.length} elements`);
  checkSchema(metadata);
  const tree = parquetSchema(metadata);
  const names = tree.children.map(({ element }) => element.name);
  if (new Set(names).size !== names.length) throw new FileClaimError(0, 'two columns of one name');
  let rows = 0n;
  let total = 0n;
  for (const [index, group] of metadata.row_groups.entries()) {
    if (!(group.num_rows >= 0n))
      throw new FileClaimError(0, `row group ${index + 1} of ${group.num_rows} rows`);
    rows += group.num_rows;
    for (const { meta_data: meta, file_path: other } of group.columns) {
      if (other !== undefined) throw new FileClaimError(0, `columns in another file, ${other}`);
      if (meta === undefined)
        throw new FileClaimError(0, `a column without a description in row group ${index + 1}`);
      const start = chunkStart(meta);
      const length = meta.total_compressed_size;
      if (!(start >= 4n && length >= 0n && start + length <= BigInt(size))) {
        throw new FileClaimError(
          0,
          `the column ${meta.path_in_schema.join('.')} at bytes ${start} to ${start + length}`,
        );
      }
      total += length;
    }
  }
  if (total > BigInt(size)) throw new FileClaimError(0, `columns of ${total} bytes in a file of ${size}`);
  if (rows !== metadata.num_rows) {
    throw new FileClaimError(0, `${metadata.num_rows} rows, in row groups that have ${rows}`);
  }
  return tree;
}

/** The children that the elements claim, without building the tree. */
function checkSchema({ schema }: FileMetaData): void {
  const open: number[] = [];
  for (const [index, element] of schema.entries()) {
    const children = element.num_children ?? 0;
    if (!(children >= 0 && children < schema.length) || open.length > 32) {
      throw new FileClaimError(0, `a schema element with ${children} children at depth ${open.length}`);
    }
    if (index > 0) {
      if (open.length === 0) throw new FileClaimError(0, 'schema elements that belong to none');
      open[open.length - 1]!--;
    }
    if (children > 0) open.push(children);
    while (open.at(-1) === 0) open.pop();
  }
  if (open.length > 0 || schema.length === 0) throw new FileClaimError(0, 'a schema whose end is missing');
}

/** Rows of a row group in all columns, some at a time: as many as the pages of every column have completed. */
async function* readGroup(
  file: ByteSource,
  path: string,
  tree: SchemaTree,
  group: RowGroup,
  index: number,
): AsyncGenerator<Batch, void, undefined> {
  const rows = Number(group.num_rows);
  const where = (column: string): string => `${path}, row group ${index + 1}, column ${column}`;
  const leaves = new Map<string, Leaf>();
  for (const { meta_data: meta } of group.columns) {
    const { path_in_schema: parts, codec, type } = meta!;
    const name = parts.join('.');
    const place = where(name);
    const start = Number(chunkStart(meta!));
    const schemaPath = named(place, start, () => getTreePath(tree, parts));
    const element = schemaPath.at(-1)!.element;
    if (leaves.has(name) || element.type !== type) {
      throw damaged(place, start, `values of the type ${type} for a column of ${element.type}`);
    }
    const decoder = { pathInSchema: parts, type, element, schemaPath, codec, parsers, utf8: false };
    const end = start + Number(meta!.total_compressed_size);
    const read = (from: number, to: number): Promise<Uint8Array> => file.read(from, to);
    leaves.set(name, { pages: readChunk({ read, start, end, rows, place }, decoder), held: [], from: 0 });
  }
  for (let done = 0; done < rows; ) {
    let count = rows - done;
    for (const leaf of leaves.values()) {
      if (leaf.from === leaf.held.length) {
        const { value } = await leaf.pages.next();
        Object.assign(leaf, { held: value ?? [], from: 0 });
      }
      count = Math.min(count, leaf.held.length - leaf.from);
    }
    const ready = new Map<string, DecodedArray>();
    for (const [name, leaf] of leaves) {
      ready.set(name, leaf.held.slice(leaf.from, leaf.from + count));
      leaf.from += count;
    }
    done += count;
    const columns = tree.children.map((child) => {
      const { name } = child.element;
      return named(where(name), undefined, () => {
        if (child.children.length > 0) assembleNested(ready, child, parsers);
        const values = ready.get(name);
        if (values === undefined || values.length !== count || count === 0) {
          throw new FileClaimError(0, `${values?.length ?? 'no'} values for ${count || rows} rows`);
        }
        return { name, values };
      });
    });
    yield { count, columns };
  }
  // Pages behind the last row are an error that the reader of a column finds.
  for (const { pages } of leaves.values()) await pages.next();
}

/** A column while its row group is read: the rows that its last page gave, and the first that was not passed on. */
interface Leaf {
  readonly pages: AsyncGenerator<DecodedArray, void, undefined>;
  held: DecodedArray;
  from: number;
}

interface Batch {
  readonly count: number;
  readonly columns: readonly { readonly name: string; readonly values: DecodedArray }[];
}

/** Dictionaries come before the data; some writers leave their offset out or write 0. */
function chunkStart(meta: NonNullable<RowGroup['columns'][number]['meta_data']>): bigint {
  return meta.dictionary_page_offset || meta.data_page_offset;
}

/** A cell as JSON could hold it. */
function plain(value: unknown): unknown {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : value.toISOString();
  if (value instanceof Uint8Array) {
    try {
      return utf8.decode(value);
    } catch {
      return value;
    }
  }
  // A null list or object within a list comes as undefined.
  if (Array.isArray(value)) return value.map((entry) => plain(entry) ?? null);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, plain(entry)]));
}
