import { createHash } from 'node:crypto';
import { DataError } from '../core/errors.ts';

/**
 * SHA-256 of a value, as 64 hex digits: equal values have equal hashes, whatever the order of object keys. For names of
 * cached results.
 *
 * The value is written as JSON with sorted keys; bytes and typed arrays by their kind and the hash of their memory, maps as
 * lists of entries, `undefined` properties not at all.
 *
 * @throws DataError for what has no such form: functions, symbols, numbers that are not finite
 * @example contentHash({ model: modelHash, rows: ids, beta: 0.1 })
 */
export function contentHash(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex');
}

function canonicalJson(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value);
  if (typeof value === 'bigint') return `{"$bigint":"${value}"}`;
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (ArrayBuffer.isView(value)) {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    const kind = value instanceof Uint8Array ? 'Uint8Array' : value.constructor.name; // Buffer is a Uint8Array
    return `{"$${kind}":"${createHash('sha256').update(bytes).digest('hex')}"}`;
  }
  if (value instanceof Map) return `{"$map":${canonicalJson([...value])}}`;
  if (value instanceof Set) return `{"$set":${canonicalJson([...value])}}`;
  if (typeof value === 'object') {
    const entries = Object.entries(value).filter(([, entry]) => entry !== undefined);
    entries.sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}:${canonicalJson(entry)}`).join(',')}}`;
  }
  throw new DataError({
    where: 'contentHash',
    expected: 'plain values, typed arrays, maps and sets',
    received: typeof value === 'number' ? String(value) : typeof value,
    fix: 'Hash what determines the result, not code',
  });
}
