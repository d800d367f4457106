/** Rows → token ids and masks. */
import { DataError } from '../core/errors.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { type ChatFormat, type ChatFormatOptions, chatFormat } from './chat-format.ts';
import {
  type Draft,
  type EncodedExample,
  type EncodedPair,
  type EncodedPrompt,
  type EncodedUnpaired,
  fitDrafts,
  type Truncation,
} from './example.ts';
import type { Row } from './row.ts';
import {
  type Content,
  type Message,
  parsePreference,
  parsePromptOnly,
  parseSupervised,
  parseUnpaired,
} from './row-types.ts';
import { renderRow, renderSegments, tokenizeSegments } from './segments.ts';

export interface EncoderOptions extends ChatFormatOptions {
  /** Most tokens of a sequence. The ends of longer completions are cut and counted. Default: no limit. */
  readonly maxLength?: number;
  /**
   * What becomes of a prompt that leaves no room: `error` names the row; `keep-start` and `keep-end` cut the prompt's other
   * end, to what the completion leaves but at least half of `maxLength`, and count it. Default `error`.
   */
  readonly truncation?: Truncation;
  /**
   * The stop token at the end of each completion. `append` adds EOS where none is; `require` refuses a completion without
   * one; `none` asks nothing. Default: `append` for standard rows, `require` for conversations, whose template writes it.
   */
  readonly stop?: 'append' | 'require' | 'none';
  /** Further tokens that stop generation besides EOS, by text, such as `<|eot_id|>`. */
  readonly stopTokens?: readonly string[];
  /** What is learned: `completion` (of `messages`: every assistant turn; of `text`: all), or `all` tokens. Default `completion`. */
  readonly learn?: 'completion' | 'all';
  /** Text between the prompt and the completion of standard rows; part of the prompt. Default none, as in TRL. */
  readonly separator?: string;
}

/** Encodes rows of each type. The functions do not depend on `this`. */
export interface Encoder {
  readonly tokenizer: Tokenizer;
  /** The chat format, once a conversation was encoded. */
  readonly chat: () => ChatFormat | undefined;
  /** Language modeling (`text`, `messages`) or prompt-completion. */
  readonly supervised: (row: Row) => EncodedExample;
  readonly preference: (row: Row) => EncodedPair;
  readonly unpaired: (row: Row) => EncodedUnpaired;
  /** A prompt as sampling begins from it, with the generation prompt of the template. */
  readonly prompt: (row: Row) => EncodedPrompt;
}

/**
 * An encoder for a tokenizer.
 *
 * Masks: 1 on the tokens of a completion (or assistant turn) up to and including its first stop token, 0 elsewhere: what
 * sampling would produce. (TRL also counts what the template writes after the stop token.) The first token of a sequence
 * is never learned, since nothing predicts it. BOS appears once: where the tokenizer puts it before every text, or where
 * the chat template writes it.
 *
 * Every function throws `DataError` naming the row: columns missing or wrong, an empty completion, equal sides of a
 * pair (also after cutting), a prompt without room, a template that cannot be cut, nothing to learn, no stop token.
 *
 * @example
 * const encoder = createEncoder(tokenizer, { maxLength: 512 });
 * const { examples, report } = encodeRows(rows, encoder.preference);
 */
