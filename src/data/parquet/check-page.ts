/** What a page says of its values, compared with its bytes before a decoder allocates for it. */
import type { DecodedArray, SchemaElement, SchemaTree } from 'hyparquet';
import { deltaBinaryUnpack } from 'hyparquet/src/delta.js';
import { getMaxDefinitionLevel, getMaxRepetitionLevel } from 'hyparquet/src/schema.js';
import { FileClaimError } from './thrift.ts';

/** A data page with its levels and values inflated. */
export interface PageClaim {
  readonly bytes: Uint8Array;
  readonly count: number;
  readonly encoding: string;
  /** Byte lengths of the levels; undefined: each is preceded by its length (version 1). */
  readonly levelLengths?: { readonly repetition: number; readonly definition: number };
  /** Rows of the row group that are still due. */
  readonly rowsDue: number;
  /** Nulls that the header claims (version 2). */
  readonly nulls?: number;
}

/** Values that a page may hold beyond eight for each of its bytes: long runs of one value take no bytes. */
const FREE_VALUES = 1 << 20;

/** Repetition levels start rows where they are 0; flat columns have one value per row. */
export interface PageFacts {
  readonly rows: number;
}

/**
 * Checks that the runs of levels hold exactly `count` values, that the values that are not null fit into the bytes left, and
 * that all counts are ones that the encoding can have.
 *
 * @throws FileClaimError with the offset in the page
 */
export function checkDataPage(page: PageClaim, path: readonly SchemaTree[]): PageFacts {
  const { bytes, count, levelLengths } = page;
  if (!(Number.isInteger(count) && count >= 0 && count <= FREE_VALUES + 8 * bytes.length)) {
    throw new FileClaimError(0, `${count} values in a page of ${bytes.length} bytes`);
  }
  let at = 0;
  let nulls = 0;
  let rows = count;
  const levels = (max: number, length: number | undefined, counted: number): number => {
    const size = length ?? uint32(bytes, at);
    const start = length === undefined ? at + 4 : at;
    if (!(size >= 0 && start + size <= bytes.length)) {
      throw new FileClaimError(at, `levels of ${size} bytes where ${bytes.length - start} are left`);
    }
    at = start + size;
    if (max === 0 && size > 0) throw new FileClaimError(start, `levels of ${size} bytes in a column without`);
    return max === 0 ? 0 : checkRuns(bytes, start, at, 32 - Math.clz32(max), count, counted);
  };
  const maxRepetition = getMaxRepetitionLevel(path as SchemaTree[]);
  if (maxRepetition === 0 && count > page.rowsDue) {
    throw new FileClaimError(0, `${count} values where ${page.rowsDue} rows are due`);
  }
  const maxDefinition = getMaxDefinitionLevel(path as SchemaTree[]);
  if (levelLengths !== undefined || maxRepetition > 0) {
    const starts = levels(maxRepetition, levelLengths?.repetition, 0);
    if (maxRepetition > 0) rows = starts;
  }
  if (levelLengths !== undefined || maxDefinition > 0) {
    const present = levels(maxDefinition, levelLengths?.definition, maxDefinition);
    if (maxDefinition > 0) nulls = count - present;
  }
  if (page.nulls !== undefined && page.nulls !== nulls) {
    throw new FileClaimError(0, `${page.nulls} nulls in a page that has ${nulls}`);
  }
  const { element } = path.at(-1)!;
  checkValues(bytes, at, count - nulls, page.encoding, element, levelLengths !== undefined);
  return { rows };
}

/** Checks a dictionary: `count` plain values. @throws FileClaimError */
export function checkDictionary(bytes: Uint8Array, count: number, element: SchemaElement): void {
  checkValues(bytes, 0, count, 'PLAIN', element, false);
}

/** Checks that every index of a page names a value of the dictionary. @throws FileClaimError */
export function checkIndexes(indexes: DecodedArray, dictionary: DecodedArray | undefined): void {
  const size = dictionary?.length ?? 0;
  for (let index = 0; index < indexes.length; index++) {
    if (!((indexes[index] as number) < size)) {
      throw new FileClaimError(0, `the index ${indexes[index]} into a dictionary of ${size} values`);
    }
  }
}

