/** When two rows are the same. */
import { contentHash } from './content-hash.ts';
import type { Row } from './row.ts';

/** Columns that are learned from; the others (ids, scores, sources) make no row another one. */
const contentColumns = [
  'text',
  'messages',
  'prompt',
  'completion',
  'completions',
  'chosen',
  'rejected',
  'label',
  'labels',
  'tools',
] as const;

export type Sameness = 'exact' | 'normalized';

/**
 * A key that rows share when they teach the same: of the columns that TRL names, or of all when there is none of them.
 * `normalized` compares text in compatibility form (NFKC) and lower case with everything but letters and digits as one
 * space: copies that differ in spacing, punctuation or case are one.
 */
export function rowKey({ columns }: Row, sameness: Sameness = 'exact'): string {
  const names = contentColumns.filter((name) => columns[name] !== undefined);
  const content =
    names.length === 0 ? columns : Object.fromEntries(names.map((name) => [name, columns[name]]));
  return contentHash(sameness === 'exact' ? content : normalize(content)).slice(0, 32);
}

/** Text in compatibility form and lower case, with everything but letters and digits as one space. */
export function normalizeText(text: string): string {
  return text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, ' ')
    .trim();
}

function normalize(value: unknown): unknown {
  if (typeof value === 'string') return normalizeText(value);
  if (Array.isArray(value)) return value.map(normalize);
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, normalize(entry)]));
}