export function createEncoder(tokenizer: Tokenizer, options: EncoderOptions = {}): Encoder {
  const { maxLength, truncation = 'error', learn = 'completion', separator = '' } = options;
  if (maxLength !== undefined && !(Number.isInteger(maxLength) && maxLength >= 2)) {
    throw new DataError({
      where: 'createEncoder: maxLength',
      expected: 'a whole number of at least 2',
      received: String(maxLength),
    });
  }
  const stopIds = stopIdsOf(tokenizer, options.stopTokens);
  let format: ChatFormat | undefined;
  const chat = (): ChatFormat => {
    format ??= chatFormat(tokenizer, options);
    return format;
  };
  let joins: boolean | undefined;

  const fitAll = (drafts: readonly Draft[], where: string): EncodedExample[] =>
    fitDrafts(drafts, { where, maxLength, truncation, bosId: tokenizer.bosId });

  /** Ids of a standard text at the start of a sequence, with BOS where the tokenizer adds it. */
  function openText(text: string): number[] {
    const ids = tokenizer.encode(text, { addSpecial: false });
    return tokenizer.addsBos && ids[0] !== tokenizer.bosId ? [tokenizer.bosId!, ...ids] : ids;
  }

  /** Adds or asks for the stop token at the end of a standard text or completion. */
  function closeText(ids: number[], where: string): void {
    const stop = options.stop ?? 'append';
    if (stop === 'none' || stopIds.has(ids[ids.length - 1]!)) return;
    if (stop === 'require') throw missingStop(where, tokenizer, ids);
    ids.push(eosOf(tokenizer, where));
  }

  function draftText(text: string, where: string): Draft {
    const ids = openText(text);
    closeText(ids, where);
    const promptLength = Math.min(1, ids.length);
    return { ids, mask: ids.map((_, i) => (i < promptLength ? 0 : 1)), promptLength, boundary: 'exact' };
  }

  function draftCompletion(prompt: string, completion: string, where: string): Draft {
    joins ??= joinsApart(tokenizer);
    if (!joins) {
      throw new DataError({
        where,
        expected: 'a tokenizer whose ids of prompt and completion join to those of a text',
        received: 'another text when they are tokenized apart',
        fix: 'Use a tokenizer that gives texts back unchanged, such as a byte-level one',
      });
    }
    const before = prompt + separator;
    const head = openText(before);
    const tail = tokenizer.encode(completion, { addSpecial: false, continuation: before !== '' });
    closeText(tail, where);
    const ids = [...head, ...tail];
    const promptLength = Math.max(1, head.length);
    return { ids, mask: ids.map((_, i) => (i < promptLength ? 0 : 1)), promptLength, boundary: 'exact' };
  }

  function draftMessages(
    messages: readonly Message[],
    learnFrom: number,
    where: string,
    tools: readonly unknown[] | undefined,
  ): Draft {
    const segments = renderSegments(chat(), messages, {
      where,
      learnFrom,
      ...(tools === undefined ? {} : { tools }),
    });
    const tokens = tokenizeSegments(tokenizer, segments, where);
    const ids = [...tokens.ids];
    const mask = new Array<number>(ids.length).fill(0);
    const stop = options.stop ?? 'require';
    let promptLength: number | undefined;
    for (const [index, segment] of segments.entries()) {
      const start = tokens.ends[index - 1] ?? 0;
      const end = tokens.ends[index]!;
      if (!segment.learn) continue;
      promptLength ??= start;
      // Generation ends at the first stop token, so nothing after it is learned.
      const stopAt = ids.findIndex((id, t) => t >= start && t < end && stopIds.has(id));
      let last = stopAt < 0 ? end : stopAt + 1;
      if (stopAt < 0 && stop === 'require') throw missingStop(where, tokenizer, ids.slice(start, end));
      if (stopAt < 0 && stop === 'append' && end === ids.length) {
        ids.push(eosOf(tokenizer, where));
        mask.push(0);
        last = ids.length;
      }
      mask.fill(1, start, last);
    }
    if (mask.length > 0) mask[0] = 0;
    return { ids, mask, promptLength: Math.max(1, promptLength ?? ids.length), boundary: tokens.boundary };
  }

  function draftPair(
    prompt: Content,
    completion: Content,
    where: string,
    tools: readonly unknown[] | undefined,
  ): Draft {
    if (typeof prompt === 'string') return draftCompletion(prompt, completion as string, where);
    const messages = [...prompt, ...(completion as readonly Message[])];
    return draftMessages(messages, prompt.length, where, tools);
  }

  function draftSupervised(row: Row): Draft {
    const { where } = row;
    const parsed = parseSupervised(row);
    if ('completion' in parsed) return draftPair(parsed.prompt, parsed.completion, where, parsed.tools);
    const { content, tools } = parsed;
    return typeof content === 'string' ? draftText(content, where) : draftMessages(content, 0, where, tools);
  }

  return {
    tokenizer,
    chat: () => format,
    supervised(row) {
      const draft = draftSupervised(row);
      const mask = learn === 'all' ? draft.mask.map((_, i) => Math.min(i, 1)) : draft.mask;
      return fitAll([{ ...draft, mask }], row.where)[0]!;
    },
    preference(row) {
      const { prompt, chosen, rejected, tools, where } = parsePreference(row);
      const drafts = [chosen, rejected].map((side) => draftPair(prompt, side, where, tools));
      const [first, second] = fitAll(drafts, where) as [EncodedExample, EncodedExample];
      if (first.ids.length === second.ids.length && first.ids.every((id, i) => id === second.ids[i])) {
        const cut = first.truncated > 0 || second.truncated > 0;
        throw new DataError({
          where,
          expected: '`chosen` and `rejected` to differ',
          received: cut ? `equal tokens after cutting to ${maxLength}` : 'equal tokens',
          fix: cut ? 'Raise the maximum length or remove the row' : 'Remove the row: it states no preference',
        });
      }
      return { where, chosen: first, rejected: second };
    },
    unpaired(row) {
      const { prompt, completion, label, tools, where } = parseUnpaired(row);
      return {
        where,
        example: fitAll([draftPair(prompt, completion, where, tools)], where)[0]!,
        label,
      };
    },
    prompt(row) {
      const { prompt, tools, where } = parsePromptOnly(row);
      const render = { addGenerationPrompt: true, ...(tools === undefined ? {} : { tools }) };
      const ids =
        typeof prompt === 'string'
          ? openText(prompt + separator)
          : tokenizer.encode(renderRow(chat(), prompt, render, where), {
              addSpecial: false,
              parseSpecial: true,
            });
      // One place is kept for a completion token, which is also what must be there to learn; it is taken off again.
      const draft: Draft = {
        ids: [...ids, -1],
        mask: [...ids.map(() => 0), 1],
        promptLength: ids.length,
        boundary: 'exact',
      };
      const fitted = fitAll([draft], where)[0]!;
      return { where, ids: fitted.ids.slice(0, -1), truncated: fitted.truncated };
    },
  };
}

