/** The values of one column in one row group, page by page. Decoding is hyparquet's; sizes and checksums are checked before. */
import type { DecodedArray } from 'hyparquet';
import { assembleLists } from 'hyparquet/src/assemble.js';
import { parquetHeader } from 'hyparquet/src/column.js';
import { convert, convertWithDictionary } from 'hyparquet/src/convert.js';
import { readDataPage, readDataPageV2 } from 'hyparquet/src/datapage.js';
import { readPlain } from 'hyparquet/src/plain.js';
import { getMaxRepetitionLevel } from 'hyparquet/src/schema.js';
import { checkDataPage, checkDictionary, checkIndexes } from './check-page.ts';
import { crc32 } from './crc32.ts';
import { damaged, named } from './damaged.ts';
import { inflatePage } from './inflate.ts';
import { checkThrift, FileClaimError } from './thrift.ts';

export type ColumnDecoder = Parameters<typeof readDataPage>[2];
type PageHeader = ReturnType<typeof parquetHeader>;

/** Bytes of a file by their place; the result is memory of its own. */
type ReadBytes = (start: number, end: number) => Promise<Uint8Array>;

/** Bytes that are read ahead, and that a page header is looked for in at first. */
const WINDOW = 1 << 20;
const HEADER = 1 << 16;

/** The bytes of a chunk from the front, read as they are needed. */
interface Window {
  at(): number;
  left(): number;
  /** The next bytes: at least `count`, or all that are left. */
  bytes(count: number): Promise<Uint8Array>;
  skip(count: number): void;
}

function openWindow(read: ReadBytes, start: number, end: number): Window {
  let held = new Uint8Array(0);
  let heldAt = start;
  let at = start;
  return {
    at: () => at,
    left: () => end - at,
    async bytes(count) {
      const wanted = Math.min(count, end - at);
      if (heldAt + held.length - at < wanted) {
        held = new Uint8Array(await read(at, Math.min(end, at + Math.max(wanted, WINDOW))));
        heldAt = at;
      }
      return held.subarray(at - heldAt);
    },
    skip(count) {
      at += count;
    },
  };
}

export interface ChunkPlace {
  readonly read: ReadBytes;
  readonly start: number;
  readonly end: number;
  /** Rows of the row group. */
  readonly rows: number;
  /** File, row group and column, for errors. */
  readonly place: string;
}

/**
 * The rows of a column, some at a time: those that a page completes. In memory are a page, its values, the dictionary, and a
 * window of the file.
 *
 * @throws DataError naming the page and the byte
 */
export async function* readChunk(
  chunk: ChunkPlace,
  decoder: ColumnDecoder,
): AsyncGenerator<DecodedArray, void, undefined> {
  const { rows, place, start } = chunk;
  const window = openWindow(chunk.read, start, chunk.end);
  // The last row of a list column may go on in further pages.
  const lists = getMaxRepetitionLevel(decoder.schemaPath) > 0;
  let dictionary: DecodedArray | undefined;
  let open: unknown[] = [];
  let seen = 0;
  for (let number = 1; seen < rows || (lists && window.left() > 0); number++) {
    const pageAt = window.at();
    if (window.left() === 0) throw damaged(place, pageAt, `pages of ${seen} rows, not ${rows}`);
    const where = `${place}, page ${number}`;
    const { header, length } = await readHeader(window, where);
    window.skip(length);
    const { compressed_page_size: size, uncompressed_page_size: inflated } = header;
    // A damaged header can hold a 64-bit integer here, which comes as a BigInt.
    const counts = Number.isInteger(size) && Number.isInteger(inflated);
    if (!(counts && size >= 0 && inflated >= 0 && size <= window.left())) {
      throw damaged(where, pageAt, `a page of ${size} bytes where ${window.left()} are left`);
    }
    const page = (await window.bytes(size)).subarray(0, size);
    window.skip(size);
    const values = named(where, pageAt, () => {
      checkSum(page, header);
      if (header.type === 'DICTIONARY_PAGE') {
        dictionary = readDictionary(page, header, decoder);
        return open;
      }
      const { values, found } = readValues(page, header, decoder, dictionary, open, rows - seen);
      seen += found;
      return values;
    });
    const whole = lists ? values.length - 1 : values.length;
    open = Array.from(values.slice(Math.max(whole, 0)));
    if (whole > 0) yield values.slice(0, whole);
  }
  if (seen !== rows) throw damaged(place, start, `pages of ${seen} rows, not ${rows}`);
  if (open.length > 0) yield open;
}

/** The header of the next page, and its length. */
async function readHeader(window: Window, where: string): Promise<{ header: PageHeader; length: number }> {
  for (let tried = HEADER; ; tried *= 16) {
    const bytes = await window.bytes(tried);
    try {
      checkThrift(bytes, 0);
    } catch (error) {
      // Statistics may be long: the header may end behind what was read.
      if (error instanceof FileClaimError && bytes.length < window.left()) continue;
      throw damaged(where, window.at() + (error as FileClaimError).offset, (error as Error).message, error);
    }
    return named(where, window.at(), () => {
      const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 };
      return { header: parquetHeader(reader), length: reader.offset };
    });
  }
}

/** Compares the bytes of a page with the checksum of its header, where it has one. */
function checkSum(page: Uint8Array, { crc }: PageHeader): void {
  if (crc === undefined) return;
  const [own, stated] = [crc32(page), crc >>> 0].map((sum) => sum.toString(16).padStart(8, '0'));
  if (own !== stated)
    throw new FileClaimError(0, `bytes with the checksum ${own} where their header says ${stated}`);
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
  /** Of a list column: the last row, which the page may go on with. */
  open: unknown[],
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
  const { definitionLevels, repetitionLevels } = decoded;
  // A page of no values would be given one row that is empty.
  if (definitionLevels?.length === 0 && repetitionLevels.length === 0 && values.length === 0) {
    return { values: open, found: rows };
  }
  return {
    values: assembleLists(open, definitionLevels, repetitionLevels, values, schemaPath),
    found: rows,
  };
}
