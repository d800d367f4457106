/** Tokens one by one → text that never has to be taken back: whole characters, and nothing of a stop string. */

export interface TextStream {
  /** The text that is certain after one more token. `last` releases what was held back. */
  push(id: number, last: boolean): string;
  /** The stop string that was met, the first to be complete; what followed it is dropped. */
  readonly stopped: string | undefined;
}

export interface TextStreamOptions {
  readonly decode: (ids: readonly number[]) => string;
  readonly stops: readonly string[];
  /** Leave the stop string at the end of the text. */
  readonly includeStop?: boolean;
}

/** What decoders put for bytes that are no text (yet). */
const REPLACEMENT = '\uFFFD';
/** An unfinished character has at most three bytes. */
const unfinishedBytes = 3;
/** Tokens that are decoded again with each new one, before older ones are left behind. */
const longestWindow = 8;
const keptTokens = 4;

/**
 * Text of tokens as they come. The pieces together are `decode` of all tokens, up to the first stop string.
 *
 * Characters of several tokens are held until they are whole. An end of the text that begins a stop string is held until
 * it turns out to be one or not.
 *
 * @example
 * const stream = createTextStream({ decode, stops: ['END'] });
 * stream.push(a, false); // 'Good E' → 'Good '
 * stream.push(b, false); // 'ND now' → '', and stopped is 'END'
 */
export function createTextStream({ decode, stops, includeStop = false }: TextStreamOptions): TextStream {
  let window: number[] = [];
  /** Characters of the window's text that have been taken. */
  let taken = 0;
  let pending = '';
  let stopped: string | undefined;

  function decoded(id: number, last: boolean): string {
    window.push(id);
    const text = decode(window);
    let end = text.length;
    while (!last && end > 0 && text.length - end < unfinishedBytes && text[end - 1] === REPLACEMENT) end--;
    if (end <= taken) return '';
    const piece = text.slice(taken, end);
    taken = end;
    if (end === text.length && window.length > longestWindow) {
      window = window.slice(-keptTokens);
      taken = decode(window).length;
    }
    return piece;
  }

  return {
    get stopped() {
      return stopped;
    },
    push(id, last) {
      if (stopped !== undefined) return '';
      pending += decoded(id, last);
      const found = earliest(pending, stops);
      if (found !== undefined) {
        stopped = found.stop;
        return pending.slice(0, found.at + (includeStop ? found.stop.length : 0));
      }
      const release = last ? pending.length : pending.length - heldLength(pending, stops);
      const text = pending.slice(0, release);
      pending = pending.slice(release);
      return text;
    },
  };
}

/** The text of all tokens at once, with the last: for answers that nobody reads before they are whole. */
export function createWholeText(decode: (ids: readonly number[]) => string): TextStream {
  const ids: number[] = [];
  return {
    stopped: undefined,
    push(id, last) {
      ids.push(id);
      return last ? decode(ids) : '';
    },
  };
}

/** The stop string that begins first; of two at the same place, the one listed first. */
function earliest(
  text: string,
  stops: readonly string[],
): { readonly at: number; readonly stop: string } | undefined {
  let best: { at: number; stop: string } | undefined;
  for (const stop of stops) {
    const at = text.indexOf(stop);
    if (at >= 0 && (best === undefined || at < best.at)) best = { at, stop };
  }
  return best;
}

/** Length of the longest end of the text that begins a stop string. */
function heldLength(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(stop.slice(0, length))) longest = length;
    }
  }
  return longest;
}