function eosOf({ eosId }: Tokenizer, where: string): number {
  if (eosId !== undefined) return eosId;
  throw new DataError({
    where,
    expected: 'a tokenizer with an EOS token to end completions',
    received: 'none',
    fix: 'Set eos_token in tokenizer_config.json, or set stop to none',
  });
}

function missingStop(where: string, tokenizer: Tokenizer, ids: readonly number[]): DataError {
  const tail = ids.slice(-3).map((id) => JSON.stringify(tokenizer.tokenText(id)));
  const special = [...ids].reverse().find((id) => tokenizer.specialIds.has(id));
  const eos = tokenizer.specialTokens.eos_token;
  return new DataError({
    where,
    expected: `a completion that ends with its stop token${eos === undefined ? '' : ` ${eos}`}`,
    received: tail.length === 0 ? 'no tokens' : `one that ends with ${tail.join(' ')}`,
    fix:
      special === undefined
        ? 'Use a chat template that writes eos_token after each assistant message, or set stop to append'
        : `If ${tokenizer.tokenText(special)} ends a turn, name it in stopTokens`,
  });
}

/** Tokens that end a completion: EOS, and those named. @throws DataError for a text that is not one token */
export function stopIdsOf(tokenizer: Tokenizer, stopTokens: readonly string[] = []): ReadonlySet<number> {
  const named = stopTokens.map((text) => stopTokenId(tokenizer, text));
  return new Set(tokenizer.eosId === undefined ? named : [...named, tokenizer.eosId]);
}

function stopTokenId(tokenizer: Tokenizer, text: string): number {
  const ids = tokenizer.encode(text, { addSpecial: false, continuation: true, parseSpecial: true });
  if (ids.length === 1) return ids[0]!;
  throw new DataError({
    where: 'stopTokens',
    expected: 'texts that are one token each',
    received: `"${text}", ${ids.length} tokens`,
  });
}

/** Whether ids of a text and of its continuation join to the text, with and without a space at the seam. */
function joinsApart(tokenizer: Tokenizer): boolean {
  return [
    ['one two', ' three'],
    ['one tw', 'o three'],
  ].every(([before, after]) => {
    const whole = tokenizer.encode(`${before}${after}`, { addSpecial: false });
    const joined = [
      ...tokenizer.encode(before!, { addSpecial: false }),
      ...tokenizer.encode(after!, { continuation: true }),
    ];
    return tokenizer.decode(joined) === tokenizer.decode(whole);
  });
}