/**
 * Walks the run-length and bit-packed runs of `count` values.
 *
 * @returns how many values are `counted`; 0 when it is negative
 * @source apache/parquet-format, `Encodings.md`, "Run Length Encoding / Bit-Packing Hybrid"
 */
function checkRuns(
  bytes: Uint8Array,
  start: number,
  end: number,
  width: number,
  count: number,
  counted: number,
): number {
  let at = start;
  let seen = 0;
  let found = 0;
  while (seen < count) {
    let header = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = at < end ? bytes[at]! : -1;
      if (byte < 0 || shift > 28) throw new FileClaimError(at, `runs of ${seen} values, not ${count}`);
      at++;
      header += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    const left = count - seen;
    if (header % 2 === 1) {
      const packed = 8 * Math.floor(header / 2);
      const used = Math.min(packed, left);
      // Writers fill the last group; one that claims many more than are left lies.
      if (packed === 0 || packed > left + 504 || at + Math.ceil((used * width) / 8) > end) {
        throw new FileClaimError(at, `${packed} packed values of ${width} bits where ${left} are due`);
      }
      for (let index = 0; counted >= 0 && index < used; index++) {
        if (unpack(bytes, at, index * width, width) === counted) found++;
      }
      at += (packed * width) / 8;
      seen += used;
    } else {
      const run = header / 2;
      const size = Math.ceil(width / 8);
      if (run === 0 || run > left || at + size > end) {
        throw new FileClaimError(at, `a run of ${run} values where ${left} are due`);
      }
      let value = 0;
      for (let index = 0; index < size; index++) value += bytes[at + index]! * 2 ** (8 * index);
      if (value === counted) found += run;
      at += size;
      seen += run;
    }
  }
  return found;
}

function unpack(bytes: Uint8Array, at: number, bit: number, width: number): number {
  let value = 0;
  for (let index = 0; index < width; index++) {
    const position = bit + index;
    value += ((bytes[at + (position >> 3)]! >> (position & 7)) & 1) * 2 ** index;
  }
  return value;
}

function checkValues(
  bytes: Uint8Array,
  start: number,
  count: number,
  encoding: string,
  element: SchemaElement,
  version2: boolean,
): void {
  const left = bytes.length - start;
  const atLeast = (size: number): void => {
    if (!(count >= 0 && size <= left)) {
      throw new FileClaimError(start, `${count} values of ${size} bytes where ${left} are left`);
    }
  };
  switch (encoding) {
    case 'PLAIN':
      if (element.type === 'BYTE_ARRAY') checkByteArrays(bytes, start, count);
      else atLeast(element.type === 'BOOLEAN' ? Math.ceil(count / 8) : count * widthOf(element, start));
      return;
    case 'RLE':
      if (element.type !== 'BOOLEAN') throw new FileClaimError(start, `runs of the type ${element.type}`);
      if (count > 0) checkRuns(bytes, start + 4, bytes.length, 1, count, 1);
      return;
    case 'PLAIN_DICTIONARY':
    case 'RLE_DICTIONARY': {
      const width = bytes[start] ?? 33;
      if (count > 0 && (width > 32 || element.type === 'BOOLEAN')) {
        throw new FileClaimError(start, `dictionary indexes of ${width} bits for the type ${element.type}`);
      }
      // A page of version 1 with indexes of no bits has no runs: every value is the first of the dictionary.
      if (count > 0 && (width > 0 || version2)) checkRuns(bytes, start + 1, bytes.length, width, count, -1);
      return;
    }
    case 'BYTE_STREAM_SPLIT':
      atLeast(count * widthOf(element, start));
      return;
    case 'DELTA_BINARY_PACKED':
      checkDeltas(bytes, start, count);
      return;
    case 'DELTA_LENGTH_BYTE_ARRAY':
      checkDeltas(bytes, start, count);
      return;
    case 'DELTA_BYTE_ARRAY':
      checkPrefixes(bytes, start, count);
      return;
    default:
      throw new FileClaimError(start, `values of the encoding ${encoding}`);
  }
}

