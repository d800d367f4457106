/** JSON that gives back the same numbers, bit for bit: typed arrays keep their type, and NaN, ∞ and −0 stay what they are. */
import { DataError } from './errors.ts';

const TAG = '$exact';
const arrays = { Float32Array, Float64Array, Int32Array, Uint8Array, Uint32Array, BigInt64Array } as const;

/**
 * @param value plain objects, arrays, typed arrays, text, numbers, booleans, null; `undefined` members are left out
 * @throws DataError naming the place of anything else
 * @example fromExactJson(toExactJson({ a: Float32Array.of(NaN) })) // { a: Float32Array [ NaN ] }
 */
export function toExactJson(value: unknown): string {
  return JSON.stringify(encode(value, ''));
}

/** @throws DataError when the text is not what `toExactJson` wrote */
export function fromExactJson(text: string): unknown {
  try {
    return decode(JSON.parse(text));
  } catch (cause) {
    throw new DataError({
      where: 'fromExactJson',
      expected: 'text that toExactJson wrote',
      received: text.slice(0, 60),
      cause,
    });
  }
}

function encode(value: unknown, path: string): unknown {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') {
    return Number.isFinite(value) && !Object.is(value, -0)
      ? value
      : { [TAG]: 'number', text: `${Object.is(value, -0) ? '-0' : value}` };
  }
  if (Array.isArray(value)) return value.map((item, index) => encode(item, `${path}[${index}]`));
  if (ArrayBuffer.isView(value)) {
    const type = value.constructor.name;
    if (type in arrays) {
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      return { [TAG]: type, base64: bytes.toString('base64') };
    }
  }
  const prototype: unknown = typeof value === 'object' ? Object.getPrototypeOf(value) : undefined;
  if (prototype === Object.prototype || prototype === null) {
    return Object.fromEntries(
      Object.entries(value as object)
        .filter(([, item]) => item !== undefined)
        .map(([key, item]) => [key, encode(item, `${path}.${key}`)]),
    );
  }
  throw new DataError({
    where: `toExactJson(${path || 'value'})`,
    expected: 'plain objects, arrays, typed arrays, text, numbers, booleans or null',
    received: typeof value === 'object' ? (value as object).constructor.name : typeof value,
  });
}

function decode(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(decode);
  if (typeof value !== 'object' || value === null) return value;
  const record = value as Record<string, unknown>;
  const tag = record[TAG];
  if (tag === undefined) {
    return Object.fromEntries(Object.entries(record).map(([key, item]) => [key, decode(item)]));
  }
  if (tag === 'number') return Number(record['text']);
  const bytes = Uint8Array.from(Buffer.from(record['base64'] as string, 'base64'));
  return new arrays[tag as keyof typeof arrays](bytes.buffer);
}
