/** Rows of a Parquet file. Decoding is hyparquet's; what the file claims of its sizes is checked before. */
import { open } from 'node:fs/promises';
import {
  type DecodedArray,
  type FileMetaData,
  flatten,
  type ParquetParsers,
  parquetMetadata,
  parquetSchema,
  type RowGroup,
  type SchemaTree,
} from 'hyparquet';
import { assembleLists, assembleNested } from 'hyparquet/src/assemble.js';
import { parquetHeader } from 'hyparquet/src/column.js';
import { convert, convertWithDictionary, DEFAULT_PARSERS } from 'hyparquet/src/convert.js';
import { readDataPage, readDataPageV2 } from 'hyparquet/src/datapage.js';
import { readPlain } from 'hyparquet/src/plain.js';
import { getMaxRepetitionLevel, getTreePath } from 'hyparquet/src/schema.js';
import { DataError } from '../../core/errors.ts';
import { checkDataPage, checkDictionary, checkIndexes } from './check-page.ts';
import { inflatePage } from './inflate.ts';
import { checkThrift, FileClaimError } from './thrift.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

type ColumnDecoder = Parameters<typeof readDataPage>[2];
type PageHeader = ReturnType<typeof parquetHeader>;

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
  /** Rows from `start` on, one row group in memory at a time; groups before it are not read. */
  read(start?: number): AsyncGenerator<Readonly<Record<string, unknown>>, void, undefined>;
  close(): Promise<void>;
}

/**
 * Opens a Parquet file: Snappy, gzip, Brotli, Zstandard, LZ4_RAW or no compression; pages of version 1 and 2; all encodings
 * of hyparquet. Numbers of 64 bits become numbers where they are exact and decimal text elsewhere, numbers that are not finite
 * (NaN stands for nothing in pandas) are missing, dates become ISO text; bytes that
 * are not marked as text become text where they are UTF-8. No memory is asked for by a size that the bytes do not prove.
 *
 * @param path also the name in errors
 * @param source of the bytes; the file at `path` when left out
 * @throws DataError naming the file, the row group, the column and the byte
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
            const columns = await readGroup(file, path, tree, group, index);
            for (let row = Math.max(0, start - first); row < count; row++) {
              yield Object.fromEntries(columns.map(({ name, values }) => [name, plain(values[row])]));
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

interface Column {
  readonly name: string;
  readonly values: DecodedArray;
}

async function readGroup(
  file: ByteSource,
  path: string,
  tree: SchemaTree,
  group: RowGroup,
  index: number,
): Promise<Column[]> {
  const count = Number(group.num_rows);
  const leaves = new Map<string, DecodedArray>();
  for (const { meta_data: meta } of group.columns) {
    const { path_in_schema: parts, codec, type } = meta!;
    const name = parts.join('.');
    const start = Number(chunkStart(meta!));
    const place = `${path}, row group ${index + 1}, column ${name}`;
    const schemaPath = named(place, start, () => getTreePath(tree, parts));
    const bytes = await file.read(start, start + Number(meta!.total_compressed_size));
    const element = schemaPath.at(-1)!.element;
    if (leaves.has(name) || element.type !== type) {
      throw damaged(place, start, `values of the type ${type} for a column of ${element.type}`);
    }
    const decoder: ColumnDecoder = {
      pathInSchema: parts,
      type,
      element,
      schemaPath,
      codec,
      parsers,
      utf8: false,
    };
    leaves.set(name, readChunk(bytes, decoder, count, place, start));
  }
  return tree.children.map((child) => {
    const { name } = child.element;
    return named(`${path}, row group ${index + 1}, column ${name}`, undefined, () => {
      if (child.children.length > 0) assembleNested(leaves, child, parsers);
      const values = leaves.get(name);
      if (values === undefined || values.length !== count) {
        throw new FileClaimError(0, `${values?.length ?? 'no'} values for ${count} rows`);
      }
      return { name, values };
    });
  });
}

/** The pages of one column in one row group. */
function readChunk(
  bytes: Uint8Array,
  decoder: ColumnDecoder,
  rows: number,
  place: string,
  start: number,
): DecodedArray {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const reader = { view, offset: 0 };
  const chunks: DecodedArray[] = [];
  let dictionary: DecodedArray | undefined;
  let seen = 0;
  // The last row of a list column may go on in further pages.
  const lists = getMaxRepetitionLevel(decoder.schemaPath) > 0;
  while (seen < rows || (lists && reader.offset < bytes.length)) {
    const pageAt = reader.offset;
    if (pageAt >= bytes.length) throw damaged(place, start + pageAt, `pages of ${seen} rows, not ${rows}`);
    named(place, start + pageAt, () => {
      checkThrift(bytes, pageAt);
      const header = parquetHeader(reader);
      const { compressed_page_size: size, uncompressed_page_size: inflated } = header;
      if (!(size >= 0 && inflated >= 0 && reader.offset + size <= bytes.length)) {
        const left = bytes.length - reader.offset;
        throw new FileClaimError(0, `a page of ${size} bytes where ${left} are left`);
      }
      const page = bytes.subarray(reader.offset, reader.offset + size);
      reader.offset += size;
      if (header.type === 'DICTIONARY_PAGE') {
        dictionary = readDictionary(page, header, decoder);
        return;
      }
      const last = chunks.at(-1);
      const { values, found } = readValues(page, header, decoder, dictionary, last, rows - seen);
      if (values !== last && values.length > 0) chunks.push(values);
      seen += found;
    });
  }
  if (seen !== rows) throw damaged(place, start, `pages of ${seen} rows, not ${rows}`);
  return flatten(chunks);
}