const widths: Readonly<Record<string, number>> = { INT32: 4, FLOAT: 4, INT64: 8, DOUBLE: 8, INT96: 12 };

function widthOf({ type, type_length }: SchemaElement, at: number): number {
  const width = type === 'FIXED_LEN_BYTE_ARRAY' ? type_length : widths[type ?? ''];
  if (!(width !== undefined && width > 0)) {
    throw new FileClaimError(
      at,
      `values of the type ${type}${type_length === undefined ? '' : ` of ${width} bytes`}`,
    );
  }
  return width;
}

function checkByteArrays(bytes: Uint8Array, start: number, count: number): void {
  let at = start;
  for (let index = 0; index < count; index++) {
    const size = uint32(bytes, at);
    if (!(at + 4 + size <= bytes.length)) {
      throw new FileClaimError(
        at,
        `value ${index + 1} of ${count} with ${size} bytes where ${bytes.length - at - 4} are left`,
      );
    }
    at += 4 + size;
  }
}

/**
 * Walks delta-encoded numbers.
 *
 * @returns the offset behind them
 * @source apache/parquet-format, `Encodings.md`, "Delta Encoding"
 */
function checkDeltas(bytes: Uint8Array, start: number, count: number): number {
  let at = start;
  const varint = (): number => {
    let value = 0;
    for (let index = 0; index < 10; index++) {
      const byte = bytes[at];
      if (byte === undefined) break;
      at++;
      value += (byte & 0x7f) * 2 ** (7 * index);
      if (byte < 0x80) return value;
    }
    throw new FileClaimError(at, 'a number that does not end');
  };
  if (count === 0) return at;
  const block = varint();
  const parts = varint();
  const total = varint();
  varint();
  const perPart = block / parts;
  if (!(block > 0 && block <= FREE_VALUES && parts > 0 && perPart % 8 === 0 && total === count)) {
    throw new FileClaimError(
      start,
      `${total} deltas in blocks of ${block} with ${parts} parts, for ${count} values`,
    );
  }
  for (let seen = 1; seen < count; ) {
    varint();
    const widthsAt = at;
    at += parts;
    for (let part = 0; part < parts && seen < count; part++) {
      const width = bytes[widthsAt + part] ?? 65;
      if (width > 64) throw new FileClaimError(widthsAt + part, `deltas of ${width} bits`);
      at += (perPart * width) / 8;
      seen += perPart;
    }
    if (at > bytes.length)
      throw new FileClaimError(widthsAt, `deltas that end ${at - bytes.length} bytes too late`);
  }
  return at;
}

/** Front-coded texts: no prefix longer than the text before, and not more than 64 bytes of text for each byte. */
function checkPrefixes(bytes: Uint8Array, start: number, count: number): void {
  const suffixesAt = checkDeltas(bytes, start, count);
  checkDeltas(bytes, suffixesAt, count);
  if (count === 0) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const reader = { view, offset: start };
  const prefixes = new Int32Array(count);
  const suffixes = new Int32Array(count);
  deltaBinaryUnpack(reader, count, prefixes);
  deltaBinaryUnpack(reader, count, suffixes);
  let before = 0;
  let total = 0;
  for (let index = 0; index < count; index++) {
    const prefix = prefixes[index]!;
    const suffix = suffixes[index]!;
    if (prefix < 0 || prefix > before || suffix < 0) {
      throw new FileClaimError(
        start,
        `text ${index + 1} with ${prefix} characters of one that has ${before}`,
      );
    }
    before = prefix + suffix;
    total += before;
  }
  if (total > FREE_VALUES + 64 * bytes.length) {
    throw new FileClaimError(start, `${total} bytes of text in a page of ${bytes.length} bytes`);
  }
}

function uint32(bytes: Uint8Array, at: number): number {
  if (at + 4 > bytes.length) return Number.POSITIVE_INFINITY;
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}
