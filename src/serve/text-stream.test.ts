import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createTextStream } from './text-stream.ts';

/** Tokens are bytes. */
const decode = (ids: readonly number[]): string => new TextDecoder().decode(Uint8Array.from(ids));
const bytes = (text: string): number[] => [...new TextEncoder().encode(text)];

function pieces(
  ids: readonly number[],
  stops: readonly string[],
): { pieces: string[]; stopped?: string | undefined } {
  const stream = createTextStream({ decode, stops });
  const made = ids.map((id, i) => stream.push(id, i === ids.length - 1));
  return { pieces: made, stopped: stream.stopped };
}

describe('text stream', () => {
  it('holds the bytes of a character until it is whole', () => {
    // é is 2 bytes, € 3, 😀 4.
    expect(pieces(bytes('é€😀'), []).pieces).toEqual(['', 'é', '', '', '€', '', '', '', '😀']);
  });
  it('gives what is no text as replacement characters, at the latest at the end', () => {
    expect(pieces([0xff, 0x61, 0xe2], []).pieces).toEqual(['', '\uFFFDa', '\uFFFD']);
    // Of five bytes that can begin nothing, three may still be unfinished as far as the stream can tell.
    expect(pieces([0xff, 0xff, 0xff, 0xff, 0x62], []).pieces.join('')).toBe('\uFFFD\uFFFD\uFFFD\uFFFDb');
  });
  it('shows nothing of a stop string, and what merely began like one', () => {
    expect(pieces(bytes('ab END x'), ['END'])).toEqual({
      pieces: ['a', 'b', ' ', '', '', '', '', ''],
      stopped: 'END',
    });
    expect(pieces(bytes('aEENo'), ['END']).pieces).toEqual(['a', '', 'E', '', 'ENo']);
    expect(pieces(bytes('aEN'), ['END']).pieces).toEqual(['a', '', 'EN']);
  });
  it('pieces join to the decoded whole, cut at the stop string that is complete first', () => {
    const letters = fc.constantFrom('a', 'b', 'é', '€', '😀', '\n');
    fc.assert(
      fc.property(
        fc.array(letters, { minLength: 1, maxLength: 60 }),
        fc.array(
          fc.array(letters, { minLength: 1, maxLength: 3 }).map((x) => x.join('')),
          { maxLength: 3 },
        ),
        (given, stops) => {
          const text = given.join('');
          // The stop string that is complete first ends the text, where it begins.
          const heads = Array.from({ length: text.length }, (_, i) => text.slice(0, i + 1));
          const head = heads.find((part) => stops.some((stop) => part.includes(stop)));
          const found = stops.map((stop) => head?.indexOf(stop) ?? -1).filter((i) => i >= 0);
          const at = Math.min(...found, text.length);
          const made = pieces(bytes(text), stops);
          expect(made.pieces.join('')).toBe(text.slice(0, at));
          expect(made.pieces.join('')).not.toContain('\uFFFD');
        },
      ),
    );
  });
  it('pieces of arbitrary bytes join to the decoded whole', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 80 }), (ids) => {
        expect(pieces(ids, []).pieces.join('')).toBe(new TextDecoder().decode(Uint8Array.from(ids)));
      }),
    );
  });
});
