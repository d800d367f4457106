/** Stop texts: where one ends a completion, and what text is left before it. */

/** What decoders put for bytes that are no text (yet). */
const REPLACEMENT = '\uFFFD';

/** A stop text that was found, and where it begins. */
export interface FoundStop {
  readonly stop: string;
  readonly at: number;
}

/**
 * The stop text that `text` has and `before`, its beginning, has not: the one that begins first; of two at one place, the one
 * listed first.
 *
 * @param before the text without its last token, whose end may be a character in the making
 * @example findStop('one END', 'one EN', ['ND', 'END']) // { stop: 'END', at: 4 }
 */
export function findStop(text: string, before: string, stops: readonly string[]): FoundStop | undefined {
  let whole = before.length;
  while (whole > 0 && before[whole - 1] === REPLACEMENT) whole--;
  let first: FoundStop | undefined;
  for (const stop of stops) {
    const at = text.indexOf(stop, Math.max(0, whole - stop.length + 1));
    if (at >= 0 && (first === undefined || at < first.at)) first = { stop, at };
  }
  return first;
}

/**
 * The text of a completion, without the stop text that ended it.
 *
 * @param completion ids, and the stop text or token where one ended it
 */
export function completionText(
  { ids, stop }: { readonly ids: readonly number[]; readonly stop?: number | string | undefined },
  decode: (ids: readonly number[]) => string,
): string {
  const text = decode(ids);
  if (typeof stop !== 'string') return text;
  const found = findStop(text, decode(ids.slice(0, -1)), [stop]);
  return found === undefined ? text : text.slice(0, found.at);
}
