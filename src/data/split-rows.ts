/** Which side of a split a row falls on. */
import { createHash } from 'node:crypto';
import { ConfigError } from '../core/errors.ts';
import type { Row } from './row.ts';
import { normalizeText } from './row-key.ts';

/**
 * The name of the split of each row, drawn by the hash of its normalized prompt: rows with one prompt stay on one side, in this
 * data set and, with the same seed, in every other. So the parts have the sizes of the shares only on average.
 *
 * @param shares of the splits by name, 0–1; `train` is what they leave and comes last in the draw
 * @throws ConfigError for shares that are not above 0 or leave nothing
 * @example const splitOf = hashSplitter({ test: 0.1 }, 0); splitOf(row) // 'train' or 'test'
 */
export function hashSplitter(shares: Readonly<Record<string, number>>, seed: number): (row: Row) => string {
  const entries = Object.entries(shares);
  const total = entries.reduce((sum, [, share]) => sum + share, 0);
  if (entries.length === 0 || entries.some(([, share]) => !(share > 0)) || total >= 1) {
    throw new ConfigError({
      where: 'split shares',
      expected: 'at least one share above 0, together less than 1',
      received: entries.map(([name, share]) => `${name} ${share}`).join(', ') || 'none',
      fix: 'Set --test-share, --validation-share or both',
    });
  }
  return (row) => {
    const hash = createHash('sha256')
      .update(`${seed}\n${promptKey(row)}`)
      .digest();
    // 48 bits are exact in a double.
    let draw = hash.readUIntBE(0, 6) / 2 ** 48;
    for (const [name, share] of entries) {
      if (draw < share) return name;
      draw -= share;
    }
    return 'train';
  };
}

/** The prompt as normalized text: what a row with another completion shares. Without one, the first user turn or the whole text. */
function promptKey({ columns }: Row): string {
  const { prompt, messages, chosen, text } = columns;
  const whole = prompt ?? messages ?? chosen ?? text ?? columns;
  if (typeof whole === 'string') return normalizeText(whole);
  if (Array.isArray(whole)) {
    const turns = whole as { role?: unknown; content?: unknown }[];
    // Of a whole conversation, what it begins with; a prompt has no other part.
    const kept = prompt === undefined ? turns.filter(({ role }) => role === 'user').slice(0, 1) : turns;
    return normalizeText(kept.map(({ content }) => JSON.stringify(content ?? '')).join('\n'));
  }
  return normalizeText(JSON.stringify(whole));
}
