/** Which parts of a text are learned, first as text, then as tokens. */
import { DataError } from '../core/errors.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import type { ChatFormat, RenderOptions } from './chat-format.ts';
import type { Message } from './row-types.ts';

/** A stretch of text that is learned as a whole or not at all. */
export interface Segment {
  readonly text: string;
  readonly learn: boolean;
}

/**
 * A conversation as its chat template writes it, cut where assistant messages begin (after the generation prompt, where
 * sampling would begin) and end. The cuts are the lengths of renderings of the first messages, which must be prefixes of the
 * rendering of all: a template that rewrites earlier turns (some remove reasoning) is refused with the place.
 *
 * @param learnFrom index of the first message that may be learned; assistant messages before it are context
 * @throws DataError when the template refuses the messages or is not prefix-preserving
 */
export function renderSegments(
  format: ChatFormat,
  messages: readonly Message[],
  options: { readonly where: string; readonly learnFrom?: number; readonly tools?: readonly unknown[] },
): Segment[] {
  const { where, learnFrom = 0 } = options;
  const tools = options.tools === undefined ? {} : { tools: options.tools };
  const render = (count: number, addGenerationPrompt: boolean): string =>
    renderRow(format, messages.slice(0, count), { addGenerationPrompt, ...tools }, where);
  const whole = render(messages.length, false);
  const segments: Segment[] = [];
  let end = 0;
  for (const [index, message] of messages.entries()) {
    if (message.role !== 'assistant' || index < learnFrom) continue;
    const before = render(index, true);
    const answered = index + 1 === messages.length ? whole : render(index + 1, false);
    const after = withoutFinalEos(answered, whole, format.eosToken);
    for (const [prefix, what] of [
      [before, 'with the generation prompt'],
      [after, 'with the answer'],
    ] as const) {
      if (!whole.startsWith(prefix)) throw notPreserving(where, index, what, prefix, whole);
    }
    if (before.length < end || after.length < before.length) {
      throw notPreserving(where, index, 'with the generation prompt', before, after);
    }
    segments.push({ text: whole.slice(end, before.length), learn: false });
    segments.push({ text: whole.slice(before.length, after.length), learn: true });
    end = after.length;
  }
  if (end < whole.length) segments.push({ text: whole.slice(end), learn: false });
  return segments;
}

/** Some templates (Phi-3) write EOS once, after the last turn: a shorter conversation has it where the whole goes on. */
function withoutFinalEos(text: string, whole: string, eos: string | undefined): string {
  if (eos === undefined || whole.startsWith(text) || !text.endsWith(eos)) return text;
  return text.slice(0, text.length - eos.length);
}

/** Renders messages of a row; an error names the row. */
export function renderRow(
  format: ChatFormat,
  messages: readonly Message[],
  options: RenderOptions,
  where: string,
): string {
  try {
    return format.render(messages, options);
  } catch (cause) {
    if (!(cause instanceof DataError)) throw cause;
    const { expected, received, fix } = cause;
    throw new DataError({
      where: `${where}, ${cause.where}`,
      expected,
      received,
      cause,
      ...(fix === undefined ? {} : { fix }),
    });
  }
}

function notPreserving(where: string, index: number, what: string, prefix: string, whole: string): DataError {
  let at = 0;
  while (at < prefix.length && prefix[at] === whole[at]) at++;
  const around = (text: string): string => JSON.stringify(text.slice(Math.max(0, at - 20), at + 20));
  return new DataError({
    where: `${where}, chat template`,
    expected: `the conversation up to message ${index + 1}, rendered ${what}, to be how the whole begins`,
    received: `${around(prefix)} where the whole has ${around(whole)}`,
    fix: 'Use a template that keeps earlier turns as they are (a training variant), or one assistant message per row',
  });
}

export interface TokenizedSegments {
  readonly ids: readonly number[];
  /** Tokens before the end of each segment; one number per segment. */
  readonly ends: readonly number[];
  /**
   * `exact`: the text was tokenized as a whole and every cut is a boundary between tokens. `split`: it is not, so segments
   * were tokenized apart and joined; the joined text is the same, and a prompt has the ids it has when sampling.
   */
  readonly boundary: 'exact' | 'split';
}

/**
 * Tokens of a rendered conversation, with each cut between two tokens.
 *
 * @throws DataError when neither the whole nor the joined parts can be cut where the segments meet
 */
export function tokenizeSegments(
  tokenizer: Tokenizer,
  segments: readonly Segment[],
  where: string,
): TokenizedSegments {
  const rendered = { addSpecial: false, parseSpecial: true } as const;
  const whole = segments.map((segment) => segment.text).join('');
  const ids = tokenizer.encode(whole, rendered);
  const ends: number[] = [];
  let text = '';
  for (const segment of segments) {
    text += segment.text;
    const prefix = text.length === whole.length ? ids : tokenizer.encode(text, rendered);
    if (!startsWith(ids, prefix)) break;
    ends.push(prefix.length);
  }
  if (ends.length === segments.length) return { ids, ends, boundary: 'exact' };

  const joined: number[] = [];
  const joinedEnds: number[] = [];
  for (const segment of segments) {
    const part = joined.length === 0 ? rendered : { ...rendered, continuation: true };
    for (const id of tokenizer.encode(segment.text, part)) joined.push(id);
    joinedEnds.push(joined.length);
  }
  const decode = (tokens: readonly number[]): string => tokenizer.decode(tokens, { skipSpecial: false });
  if (decode(joined) !== decode(ids)) {
    throw new DataError({
      where,
      expected: 'a tokenizer whose tokens can be cut where a completion begins',
      received: 'another text when prompt and completion are tokenized apart',
      fix: 'Use a tokenizer that gives texts back unchanged, such as a byte-level one',
    });
  }
  return { ids: joined, ends: joinedEnds, boundary: 'split' };
}

function startsWith(ids: readonly number[], prefix: readonly number[]): boolean {
  if (prefix.length > ids.length) return false;
  for (let i = 0; i < prefix.length; i++) if (ids[i] !== prefix[i]) return false;
  return true;
}
