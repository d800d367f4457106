/** The prompt of a preference that does not state it: what both sides begin with. */
import type { Message } from './row-types.ts';

/** Common messages at the start, then the rest of each side. */
export function splitCommonMessages(
  chosen: readonly Message[],
  rejected: readonly Message[],
): { prompt: readonly Message[]; chosen: readonly Message[]; rejected: readonly Message[] } {
  let common = 0;
  while (
    common < chosen.length &&
    common < rejected.length &&
    JSON.stringify(chosen[common]) === JSON.stringify(rejected[common])
  ) {
    common++;
  }
  return { prompt: chosen.slice(0, common), chosen: chosen.slice(common), rejected: rejected.slice(common) };
}

/**
 * Common text at the start, cut before the last run of white space in it, so that no word is cut in two and completions begin
 * with their space.
 *
 * @example splitCommonText('The sky is blue', 'The sky is black')
 * // { prompt: 'The sky is', chosen: ' blue', rejected: ' black' }
 */
export function splitCommonText(
  chosen: string,
  rejected: string,
): { prompt: string; chosen: string; rejected: string } {
  let common = 0;
  while (common < chosen.length && chosen[common] === rejected[common]) common++;
  const cut = /^[\s\S]*\S(?=\s)/.exec(chosen.slice(0, common))?.[0].length ?? 0;
  return { prompt: chosen.slice(0, cut), chosen: chosen.slice(cut), rejected: rejected.slice(cut) };
}