function readDictionary(page: Uint8Array, header: PageHeader, decoder: ColumnDecoder): DecodedArray {
  const count = header.dictionary_page_header?.num_values ?? -1;
  const bytes = inflatePage(decoder.codec, page, header.uncompressed_page_size);
  checkDictionary(bytes, count, decoder.element);
  const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 };
  return convert(readPlain(reader, decoder.type, count, decoder.element.type_length), decoder);
}

function readValues(
  page: Uint8Array,
  header: PageHeader,
  decoder: ColumnDecoder,
  dictionary: DecodedArray | undefined,
  previous: DecodedArray | undefined,
  rowsDue: number,
): { values: DecodedArray; found: number } {
  const { codec, schemaPath } = decoder;
  const { data_page_header: one, data_page_header_v2: two, uncompressed_page_size: size } = header;
  let decoded: ReturnType<typeof readDataPage>;
  let rows: number;
  const encoding = (header.type === 'DATA_PAGE' ? one : two)?.encoding;
  if (header.type === 'DATA_PAGE' && one !== undefined) {
    const bytes = inflatePage(codec, page, size);
    ({ rows } = checkDataPage({ bytes, count: one.num_values, encoding: one.encoding, rowsDue }, schemaPath));
    decoded = readDataPage(bytes, one, decoder);
  } else if (header.type === 'DATA_PAGE_V2' && two !== undefined) {
    const levelLengths = {
      repetition: two.repetition_levels_byte_length,
      definition: two.definition_levels_byte_length,
    };
    const levels = levelLengths.repetition + levelLengths.definition;
    if (
      !(levelLengths.repetition >= 0 && levelLengths.definition >= 0 && levels <= Math.min(page.length, size))
    ) {
      throw new FileClaimError(0, `levels of ${levels} bytes in a page of ${page.length}`);
    }
    const body = page.subarray(levels);
    const values = two.is_compressed === false ? body : inflatePage(codec, body, size - levels);
    const bytes = new Uint8Array(levels + values.length);
    bytes.set(page.subarray(0, levels));
    bytes.set(values, levels);
    const claim = {
      bytes,
      count: two.num_values,
      encoding: two.encoding,
      levelLengths,
      rowsDue,
      nulls: two.num_nulls,
    };
    ({ rows } = checkDataPage(claim, schemaPath));
    const plainHeader = { ...header, data_page_header_v2: { ...two, is_compressed: false } };
    decoded = readDataPageV2(bytes, plainHeader, decoder);
  } else {
    throw new FileClaimError(0, `a page of the type ${header.type}`);
  }
  if (encoding!.endsWith('_DICTIONARY')) checkIndexes(decoded.dataPage, dictionary);
  const values = convertWithDictionary(decoded.dataPage, dictionary, encoding!, decoder);
  const output = Array.isArray(previous) ? previous : [];
  const { definitionLevels, repetitionLevels } = decoded;
  return {
    values: assembleLists(output, definitionLevels, repetitionLevels, values, schemaPath),
    found: rows,
  };
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

/** Runs a decoder; what it throws becomes an error that names the place. */
function named<T>(place: string, start: number | undefined, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    const message = cause instanceof Error ? cause.message : String(cause);
    const inner = cause instanceof FileClaimError ? cause.offset : 0;
    throw damaged(place, start === undefined ? undefined : start + inner, message, cause);
  }
}

function damaged(place: string, byte: number | undefined, received: string, cause?: unknown): DataError {
  return new DataError({
    where: byte === undefined ? `${place}, footer` : `${place}, byte ${byte}`,
    expected: 'a Parquet file whose sizes and bytes agree',
    received,
    fix: 'Download or write the file again',
    ...(cause === undefined ? {} : { cause }),
  });
}
